"""One submission, sent so that it is done once whoever carries it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading

from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.exchange import Reply, Request
from tinker_nb.client.loops import loop_thread, wait_async
from tinker_nb.client.transport import OnRetry, Transport


class Sending:
    """A request that is being submitted; a carrier that takes over goes on with it.

    To a server that knows a repeated submission by its number, each carrier sends it itself, under
    the same idempotency key. To one that would do it twice, it is sent on the library's own loop,
    which never stands still, and every carrier waits for that.

    Parameters
    ----------
    request
        What to send.
    transport
        Where to.
    dialect
        How the server is spoken to.
    harmless
        Whether doing it twice changes nothing on the server. It is then sent again when nobody
        knows whether it came.
    """

    def __init__(
        self, request: Request, transport: Transport, dialect: Dialect, *, harmless: bool = False
    ) -> None:
        self._request = request.keyed()
        self._transport = transport
        self._dialect = dialect
        self._harmless = harmless
        self._is_given_up = False
        self._lock = threading.Lock()
        self._sent: concurrent.futures.Future[Reply] | None = None

    async def reply(self, on_retry: OnRetry) -> Reply:
        """Return the server's good answer; raises what `Transport.send` does."""
        if self._dialect.deduplicates:
            return await self._send(on_retry)
        # The lock is for carriers on two loops that meet here.
        with self._lock:
            if self._is_given_up:
                raise asyncio.CancelledError
            if self._sent is None:
                self._sent = loop_thread().submit(self._send(on_retry))
        return await wait_async(self._sent)

    def abandon(self) -> None:
        """Send it no more: what was given up must not reach the server minutes later."""
        with self._lock:
            self._is_given_up = True
            if self._sent is not None:
                self._sent.cancel()

    async def _send(self, on_retry: OnRetry) -> Reply:
        return await self._transport.send(
            self._request,
            on_retry,
            repeatable=self._dialect.deduplicates or self._harmless,
            understood=self._dialect.understood,
            wants_json=True,
        )
