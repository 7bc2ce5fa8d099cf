"""Stopping by itself when nobody has asked for anything for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Those who watch a server do not use it: a monitor must not keep it alive.
WATCHERS = frozenset(
    {"/healthz", "/api/v1/healthz", "/metrics", "/api/v1/queue", "/api/v1/queue/events"}
)
_SHORTEST_NAP, _LONGEST_NAP = 0.05, 5.0  # seconds


def should_stop(now: float, last_request: float, busy: bool, limit: float) -> bool:
    """Say whether a server has been idle for long enough to stop.

    Parameters
    ----------
    now
        The time.
    last_request
        When it was used last.
    busy
        Whether a request is being answered, or work waits or is being done.
    limit
        Seconds of idleness it stays.
    """
    return not busy and now - last_request >= limit


class Activity:
    """When the server was used last, and how many requests are being answered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.open = 0
        self.last = clock()

    def touch(self) -> None:
        """Note that the server is in use."""
        self.last = self._clock()

    def is_over(self, working: bool, limit: float) -> bool:
        """Say whether to stop; being busy counts as being used."""
        busy = working or self.open > 0
        if busy:
            self.touch()
        return should_stop(self._clock(), self.last, busy, limit)

    @contextmanager
    def request(self, path: str) -> Iterator[None]:
        """Frame the answering of a request."""
        if path in WATCHERS:
            yield
            return
        self.open += 1
        self.touch()
        try:
            yield
        finally:
            self.open -= 1
            self.touch()


async def watch(
    activity: Activity, works: Callable[[], bool], limit: float, stop: Callable[[], None]
) -> None:
    """Call ``stop`` once the server has been idle for ``limit`` seconds."""
    while not activity.is_over(works(), limit):  # noqa: ASYNC110  # time itself is waited for
        await asyncio.sleep(min(max(limit / 4, _SHORTEST_NAP), _LONGEST_NAP))
    stop()
