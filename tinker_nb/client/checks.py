"""What can be seen to be wrong before anything is sent. Pure."""

from __future__ import annotations

from typing import Any, cast

from tinker_nb.client.calls import Examples
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.data import Datum, ModelInput, is_conversation
from tinker_nb.wire.losses import (
    LOSSES,
    LOSSES_ELSEWHERE,
    LossConfig,
    check_data,
    check_lengths,
    loss_settings,
    loss_spec,
)
from tinker_nb.wire.params import LoraConfig
from tinker_nb.wire.tensors import TensorData

SHORTEST_TTL, LONGEST_TTL = 3600, 315_576_000  # an hour; ten years, leap days and all


def check_examples(
    data: Examples, loss_fn: str, config: LossConfig | None, dialect: Dialect | None = None
) -> None:
    """Refuse data that a loss cannot read, or that this sort of server does not take.

    Losses that only other servers have are checked for lengths alone.
    """
    if not data:
        raise InvalidInputError("There is no data: give at least one datum.")
    if dialect is not None:
        _check_sort(data, dialect)
    if is_conversation(data[0]):
        return
    datums = cast("list[Datum]", data)
    if loss_fn in LOSSES:
        check_data(datums, loss_fn, config)
    else:
        check_loss(loss_fn, config, dialect)
        check_lengths(datums)


def _check_sort(data: Examples, dialect: Dialect) -> None:
    """Refuse conversations where a server takes tokens, and datums where it takes conversations."""
    wrong = any(is_conversation(each) is not dialect.takes_chat for each in data)
    if wrong and dialect.takes_chat:
        raise InvalidInputError(
            f"{dialect.name} takes conversations, not datums.",
            advice="Give it the conversations as they are; it makes tokens of them itself.",
        )
    if wrong:
        raise InvalidInputError(
            "This server takes tokens, not conversations.",
            advice="Make datums of them with conversations_to_datums().",
        )


def check_loss(loss_fn: str, config: LossConfig | None, dialect: Dialect | None = None) -> None:
    """Refuse the name of a loss that nobody has, and settings that it does not read."""
    if loss_fn in LOSSES:
        loss_settings(loss_fn, config)
    elif loss_fn not in LOSSES_ELSEWHERE and (dialect is None or not dialect.takes_chat):
        loss_spec(loss_fn)


def check_ttl(ttl_seconds: int | None) -> int | None:
    """Return how long something is kept, None for ever; raises `InvalidInputError`."""
    if ttl_seconds is None:
        return None
    is_count = isinstance(ttl_seconds, int) and not isinstance(ttl_seconds, bool)
    if not is_count or not SHORTEST_TTL <= ttl_seconds <= LONGEST_TTL:
        raise InvalidInputError(
            "ttl_seconds must be an integer from 3600 (an hour) to ten years, or None, "
            f"not {ttl_seconds!r}."
        )
    return ttl_seconds


def check_lora(
    rank: int, seed: int | None, train_mlp: bool, train_attn: bool, train_unembed: bool
) -> LoraConfig:
    """Return the configuration of an adapter; raises `InvalidInputError`."""
    if rank < 1:
        raise InvalidInputError(f"The rank must be at least 1, not {rank}.")
    if not (train_mlp or train_attn or train_unembed):
        raise InvalidInputError("Nothing would be trained: leave at least one layer group on.")
    return LoraConfig(
        rank=rank,
        seed=seed,
        train_mlp=train_mlp,
        train_attn=train_attn,
        train_unembed=train_unembed,
    )


def check_model_path(path: str) -> str:
    """Return a checkpoint's path; raises `InvalidInputError` when it is none."""
    if not path.startswith("tinker://"):
        raise InvalidInputError(f"A model_path begins with tinker://, not like {path!r}.")
    return path


def check_sample(
    prompt: ModelInput,
    num_samples: int,
    counts: dict[str, int],
    targets: TensorData | None,
    last_n: int | None,
    include_prompt_logprobs: bool,
) -> None:
    """Refuse what no server can draw; ``counts`` are the extras that count something."""
    if not isinstance(prompt, ModelInput):
        raise InvalidInputError(
            f"A prompt is a ModelInput, not a {type(prompt).__name__}.",
            advice="Make one with ModelInput.from_ints(tokens).",
        )
    if prompt.length == 0:
        raise InvalidInputError("The prompt is empty.")
    if num_samples < 1:
        raise InvalidInputError(f"num_samples must be at least 1, not {num_samples}.")
    for name, count in counts.items():
        if count < 0:
            raise InvalidInputError(f"{name} must not be negative, but is {count}.")
    if targets is not None:
        _check_targets(prompt, targets)
    if last_n is not None:
        _check_last_n(prompt, last_n, include_prompt_logprobs)


def _check_targets(prompt: ModelInput, targets: TensorData) -> None:
    shape: Any = targets.shape
    if targets.dtype != "int64" or len(shape or ()) != 2 or shape[0] != prompt.length - 1:
        raise InvalidInputError(
            f"target_prompt_logprobs is an int64 tensor of shape [{prompt.length - 1}, K], "
            f"not {targets.dtype} of {shape}."
        )


def _check_last_n(prompt: ModelInput, last_n: int, include_prompt_logprobs: bool) -> None:
    if not include_prompt_logprobs:
        raise InvalidInputError(
            "prompt_logprobs_last_n says how many to give; set include_prompt_logprobs too."
        )
    if not 1 <= last_n < prompt.length:
        raise InvalidInputError(
            f"prompt_logprobs_last_n is between 1 and {prompt.length - 1}, not {last_n}."
        )
