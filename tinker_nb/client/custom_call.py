"""A custom loss as two calls: the log-probabilities first, then the gradients of the loss."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from tinker_nb.client import calls
from tinker_nb.client.custom_loss import (
    CustomLoss,
    Surrogate,
    check_torch,
    finish,
    forward_data,
    surrogate,
)
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.operations import Call
from tinker_nb.wire.data import Datum
from tinker_nb.wire.results import ForwardBackwardOutput

S = TypeVar("S")
T = TypeVar("T")
_LOSS = "cross_entropy"


class StartsBoth(Protocol):
    """A client that can start two calls that stand together in its order."""

    def _start_both(
        self,
        first: Call[S],
        then: Callable[[TinkerFuture[S]], Call[T]],
        loop: asyncio.AbstractEventLoop,
    ) -> TinkerFuture[T]: ...


@dataclass(frozen=True)
class FirstAndThen(Generic[S, T]):
    """Two calls; the second is made of the first's future."""

    first: Call[S]
    then: Callable[[TinkerFuture[S]], Call[T]]

    def begin(self, client: StartsBoth, loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        """Start both on a loop; the second's future is returned."""
        return client._start_both(self.first, self.then, loop)


def custom_call(
    data: list[Datum], loss_fn: CustomLoss, *, with_gradients: bool
) -> FirstAndThen[ForwardBackwardOutput, ForwardBackwardOutput]:
    """Return the two calls of a custom loss (section 2.3 of the protocol)."""
    if not with_gradients:
        check_torch()
    ahead = calls.at_hand(forward_data(data))
    first = calls.forward_backward(ahead, _LOSS, None, forward_only=True)

    def then(logprobs: TinkerFuture[ForwardBackwardOutput]) -> Call[ForwardBackwardOutput]:
        found: list[Surrogate] = []

        async def weighted() -> list[Datum]:
            outputs = await logprobs
            # A loss may take long, and must not stop the loop that carries the call.
            made = await asyncio.to_thread(surrogate, data, loss_fn, outputs, with_gradients)
            found.append(made)
            return made.data

        second = calls.forward_backward(weighted, _LOSS, None, forward_only=False)
        return calls.reading(second, lambda output: finish(found[-1], output))

    return FirstAndThen(first, then)
