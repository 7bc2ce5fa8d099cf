"""One poll for all futures of a sampling session (section 3.7 of the protocol).

Where a server offers it, a thousand samples in flight need one open poll instead of a thousand.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

from tinker_nb.client.exchange import Reply, Request, json_payload
from tinker_nb.client.loops import loop_thread, wait_async
from tinker_nb.client.polling import pause_before_next
from tinker_nb.client.retry import DEFAULT_POLICY, retry_delay
from tinker_nb.client.transport import Transport, verdict
from tinker_nb.errors import TinkerError, unexpected
from tinker_nb.wire.requests import FuturesTarget, RetrieveFuturesRequest, SampleRequest
from tinker_nb.wire.responses import RetrieveFuturesResponse

_PATH = "/api/v1/retrieve_futures"
_POLL_TIMEOUT = 60.0
_CLONE = 10**9


class Batches:
    """The batch polls of one server: one per sampling session that has samples in flight."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._pollers: dict[tuple[str, int], BatchPoll] = {}

    async def ended(self, ask: SampleRequest, request_id: str) -> None:
        """Wait until a sample has ended, well or not; its result is fetched on its own."""
        session_id = ask.sampling_session_id if ask is not None else None
        if session_id is None:
            return  # a sample of another process: polled on its own
        key = (session_id, (ask.seq_id or 0) // _CLONE)
        with self._lock:
            if key not in self._pollers:
                target = FuturesTarget(sampling_session_id=key[0], cloned_sampler_id=key[1])
                self._pollers[key] = BatchPoll(target, self._transport)
            waiting = self._pollers[key].wait_for(request_id)
        try:
            await wait_async(waiting)
        finally:
            self._pollers[key].forget(request_id)


class BatchPoll:
    """Polls for one sampling session, on the loop thread, while anybody waits.

    Parameters
    ----------
    target
        Whose futures.
    transport
        Where.
    """

    def __init__(self, target: FuturesTarget, transport: Transport) -> None:
        self._target = target
        self._transport = transport
        self._lock = threading.Lock()
        self._waiting: dict[str, concurrent.futures.Future[None]] = {}
        self._ended: set[str] = set()  # told before anybody asked
        self._fetched: list[str] = []
        self._cursor = 0
        self._is_polling = False

    def wait_for(self, request_id: str) -> concurrent.futures.Future[None]:
        """Return what is set once a request has ended."""
        waiting: concurrent.futures.Future[None] = concurrent.futures.Future()
        waiting.set_running_or_notify_cancel()
        with self._lock:
            if request_id in self._ended:
                self._ended.discard(request_id)
                waiting.set_result(None)
                return waiting
            self._waiting[request_id] = waiting
            if not self._is_polling:
                self._is_polling = True
                loop_thread().submit(self._run())
        return waiting

    def forget(self, request_id: str) -> None:
        """Note that nobody waits for a request any more."""
        with self._lock:
            self._waiting.pop(request_id, None)
            self._fetched.append(request_id)

    async def _run(self) -> None:
        try:
            streak, clock = 0, asyncio.get_running_loop().time
            while self._goes_on():
                began = clock()
                said = await self._poll()
                self._take_in(said)
                news, held = bool(said.completions), clock() - began
                streak = 0 if news else streak + 1
                await asyncio.sleep(pause_before_next(held, streak, news=news))
        except TinkerError as error:
            self._fail(error)
        except Exception as error:
            self._fail(unexpected(error))

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_polling = bool(self._waiting)
            return self._is_polling

    async def _poll(self) -> RetrieveFuturesResponse:
        """Ask once, again where that may help; raises when the server will not answer."""
        with self._lock:
            fetched, self._fetched = self._fetched, []
        body = RetrieveFuturesRequest(
            target=self._target, prev_cursor=self._cursor, retrieved_request_ids=fetched
        )
        request = Request(
            "POST", _PATH, json_payload(body.to_wire()), timeout=_POLL_TIMEOUT, lane="poll"
        )
        began, attempt = asyncio.get_running_loop().time(), 0
        while True:
            tried = await self._transport.once(request)
            if isinstance(tried, Reply) and tried.status == 200:
                return RetrieveFuturesResponse.model_validate(tried.json_object())
            failure, error = verdict(tried)
            elapsed = asyncio.get_running_loop().time() - began
            wait = retry_delay(
                failure, attempt=attempt, elapsed=elapsed, chance=1.0, policy=DEFAULT_POLICY
            )
            if wait is None:
                raise error
            attempt += 1
            await asyncio.sleep(wait)

    def _take_in(self, said: RetrieveFuturesResponse) -> None:
        ended = []
        with self._lock:
            self._cursor = said.cursor
            for each in said.completions:
                waiting = self._waiting.pop(each.request_id, None)
                if waiting is None:
                    self._ended.add(each.request_id)
                else:
                    ended.append(waiting)
        for waiting in ended:
            waiting.set_result(None)

    def _fail(self, error: TinkerError) -> None:
        with self._lock:
            waiting, self._waiting = list(self._waiting.values()), {}
            self._is_polling = False
        for each in waiting:
            each.set_exception(error)
