"""Arguments that a server would leave unread without a word. Pure.

Whoever sets one of them must hear of it: a run without its gradient clipping, or a checkpoint
without its time to live, looks just like one with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

#: The fields a dialect's servers do not read, by the type of the request; dots lead inwards.
Ignored = Mapping[type[Any], tuple[str, ...]]

LAYERS = ("lora_config.train_mlp", "lora_config.train_attn", "lora_config.train_unembed")
NEWER_EXTRAS = (
    "topk_sample_logprobs",
    "target_prompt_logprobs",
    "prompt_alt_tokens_k",
    "prompt_logprobs_last_n",
    "record_stability_info",
)


def first_ignored(ask: Any, fields: Iterable[str]) -> str | None:
    """Return the name of the first of some fields that is set, or None."""
    return next((name.rpartition(".")[2] for name in fields if _is_set(ask, name)), None)


def _is_set(ask: Any, name: str) -> bool:
    holder: Any = ask
    *way, last = name.split(".")
    for step in way:
        holder = getattr(holder, step)
    if not isinstance(holder, BaseModel):
        return False
    value, default = getattr(holder, last), type(holder).model_fields[last].get_default()
    # Not asked for, in either way to say so.
    return bool(value != default) and not (value is False and default is None)
