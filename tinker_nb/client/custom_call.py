"""A custom loss as calls.

Two that stand together where it runs on this side, the log-probabilities first, then the gradients
of the loss; one where the server runs it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

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
from tinker_nb.client.journey import Journey
from tinker_nb.client.kinds import KINDS, Ask
from tinker_nb.client.loss_handles import (
    LossHandle,
    PerDatumLossFn,
    Rank,
    check_inputs,
    encoded_graph,
    refusal,
    traced,
)
from tinker_nb.client.operations import (
    Call,
    Numbers,
    Ready,
    Startable,
    asynchronous_value,
    blocking,
)
from tinker_nb.client.server import Greeting, Server
from tinker_nb.client.session import Session
from tinker_nb.client.work import Work
from tinker_nb.wire.data import Datum
from tinker_nb.wire.requests import CreateCustomLossRequest
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
    first = _named(calls.forward_backward(ahead, _LOSS, None, forward_only=True))

    def then(logprobs: TinkerFuture[ForwardBackwardOutput]) -> Call[ForwardBackwardOutput]:
        found: list[Surrogate] = []

        async def weighted() -> list[Datum]:
            outputs = await logprobs
            # A loss may take long, and must not stop the loop that carries the call.
            made = await asyncio.to_thread(surrogate, data, loss_fn, outputs, with_gradients)
            found.append(made)
            return made.data

        second = calls.forward_backward(weighted, _LOSS, None, forward_only=False)
        return _named(calls.reading(second, lambda output: finish(found[-1], output)))

    return FirstAndThen(first, then)


def _named(call: Call[T]) -> Call[T]:
    """Return a call under the name of what the user called."""
    return replace(call, operation="forward_backward_custom")


# Losses that are traced once ---------------------------------------------------------------------


def handle_call(
    data: list[Datum], handle: LossHandle, session_id: str | None
) -> Startable[ForwardBackwardOutput]:
    """Return the call, or the two calls, of a traced loss on a model of a session.

    Raises
    ------
    InvalidInputError
        The loss is of another session, or does not fit the data.
    """
    if handle.session_id != session_id:
        raise refusal(handle.name, "belongs to another session, and works with that one only")
    check_inputs(handle, data)
    if handle.loss_id is None:
        return custom_call(data, handle, with_gradients=False)
    config = {"loss_id": handle.loss_id}
    call = calls.forward_backward(calls.at_hand(data), "custom", config, forward_only=False)
    return _named(call)


def creation(loss: LossHandle, made: dict[tuple[str, str], LossHandle]) -> Call[LossHandle]:
    """Return the call that gives a traced loss to a session, whose id is the address.

    Parameters
    ----------
    loss
        The loss.
    made
        What was made already, by session and key: making a loss twice changes nothing.
    """
    own: list[LossHandle] = []

    async def asks(session_id: str, number: Numbers, greeting: Greeting) -> list[Ask | Ready]:
        own.append(replace(loss, session_id=session_id))
        known = made.get((session_id, loss.key))
        if known is not None or not greeting.config.custom_loss_server_side:
            return [Ready(known or own[-1])]
        return [_upload(own[-1], number())]

    def read(results: list[Any]) -> LossHandle:
        said = results[0]
        ready = said if isinstance(said, LossHandle) else replace(own[-1], loss_id=said.loss_id)
        return made.setdefault((ready.session_id, ready.key), ready)

    return Call(KINDS["CreateCustomLoss"], asks, read)


def _upload(loss: LossHandle, number: int) -> CreateCustomLossRequest:
    return CreateCustomLossRequest(
        session_id=loss.session_id,
        custom_loss_seq_id=number,
        name=loss.name,
        inputs=list(loss.inputs),
        graph=encoded_graph(loss),
    )


class MakesLosses:
    """How a service client makes custom losses; ``losses`` are those it has, by session and key."""

    server: Server
    session: Session
    losses: dict[tuple[str, str], LossHandle]

    def _create_custom_loss(
        self, fn: PerDatumLossFn, input_ranks: Mapping[str, Rank]
    ) -> Call[LossHandle]:
        """Make a loss of your own that is traced once, for `forward_backward_custom`.

        A server that can run such losses gets it as a list of torch operations and runs it there,
        in one request per call; elsewhere it runs on this side, under the same rules.

        Parameters
        ----------
        fn
            Called with the values of one datum: ``logprobs`` first, then a parameter for each of
            the ``loss_fn_inputs`` that it reads, all of them tensors. It returns
            ``(loss, metrics)``: one number, and numbers named ``custom/NAME:sum`` or
            ``custom/NAME:mean``, which says how those of several datums go together. It may call
            torch and math only, and may not branch on values.
        input_ranks
            How many dimensions each parameter has: 0, 1 or 2. That of ``logprobs`` is that of the
            ``target_tokens``.

        Returns
        -------
        LossHandle
            The loss; it works with the clients of this session.

        Raises
        ------
        InvalidInputError
            The function breaks these rules; nothing was sent.
        ConfigurationError
            There is no torch.

        Examples
        --------
        >>> def likelihood(logprobs, weights):
        ...     loss = -(logprobs * weights).sum()
        ...     return loss, {"custom/likelihood:sum": loss}
        >>> ranks = {"logprobs": 1, "weights": 1}
        >>> handle = service.create_custom_loss(likelihood, ranks).result()
        >>> handle = await service.create_custom_loss_async(likelihood, ranks)
        >>> output = training.forward_backward_custom(data, handle).result()
        """
        return creation(traced(fn, input_ranks), self.losses)

    create_custom_loss = blocking(_create_custom_loss)
    create_custom_loss_async = asynchronous_value(_create_custom_loss)

    def _start(self, call: Call[T], loop: asyncio.AbstractEventLoop) -> TinkerFuture[T]:
        self.server.refuse_missing(call.name)
        future: TinkerFuture[T] = TinkerFuture(call.kind.name)
        numbers = self.session.custom_loss_seq_ids
        journey = Journey(call, future, self.server, self.session, lambda: next(numbers))
        Work(future, journey).start(loop)
        return future
