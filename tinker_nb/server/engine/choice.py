"""Choosing the next token of many sequences at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tinker_nb.wire.params import SamplingParams

_GREEDY_BELOW = 1e-5  # dividing by less leaves the range of float32


@dataclass(frozen=True)
class Warp:
    """How each row is drawn; every tensor has one entry per row.

    ``None`` means that no row asks for it, which saves the sorting.
    """

    greedy: Tensor
    temperature: Tensor
    top_k: Tensor | None
    top_p: Tensor | None

    def select(self, rows: Tensor) -> Warp:
        """Keep some rows."""
        return Warp(
            self.greedy[rows],
            self.temperature[rows],
            None if self.top_k is None else self.top_k[rows],
            None if self.top_p is None else self.top_p[rows],
        )


def make_warp(params: Sequence[SamplingParams], vocab_size: int) -> Warp:
    """Return the settings of the rows as tensors."""
    temperature = torch.tensor([entry.temperature for entry in params])
    greedy = temperature < _GREEDY_BELOW
    top_k = torch.tensor([entry.top_k if entry.top_k > 0 else vocab_size for entry in params])
    top_p = torch.tensor([entry.top_p for entry in params])
    return Warp(
        greedy,
        temperature.masked_fill(greedy, 1.0).unsqueeze(-1),
        top_k.unsqueeze(-1) if bool((top_k < vocab_size).any()) else None,
        top_p.unsqueeze(-1) if bool((top_p < 1.0).any()) else None,
    )


def uniforms(seed: int | None, sample: int, count: int) -> npt.NDArray[np.float64]:
    """Return the random numbers of one sequence; they depend on nothing but seed and sample."""
    source = None if seed is None else [seed % 2**63, sample]
    return np.random.default_rng(source).random(count)


def choose(logits: Tensor, warp: Warp, uniform: Tensor) -> Tensor:
    """Return the next token of each row.

    Parameters
    ----------
    logits
        (rows, vocabulary).
    warp
        How to draw.
    uniform
        One random number in [0, 1) per row.
    """
    best = logits.argmax(-1)
    if bool(warp.greedy.all()):
        return best
    probabilities = _probabilities(logits, warp)
    # Drawing by the inverse of the distribution function lets every row bring its own number.
    reached = probabilities.double().cumsum(-1)
    threshold = uniform.unsqueeze(-1) * reached[:, -1:]
    drawn = torch.searchsorted(reached, threshold, right=True).squeeze(-1)
    return torch.where(warp.greedy, best, drawn.clamp(max=logits.shape[-1] - 1))


def _probabilities(logits: Tensor, warp: Warp) -> Tensor:
    scaled = logits / warp.temperature
    if warp.top_k is None and warp.top_p is None:
        return scaled.softmax(-1)
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    if warp.top_k is not None:
        ranks = torch.arange(ordered.shape[-1])
        ordered = ordered.masked_fill(ranks >= warp.top_k, -torch.inf)
    probabilities = ordered.softmax(-1)
    if warp.top_p is not None:
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= warp.top_p, 0.0)
    return torch.zeros_like(probabilities).scatter_(-1, order, probabilities)
