"""News that something changed, for those who watch: they are woken, and look for themselves."""

from __future__ import annotations

import asyncio
import contextlib


class News:
    """A number that grows with every change, and a way to wait for it to grow.

    Used on the event loop's thread only.
    """

    def __init__(self) -> None:
        self.number = 0
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether there will be no more news."""
        return self._closed

    def spread(self) -> None:
        """Tell that something changed."""
        self.number += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """Wake everybody for the last time."""
        self._closed = True
        self.spread()

    async def wait(self, known: int, timeout: float | None) -> None:
        """Wait until the number is another one than the known, at most ``timeout`` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while self.number == known and not self._closed:
                    await self._changed.wait()
