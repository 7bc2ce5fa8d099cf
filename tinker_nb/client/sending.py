"""One submission, sent so that it is done once whoever carries it."""

from __future__ import annotations

import concurrent.futures

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
    shared
        Whether the server would do a repeated submission twice.
    """

    def __init__(self, request: Request, transport: Transport, *, shared: bool) -> None:
        self._request = request.keyed()
        self._transport = transport
        self._shared = shared
        self._sent: concurrent.futures.Future[Reply] | None = None

    async def reply(self, on_retry: OnRetry) -> Reply:
        """Return the server's good answer; raises what `Transport.send` does."""
        if not self._shared:
            return await self._transport.send(self._request, on_retry)
        if self._sent is None:
            self._sent = loop_thread().submit(
                self._transport.send(self._request, on_retry, repeatable=False)
            )
        return await wait_async(self._sent)
