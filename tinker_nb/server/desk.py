"""Where requests are taken in, waited for and answered: the server's side of a future.

Everything but the engine's news happens on the event loop's thread, so a repeat of a request can
never slip in between the look and the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy.exc import SQLAlchemyError

from tinker_nb.server.engine.engine import Engine, QueueView
from tinker_nb.server.engine.work import Done, Job, Outcome, Work
from tinker_nb.server.store.futures import FutureStore, Stored, failure

_log = logging.getLogger(__name__)

TicketState = Literal["queued", "running", "finished"]
Render = Callable[[Any], Stored]


@dataclass(frozen=True)
class Ask:
    """A request to be taken in.

    Parameters
    ----------
    kind
        Its name in the protocol, such as ``ForwardBackward``.
    lane
        Requests of one lane are done in their order.
    work
        What the engine shall do.
    render
        Turns the engine's result into what is kept; called on the engine's thread.
    model_id
        The model it is for.
    dedup_key
        A repeat under the same key is the same request.
    cost
        How much it is.
    """

    kind: str
    lane: str
    work: Work
    render: Render
    model_id: str | None = None
    dedup_key: str | None = None
    cost: float = 1.0


@dataclass
class Ticket:
    """An unfinished request, or one that has just finished."""

    ask: Ask
    job: Job
    state: TicketState = "queued"
    stored: Stored | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True)
class Waiting:
    """A poll's "not yet"."""

    view: QueueView


class Desk:
    """The requests of one server."""

    def __init__(self, futures: FutureStore) -> None:
        self._futures = futures
        self._keys = futures.keys()
        self._tickets: dict[str, Ticket] = {}
        self._engine: Engine | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = asyncio.Event()

    def open(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to take requests in."""
        self._engine, self._loop = engine, loop

    def close(self) -> None:
        """Answer everybody who waits; nothing that is asked from now on is waited for."""
        self._closing.set()
        for ticket in self._tickets.values():
            ticket.changed.set()

    # Taking in -----------------------------------------------------------------------------------

    def repeated(self, dedup_key: str | None) -> str | None:
        """Return the id of the request that was taken in under this key before."""
        return None if dedup_key is None else self._keys.get(dedup_key)

    def submit(self, ask: Ask) -> str:
        """Take a request in and return its id; a repeat gets the id of the first."""
        known = self.repeated(ask.dedup_key)
        if known is not None:
            return known
        request_id = secrets.token_hex(16)
        job = Job(request_id, ask.lane, ask.work, ask.cost)
        self._futures.add(request_id, ask.kind, ask.model_id, ask.dedup_key)
        if ask.dedup_key is not None:
            self._keys[ask.dedup_key] = request_id
        self._tickets[request_id] = Ticket(ask, job)
        assert self._engine is not None
        self._engine.submit(job)
        return request_id

    # Waiting -------------------------------------------------------------------------------------

    async def wait(
        self, request_id: str, hold: float | None, known_state: str | None = None
    ) -> Stored | Waiting | None:
        """Wait for a result, at most ``hold`` seconds.

        Parameters
        ----------
        request_id
            Which.
        hold
            How long; ``None`` is until the end.
        known_state
            Come back at once when the request is in another state, and as soon as it is.

        Returns
        -------
        Stored or Waiting or None
            The result, "not yet", or that there is no such request.
        """
        ticket = self._tickets.get(request_id)
        if ticket is None:
            return self._futures.result(request_id)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(hold):
                await self._news(ticket, known_state)
        return ticket.stored or Waiting(self._view(ticket))

    async def _news(self, ticket: Ticket, known_state: str | None) -> None:
        while ticket.stored is None and not self._closing.is_set():
            if known_state is not None and ticket.state != known_state:
                return
            await ticket.changed.wait()

    def _view(self, ticket: Ticket) -> QueueView:
        assert self._engine is not None
        view = self._engine.view(ticket.job)
        # Between the engine's last touch and its news reaching this thread it still runs.
        return view or QueueView("running", 0, None)

    # News from the engine ------------------------------------------------------------------------

    def started(self, request_id: str) -> None:
        """Hear, on the engine's thread, that a request is being worked on."""
        self._tell(request_id, "running", None)

    def finished(self, request_id: str, outcome: Outcome) -> None:
        """Hear, on the engine's thread, what became of a request; record it, then spread it."""
        stored = self._stored(self._tickets[request_id].ask, outcome)
        recorded = self._record(request_id, stored)
        self._tell(request_id, "finished", stored, forget=recorded)

    def _record(self, request_id: str, stored: Stored) -> bool:
        try:
            self._futures.finish(request_id, stored)
        except SQLAlchemyError:
            _log.exception("The result of request %s is kept in memory only", request_id)
            return False
        return True

    def _stored(self, ask: Ask, outcome: Outcome) -> Stored:
        if not isinstance(outcome, Done):
            return failure(outcome.message, outcome.category)
        try:
            return ask.render(outcome.result)
        except Exception:  # whatever it is must become a failed future, not a dead engine
            _log.exception("The result of a %s could not be kept", ask.kind)
            return failure("The server could not keep the result; submit it again.", "server")

    def _tell(
        self, request_id: str, state: TicketState, stored: Stored | None, *, forget: bool = False
    ) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._hear, request_id, state, stored, forget)
        except RuntimeError:  # the loop has closed: nobody waits any more
            _log.debug("request %s ended after the server", request_id)

    def _hear(
        self, request_id: str, state: TicketState, stored: Stored | None, forget: bool
    ) -> None:
        ticket = self._tickets[request_id]
        ticket.state, ticket.stored = state, stored
        news, ticket.changed = ticket.changed, asyncio.Event()
        news.set()
        if forget:
            del self._tickets[request_id]  # those who wait hold it; later polls read the table
