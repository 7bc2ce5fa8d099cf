"""Both forms of every operation: same arguments, same docstring, real signatures."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tinker_nb import SamplingClient, ServiceClient, TrainingClient

PAIRS = [
    (owner, name.removesuffix("_async"))
    for owner in (ServiceClient, TrainingClient, SamplingClient)
    for name in vars(owner)
    if name.endswith("_async") and not name.startswith("_")
]


def parameters(function: Any) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


@pytest.mark.parametrize(("owner", "name"), PAIRS, ids=[f"{o.__name__}.{n}" for o, n in PAIRS])
def test_the_twins_are_alike(owner: type, name: str) -> None:
    blocking, twin = getattr(owner, name), getattr(owner, f"{name}_async")
    assert parameters(blocking) == parameters(twin)
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(blocking)
    assert (blocking.__name__, twin.__name__) == (name, f"{name}_async")
    assert blocking.__doc__ == twin.__doc__
    assert blocking.__doc__


def test_there_are_as_many_as_we_think() -> None:
    assert len(PAIRS) >= 10


def test_help_shows_what_comes_back() -> None:
    assert "TinkerFuture[ForwardBackwardOutput]" in str(
        inspect.signature(TrainingClient.forward_backward)
    )
    assert "Call[" not in str(inspect.signature(SamplingClient.sample_async))
