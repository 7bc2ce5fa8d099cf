"""The way of one call: its turn, sending its parts, waiting for each, putting them together.

A journey knows nothing of loops: whoever carries it may stop at any await, and another may go on
from where it is by calling `go` again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, Protocol, TypeVar

from tinker_nb.client.cancelling import Cancellation
from tinker_nb.client.exchange import Accepted, Request, json_payload
from tinker_nb.client.kinds import Ask, kind_of
from tinker_nb.client.operations import Call, Ready
from tinker_nb.client.order import Ticket
from tinker_nb.client.part import Part
from tinker_nb.client.references import FutureReference
from tinker_nb.client.server import Greeting, Server
from tinker_nb.client.states import FutureSnapshot, FutureState
from tinker_nb.errors import TinkerError
from tinker_nb.wire.requests import CancelFutureRequest
from tinker_nb.wire.results import CreateModelResponse

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Address(Protocol):
    """The id a call is for, which may itself be on its way."""

    async def resolve(self) -> str:
        """Return the id."""
        ...


class Told(Protocol):
    """Who hears how it goes: the call's future."""

    @property
    def snapshot(self) -> FutureSnapshot:
        """What it shows."""
        ...

    def _change(self, state: FutureState, **changes: Any) -> bool: ...


class Journey(Generic[T]):
    """One call on its way.

    Parameters
    ----------
    call
        What is asked.
    future
        Hears how it goes.
    server
        Where it is asked.
    address
        The id it is for.
    number
        Gives the numbers of its parts: ``seq_id``, ``model_seq_id``.
    ticket
        Its place in the order of submissions.
    first
        Whether later calls wait for its result, not only for its acceptance.
    accepted
        What the server has taken already, for a call that another process submitted.
    """

    def __init__(
        self,
        call: Call[T],
        future: Told,
        server: Server,
        address: Address,
        number: Callable[[], int],
        ticket: Ticket | None = None,
        *,
        first: bool = False,
        accepted: Iterable[Accepted] = (),
    ) -> None:
        self.server = server
        self.ticket = ticket
        self._call = call
        self._future = future
        self._address = address
        self._number = number
        self._first = first
        self._parts = [Part(call.kind, server, accepted=each) for each in accepted]
        self._is_prepared = self._has_begun = bool(self._parts)
        self._since = time.time()

    async def go(self) -> T:
        """Go on from where it is to the end, and return the result; raises why it failed."""
        greeting = await self.server.greeting()
        if not self._is_prepared:
            await self._prepare(greeting)
        if self.ticket is not None:
            commutes = greeting.takes_any_order and self._call.kind.commutes
            await self.ticket.submit.turn(among_equals=commutes)
        self._begin_sending()
        with self.server.naming(self._call.name):
            await self._submit(greeting)
        if self.ticket is not None and not self._first:
            self.ticket.hand_in()
        await all_of(
            [part.collect(greeting, self._on_retry, self._on_news) for part in self._parts]
        )
        with self.server.naming():
            result = self._call.read([part.result for part in self._parts])
        if isinstance(result, CreateModelResponse):
            # Some servers name a new model only in the result.
            self._future._change(self._future.snapshot.state, model_id=result.model_id)
        self.server.history.add(self._call.kind.name, time.time() - self._since)
        return result

    # Sending

    async def _prepare(self, greeting: Greeting) -> None:
        if self.ticket is not None:
            await self.ticket.prepare.turn()
        self.server.refuse_missing(self._call.name)
        address = await self._address.resolve()
        asks = await self._call.asks(address, self._number, greeting)
        self._parts = [self._part(ask, greeting) for ask in asks]
        self._is_prepared = True
        if self.ticket is not None:
            self.ticket.prepare.leave()

    def _begin_sending(self) -> None:
        self._has_begun = True
        if self._future.snapshot.state is FutureState.CREATED:
            self._future._change(FutureState.SENDING)

    def _part(self, ask: Ask | Ready, greeting: Greeting) -> Part:
        if isinstance(ask, Ready):
            return Part(self._call.kind, self.server).end(ask.result)
        return Part(kind_of(ask), self.server, ask, number=self._number).encode(greeting)

    async def _submit(self, greeting: Greeting) -> None:
        first, *others = self._parts
        if greeting.config.parallel_fwdbwd_chunks:
            # As the official SDK does it: a server may lean on the lowest number being the last.
            await all_of([part.send(greeting, self._on_retry) for part in others])
            others = []
        for part in (first, *others):
            await part.send(greeting, self._on_retry)
        self._show_acceptance(first.accepted)

    def _show_acceptance(self, accepted: Accepted | None) -> None:
        if accepted is None or self._future.snapshot.request_id is not None:
            return
        self._since = time.time()
        self._future._change(
            FutureState.ACCEPTED,
            request_id=accepted.request_id,
            model_id=accepted.model_id or self._future.snapshot.model_id,
            expected=self.server.history.expect(self._call.kind.name),
            last_answer=self._since,
            note=None,
            attempt=0,
        )

    def abandon(self) -> None:
        """Send no part of it any more."""
        for part in self._parts:
            part.abandon()

    # Telling

    def _on_retry(self, attempt: int, note: str) -> None:
        self._future._change(self._future.snapshot.state, attempt=attempt, note=note)

    def _on_news(self) -> None:
        """Show the furthest of the parts that are still under way."""
        shown = self._future.snapshot.state
        under_way = {part.state: part for part in self._parts if not part.is_done}
        states = (FutureState.RUNNING, FutureState.QUEUED)
        state = next((each for each in states if each in under_way), shown)
        queue = under_way[state].queue if state in under_way else None
        self._future._change(state, queue=queue, last_answer=time.time(), note=None, attempt=0)

    # Ending early, and ending elsewhere

    @property
    def reference(self) -> FutureReference | None:
        """By what another process could collect the result."""
        endpoint, taken = self.server.transport.endpoint, self._accepted()
        if endpoint is None or not taken or len(taken) < len(self._parts):
            return None
        ids = tuple(each.request_id for each in taken)
        sequences = tuple(each.sample_sequence_ids for each in taken)
        return FutureReference(endpoint.base_url, self._call.kind.name, ids, sequences)

    def withdrawal(self) -> Cancellation:
        """Say what giving it up now does."""
        if not self._has_begun:
            return Cancellation.REMOVED
        known = self.server.known
        can_stop = known is not None and known.can_cancel and self._call.kind.repeatable
        return Cancellation.TELLING if can_stop and self._accepted() else Cancellation.DROPPED

    async def tell_server(self) -> Cancellation:
        """Tell the server to stop, and say what came of it."""
        for accepted in self._accepted():
            body = CancelFutureRequest(request_id=accepted.request_id).to_wire()
            request = Request("POST", "/api/v1/cancel_future", json_payload(body), timeout=30.0)
            try:
                await self.server.tell("cancel_future", request)
            except TinkerError as error:
                logger.info("The server could not be told to stop: %s", error)
                return Cancellation.DROPPED
        return Cancellation.STOPPED

    def _accepted(self) -> list[Accepted]:
        return [part.accepted for part in self._parts if part.accepted is not None]


async def all_of(coroutines: list[Coroutine[Any, Any, None]]) -> None:
    """Run some coroutines side by side; with the first failure the others are cancelled."""
    if len(coroutines) == 1:
        await coroutines[0]
        return
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
