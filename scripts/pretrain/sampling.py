"""Batched answers from a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from build import ASSISTANT, END, PAD, ROLES
from lessons import Message
from torch import Tensor


def prompt_ids(messages: Sequence[Message], raw: bool = False) -> list[int]:
    """Turn messages into the ids of a prompt that asks for an answer."""
    if raw:
        return list(messages[0]["content"].encode())
    ids: list[int] = []
    for message in messages:
        ids += [ROLES[message["role"]], *message["content"].encode(), END]
    return [*ids, ASSISTANT]


def pad_left(prompts: Sequence[list[int]]) -> tuple[Tensor, Tensor]:
    """Pad prompts at their left, and make the mask that hides the padding."""
    width = max(map(len, prompts))
    ids = torch.tensor([[PAD] * (width - len(p)) + p for p in prompts])
    return ids, (ids != PAD).long()


@torch.no_grad()
def sample(
    model: Any, prompts: Sequence[list[int]], *, limit: int = 80, greedy: bool = True
) -> list[list[int]]:
    """Answer prompts in one batch.

    Parameters
    ----------
    model : PreTrainedModel or PeftModel
        The model.
    prompts : sequence of list of int
        Prompts as token ids.
    limit : int
        The most tokens in an answer.
    greedy : bool
        Whether to take the likeliest token, or to draw at temperature 1.

    Returns
    -------
    list of list of int
        The ids of each answer, its end-of-turn token included.
    """
    ids, mask = pad_left(prompts)
    how: dict[str, Any] = {"do_sample": False} if greedy else {"do_sample": True, "top_k": 0}
    output = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=limit, pad_token_id=PAD, **how
    )
    rows = output[:, ids.shape[1] :].tolist()
    return [row[: row.index(END) + 1] if END in row else row for row in rows]


def text_of(ids: Sequence[int]) -> str:
    """Turn the ids of an answer into text, without special tokens."""
    return bytes(i for i in ids if i < 256).decode(errors="replace")


def answers(
    model: Any, prompts: Sequence[list[int]], *, limit: int = 80, size: int = 100
) -> list[str]:
    """Answer any number of prompts greedily, those of like length together."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, str] = {}
    for start in range(0, len(order), size):
        part = order[start : start + size]
        rows = sample(model, [prompts[i] for i in part], limit=limit)
        found |= {i: text_of(row) for i, row in zip(part, rows, strict=True)}
    return [found[i] for i in range(len(prompts))]
