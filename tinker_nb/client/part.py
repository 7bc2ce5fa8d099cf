"""One request of a call: sending it, waiting for its end, reading its result.

A call with much data has several. What it has reached stays with it, so that whoever carries the
call may stop at any await, and another may go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from tinker_nb.client.exchange import Accepted, NoAnswer, Reply
from tinker_nb.client.kinds import Kind
from tinker_nb.client.polling import Broken, Finished, NotYet, Outcome, Over, pause_before_next
from tinker_nb.client.retry import Failure, retry_note
from tinker_nb.client.sending import Sending
from tinker_nb.client.server import Greeting, Server
from tinker_nb.client.states import FutureState, QueueNote
from tinker_nb.client.transport import GARBLED, OnRetry, told_tries, verdict
from tinker_nb.errors import (
    APIResponseValidationError,
    BadRequestError,
    FutureLostError,
    TinkerError,
)

_RESUBMISSIONS = 3
#: So many refused polls in a row are tried again: the server took the request, and 400 is also what
#: gateways say to a request that broke on its way (section 3.3 of the protocol).
_REFUSALS = 3


class Part:
    """One request of a call.

    Parameters
    ----------
    kind
        What sort of request it is.
    server
        Where it is sent.
    ask
        Its body as a value; None when another process submitted it.
    number
        Gives the next number, for a lost one that is submitted anew.
    accepted
        What the server said when it took it, when that has been.
    """

    def __init__(
        self,
        kind: Kind,
        server: Server,
        ask: Any = None,
        *,
        number: Callable[[], int] | None = None,
        accepted: Accepted | None = None,
    ) -> None:
        self.kind = kind
        self.accepted = accepted
        self.state = FutureState.SENDING if accepted is None else FutureState.ACCEPTED
        self.queue: QueueNote | None = None
        self.result: Any = None
        self.is_done = False
        self._server = server
        self._ask = ask
        self._number = number
        self._sending: Sending | None = None
        self._resubmitted = 0

    def end(self, result: Any) -> Part:
        """Take a result that is known without asking."""
        self.result, self.is_done, self._ask = result, True, None
        return self

    # Sending

    def encode(self, greeting: Greeting) -> Part:
        """Make the bytes to send; raises when this server cannot be asked that."""
        dialect, transport = greeting.dialect, self._server.transport
        with self._server.naming():
            request = dialect.request(self._ask)
        self._sending = Sending(request, transport, dialect, harmless=self.kind.repeatable)
        return self

    async def send(self, greeting: Greeting, on_retry: OnRetry) -> None:
        """Submit it, unless the server has it already."""
        if self._sending is None:
            return
        reply = await self._sending.reply(on_retry)
        try:
            self.accepted = greeting.dialect.accepted(reply)
        except ValidationError as error:
            raise APIResponseValidationError(
                "The server took the call but gave no request_id."
            ) from error
        self.state, self._sending = FutureState.ACCEPTED, None  # its body may be large

    def abandon(self) -> None:
        """Submit it no more, whoever carries it."""
        if self._sending is not None:
            self._sending.abandon()

    # Waiting

    async def collect(
        self, greeting: Greeting, on_retry: OnRetry, on_news: Callable[[], None]
    ) -> None:
        """Wait until it has ended, and read its result; raises why it failed."""
        while not self.is_done:
            assert self.accepted is not None
            try:
                reply = await self._poll(self.accepted.request_id, greeting, on_retry, on_news)
            except FutureLostError:
                if not await self._resubmit(greeting, on_retry):
                    raise
            else:
                self.end(self._read(greeting, reply, self.accepted))

    async def _resubmit(self, greeting: Greeting, on_retry: OnRetry) -> bool:
        """Submit a lost request anew under its next number, if that does no harm."""
        if not self.kind.repeatable or self._number is None or self._resubmitted == _RESUBMISSIONS:
            return False
        on_retry(0, "the server lost it, submitting it anew")
        self._resubmitted += 1
        self._ask = self._ask.model_copy(update={"seq_id": self._number()})
        await self.encode(greeting).send(greeting, on_retry)
        return True

    async def _poll(
        self, request_id: str, greeting: Greeting, on_retry: OnRetry, on_news: Callable[[], None]
    ) -> Reply:
        """Ask until it has ended; returns the final reply."""
        if self.kind.repeatable and greeting.config.sample_use_retrieve_futures:
            await self._server.batches.ended(self._ask, request_id)
        streak = iteration = attempt = refusals = 0
        trouble_since = time.monotonic()
        policy = greeting.poll_patience
        while True:
            began = time.monotonic()
            request = greeting.dialect.poll(self.kind, request_id, self._known_state(), iteration)
            tried = await self._server.transport.once(request)
            iteration += 1
            meaning = _meaning(tried, request_id, greeting)
            if _is_refused(meaning) and refusals < _REFUSALS:
                refusals, meaning = refusals + 1, Broken(Failure(reason="400"))
            match meaning:
                case Finished(reply):
                    return reply
                case Over(_, error):
                    raise _told(error, attempt, trouble_since)
                case NotYet(state, queue):
                    news = self._heard(state, queue)
                    on_news()
                    held = time.monotonic() - began
                    streak = 0 if news or held >= 1 else streak + 1
                    attempt = refusals = 0
                    await asyncio.sleep(pause_before_next(held, streak, news=news))
                case Broken(failure):
                    # The server may have held the poll for longer than patience lasts.
                    trouble_since = trouble_since if attempt else time.monotonic()
                    transport = self._server.transport
                    wait = transport.retry_in(failure, attempt, trouble_since, policy)
                    if wait is None:
                        raise _told(_gave_up(tried, request_id), attempt, trouble_since)
                    attempt += 1
                    on_retry(attempt, retry_note(failure, wait))
                    await asyncio.sleep(wait)

    def _known_state(self) -> str:
        shown = (FutureState.QUEUED, FutureState.RUNNING)
        return self.state.value if self.state in shown else FutureState.ACCEPTED.value

    def _heard(self, state: FutureState | None, queue: QueueNote | None) -> bool:
        """Take in what the server said of its queue; says whether the state is new."""
        before, self.state, self.queue = self.state, state or self.state, queue
        return self.state is not before

    def _read(self, greeting: Greeting, reply: Reply, accepted: Accepted) -> Any:
        try:
            return greeting.dialect.result(self.kind, reply, accepted)
        except (ValidationError, KeyError, TypeError, ValueError) as error:
            raise APIResponseValidationError(
                f"The result of {self.kind.name} does not follow the protocol.",
                request_id=accepted.request_id,
            ) from error


def _meaning(tried: Reply | NoAnswer, request_id: str, greeting: Greeting) -> Outcome:
    if isinstance(tried, NoAnswer):
        return Broken(tried.failure)
    try:
        meaning = greeting.dialect.read_poll(tried, request_id)
    except APIResponseValidationError:
        return Broken(GARBLED)
    # Nothing at all reads as a result in which nothing is.
    return Broken(GARBLED) if isinstance(meaning, Finished) and not tried.content else meaning


def _is_refused(meaning: Outcome) -> bool:
    return isinstance(meaning, Over) and isinstance(meaning.error, BadRequestError)


def _told(error: TinkerError, retries: int, since: float) -> TinkerError:
    return told_tries(error, retries, time.monotonic() - since)


def _gave_up(tried: Reply | NoAnswer, request_id: str) -> TinkerError:
    error = verdict(tried)[1]
    error.request_id = request_id
    return error
