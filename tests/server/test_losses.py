"""The losses against a reference written apart in NumPy, and their gradients by differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from tinker_nb.server.engine.losses import token_losses
from tinker_nb.wire.losses import LOSSES, loss_settings

Array = np.ndarray[Any, np.dtype[np.float64]]


def reference(name: str, lp: Array, w: Array, q: Array, a: Array, low: float, high: float) -> float:
    """Return the loss as section 2.3 of the protocol writes it."""
    total = 0.0
    columns = (column.ravel().tolist() for column in (lp, w, q, a))
    for token_lp, weight, old, advantage in zip(*columns, strict=True):
        ratio = math.exp(token_lp - old)
        if name == "cross_entropy":
            total += -token_lp * weight
        elif name == "importance_sampling":
            total -= ratio * advantage * weight
        else:
            bounded = min(max(ratio, low), high)
            total -= min(ratio * advantage, bounded * advantage) * weight
    return total


def problem(shape: tuple[int, ...]) -> tuple[Array, Array, Array, Array]:
    rng = np.random.default_rng(3)
    lp = -rng.exponential(1.0, shape)
    q = lp + rng.normal(0, 0.4, shape)
    return lp, rng.choice([0.0, 1.0, -0.5, 2.0], shape), q, rng.normal(0, 1, shape)


CASES = [
    ("cross_entropy", (4, 6), None),
    ("cross_entropy", (3, 5, 4), None),
    ("importance_sampling", (4, 6), None),
    ("ppo", (4, 6), None),
    ("ppo", (4, 6), {"clip_low_threshold": 0.95, "clip_high_threshold": 1.05}),
]


def ours(name: str, lp: torch.Tensor, w: Array, q: Array, a: Array, config: Any) -> torch.Tensor:
    columns = {"weights": w, "logprobs": q, "advantages": a}
    tensors = {key: torch.from_numpy(column) for key, column in columns.items()}
    return token_losses(name, lp, tensors, loss_settings(name, config)).sum()


@pytest.mark.parametrize(("name", "shape", "config"), CASES)
def test_value(name: str, shape: tuple[int, ...], config: dict[str, float] | None) -> None:
    lp, w, q, a = problem(shape)
    low, high = (
        (config or {}).get("clip_low_threshold", 0.8),
        (config or {}).get("clip_high_threshold", 1.2),
    )
    expected = reference(name, lp, w, q, a, low, high)
    assert float(ours(name, torch.from_numpy(lp), w, q, a, config)) == pytest.approx(expected)


@pytest.mark.parametrize(("name", "shape", "config"), CASES)
def test_gradient(name: str, shape: tuple[int, ...], config: dict[str, float] | None) -> None:
    lp, w, q, a = problem(shape)
    point = torch.from_numpy(lp).requires_grad_()
    ours(name, point, w, q, a, config).backward()  # type: ignore[no-untyped-call]
    assert point.grad is not None
    for index in np.ndindex(shape):
        ends = []
        for side in (1e-6, -1e-6):
            moved = lp.copy()
            moved[index] += side
            ends.append(float(ours(name, torch.from_numpy(moved), w, q, a, config)))
        slope = (ends[0] - ends[1]) / 2e-6
        assert float(point.grad[index]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.parametrize("name", ["importance_sampling", "ppo"])
def test_a_masked_token_cannot_overflow(name: str) -> None:
    lp = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    q, a, w = np.array([-1e9, 0.0]), np.array([1.0, 1.0]), np.array([0.0, 1.0])
    loss = ours(name, lp, w, q, a, None)
    loss.backward()  # type: ignore[no-untyped-call]
    assert lp.grad is not None
    assert loss.item() == -1.0
    assert lp.grad.tolist() == [0.0, -1.0]


def test_every_loss_of_the_protocol_is_there() -> None:
    assert set(LOSSES) == {name for name, _, _ in CASES}
