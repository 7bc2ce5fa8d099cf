"""The way of one request: its turn, sending, waiting; and who carries it.

A work is driven by one task on one loop at a time. When that loop cannot go on (it is blocked by
the very thread that waits, or it has stopped), the loop thread carries the work on from where it
is. A submission whose answer was not seen is sent again: its ``seq_id`` tells the server that it is
the same one.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from pydantic import ValidationError

from tinker_nb.client.exchange import NoAnswer, Payload, Reply, Request, json_payload, status_error
from tinker_nb.client.loops import loop_thread, running_loop, under_way
from tinker_nb.client.operations import Accepted, Call
from tinker_nb.client.order import Ticket
from tinker_nb.client.polling import Broken, Finished, NotYet, Over, pause_before_next, read_poll
from tinker_nb.client.retry import retry_note
from tinker_nb.client.states import FutureState
from tinker_nb.client.transport import Transport
from tinker_nb.errors import (
    APIResponseValidationError,
    FutureCancelledError,
    TinkerError,
    unexpected,
)
from tinker_nb.wire.protobuf import CONTENT_TYPE
from tinker_nb.wire.responses import FutureResponse

if TYPE_CHECKING:
    from tinker_nb.client.futures import TinkerFuture

logger = logging.getLogger(__name__)
T = TypeVar("T")
_POLL_TIMEOUT = 60.0  # above the longest hold of a server, 45 s


class Address(Protocol):
    """The id a call is for, which may itself be on its way."""

    async def resolve(self) -> str:
        """Return the id."""
        ...


class Work(Generic[T]):
    """One call on its way to its future."""

    def __init__(
        self,
        call: Call[T],
        future: TinkerFuture[T],
        transport: Transport,
        address: Address,
        number: int,
        ticket: Ticket | None = None,
        *,
        first: bool = False,
    ) -> None:
        self._call = call
        self._future = future
        self._transport = transport
        self._address = address
        self._number = number
        self._ticket = ticket
        self._first = first  # others wait for its result, not only for its acceptance
        self._accepted: Accepted | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        future._work = self

    # Who carries it

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a loop carry the work."""
        under_way.add(self)
        self._loop, self._task = loop, None
        if running_loop() is loop:
            self._begin(loop)
        else:
            loop.call_soon_threadsafe(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is loop and not self._future.done():
            # An empty context: what a cell set must not follow its requests.
            self._task = loop.create_task(self._drive(loop), context=contextvars.Context())

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The loop that carries it."""
        return self._loop

    def move(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let another loop carry it from where it is."""
        task = self._task
        self.start(loop)
        if task is not None:
            # The old loop may be closed already; then nothing runs there any more.
            with contextlib.suppress(RuntimeError):
                task.cancel()

    @property
    def transport(self) -> Transport:
        """Where it is sent."""
        return self._transport

    def give_up(self, reason: str) -> None:
        """End its future for a reason that lies on this side."""
        error = FutureCancelledError(reason, request_id=self._future.request_id)
        if self._future._change(FutureState.CANCELLED, error=error, note=None):
            self.abandon()

    def abandon(self) -> None:
        """Stop the work; its future has ended."""
        loop, task = self._loop, self._task
        if loop is not None and task is not None and not loop.is_closed():
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(task.cancel)
        self._leave()

    def _leave(self) -> None:
        under_way.discard(self)
        if self._ticket is not None:
            self._ticket.hand_in()

    # The way

    async def _drive(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await self._go()
        except asyncio.CancelledError:
            # Not by us: the caller's loop is being closed, the request is not meant.
            if self._loop is loop and not self._future.done() and loop is not loop_thread().loop:
                self.start(loop_thread().loop)
            raise
        except TinkerError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("A request failed in the client itself")
            self._fail(unexpected(error))
        if self._loop is loop:
            self._leave()

    def _fail(self, error: TinkerError, state: FutureState = FutureState.FAILED) -> None:
        if error.request_id is None:
            error.request_id = self._future.request_id
        self._future._change(state, error=error, note=None)

    async def _go(self) -> None:
        if self._accepted is None:
            await self._submit()
        if self._ticket is not None and not self._first:
            self._ticket.hand_in()
        assert self._accepted is not None
        result = await self._collect(self._accepted)
        if result is not None:
            self._finish(result, self._accepted)

    async def _submit(self) -> None:
        if self._ticket is not None:
            await self._ticket.turn()
        address = await self._address.resolve()
        payload = self._call.encode(address, self._number)
        if not isinstance(payload, Payload):
            payload = await payload
        self._future._change(FutureState.SENDING)
        request = Request("POST", self._call.path, payload)
        reply = await self._transport.send(request, self._on_retry)
        self._accepted = accepted = _accepted(reply)
        self._future._change(
            FutureState.ACCEPTED,
            request_id=accepted.request_id,
            model_id=accepted.model_id or self._future.snapshot.model_id,
            last_answer=time.time(),
            note=None,
            attempt=0,
        )

    def _on_retry(self, attempt: int, note: str) -> None:
        self._future._change(self._future.state, attempt=attempt, note=note)

    async def _collect(self, accepted: Accepted) -> Reply | None:
        """Poll until it ends; returns the final reply, or None when it failed."""
        streak = iteration = attempt = 0
        trouble_since = time.monotonic()
        retry = (await self._transport.ready()).retry
        policy = replace(retry, refused_patience=retry.patience)  # the server may be restarting
        while True:
            began = time.monotonic()
            tried = await self._transport.once(self._poll(accepted, iteration))
            iteration += 1
            outcome = (
                Broken(tried.failure)
                if isinstance(tried, NoAnswer)
                else read_poll(tried, accepted.request_id)
            )
            match outcome:
                case Finished(reply):
                    return reply
                case Over(state, error):
                    self._fail(error, state)
                    return None
                case NotYet():
                    news = self._heard(outcome)
                    held = time.monotonic() - began
                    streak = 0 if news or held >= 1 else streak + 1
                    attempt, trouble_since = 0, time.monotonic()
                    await asyncio.sleep(pause_before_next(held, streak, news=news))
                case Broken(failure):
                    wait = self._transport.retry_in(failure, attempt, trouble_since, policy)
                    if wait is None:
                        raise _gave_up(tried, accepted.request_id)
                    attempt += 1
                    self._on_retry(attempt, retry_note(failure, wait))
                    await asyncio.sleep(wait)

    def _poll(self, accepted: Accepted, iteration: int) -> Request:
        state = self._future.state
        known = state.value if state in (FutureState.QUEUED, FutureState.RUNNING) else "accepted"
        body = {"request_id": accepted.request_id, "known_state": known}
        headers = {
            "X-Tinker-Request-Type": self._call.kind,
            "X-Tinker-Request-Iteration": str(iteration),
            "Accept": CONTENT_TYPE if self._call.binary else "application/json",
        }
        path = "/api/v1/retrieve_future"
        return Request("POST", path, json_payload(body), headers, _POLL_TIMEOUT, lane="poll")

    def _heard(self, outcome: NotYet) -> bool:
        """Take in what the server said of its queue; says whether the state is new."""
        before = self._future.state
        state = outcome.state or before
        self._future._change(
            state, queue=outcome.queue, last_answer=time.time(), note=None, attempt=0
        )
        return state is not before

    def _finish(self, reply: Reply, accepted: Accepted) -> None:
        try:
            result = self._call.decode(reply, accepted)
        except (ValidationError, KeyError, TypeError) as error:
            raise APIResponseValidationError(
                f"The result of {self._call.kind} does not follow the protocol.",
                request_id=accepted.request_id,
            ) from error
        self._future._change(
            FutureState.DONE, result=result, last_answer=time.time(), note=None, attempt=0
        )


def give_up_all(transport: Transport, reason: str) -> None:
    """Give up all that is under way over one transport."""
    for work in list(under_way):
        if isinstance(work, Work) and work.transport is transport:
            work.give_up(reason)


def _accepted(reply: Reply) -> Accepted:
    try:
        said = FutureResponse.model_validate(reply.json_object())
    except ValidationError as error:
        raise APIResponseValidationError(
            "The server took the call but gave no request_id."
        ) from error
    return Accepted(said.request_id, said.model_id, tuple(said.sample_sequence_ids or ()))


def _gave_up(tried: Reply | NoAnswer, request_id: str) -> TinkerError:
    if isinstance(tried, NoAnswer):
        tried.error.request_id = request_id
        return tried.error
    return status_error(tried, request_id=request_id)
