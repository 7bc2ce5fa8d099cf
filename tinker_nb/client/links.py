"""The connections to one server: one link per event loop, each closed before its loop ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from pydantic import SecretStr

from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import NoAnswer, Reply
from tinker_nb.client.keys import KeySource
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.tokens import exchange_request

if TYPE_CHECKING:
    from tinker_nb.client.link import Link


class Links:
    """The links to one server, by event loop; all of them open it with the same keys."""

    def __init__(self) -> None:
        self.keys = KeySource(self._exchanged)
        self._open: dict[asyncio.AbstractEventLoop, tuple[Link, AsyncGenerator[None]]] = {}

    async def here(self, endpoint: Endpoint) -> Link:
        """Return the running loop's link, opening it on first use."""
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            # Loaded with the first request: httpx is a good part of what importing us would cost.
            from tinker_nb.client.link import Link

            link = Link(endpoint, self.keys)
            self._open[loop] = (link, self._life_of(link, loop))
            await anext(self._open[loop][1])
        return self._open[loop][0]

    async def _exchanged(self, endpoint: Endpoint, key: SecretStr | None) -> Reply | NoAnswer:
        return await (await self.here(endpoint)).show(exchange_request(), key)

    async def _life_of(self, link: Link, loop: asyncio.AbstractEventLoop) -> AsyncGenerator[None]:
        """Close the connections of a loop before it ends.

        A loop that shuts down in order, as ``asyncio.run`` does it, finishes the asynchronous
        generators begun on it. No other hook lets connections be closed in time.
        """
        try:
            yield
        finally:
            self._open.pop(loop, None)
            await link.aclose()

    async def aclose(self) -> None:
        """Close the connections of every loop that can still be reached."""
        self.keys.stop()
        here = asyncio.get_running_loop()
        for loop, (_, life) in list(self._open.items()):
            if loop is here:
                await life.aclose()
            elif loop is loop_thread().loop:
                await asyncio.wrap_future(loop_thread().submit(life.aclose()))
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(life.aclose(), loop)

    def close_soon(self) -> None:
        """Have the connections closed, each on its loop; for a client that nobody holds any more.

        May be called on any thread, and where nothing may be awaited.
        """
        self.keys.stop()
        for loop, (_, life) in list(self._open.items()):
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it these
                loop.call_soon_threadsafe(_begin_closing, life)


#: Closings under way: a loop keeps only weak references to its tasks.
_closing: set[asyncio.Task[None]] = set()


def _begin_closing(life: AsyncGenerator[None]) -> None:
    task = asyncio.ensure_future(life.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)
