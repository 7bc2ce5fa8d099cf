"""How much may be in flight at once, by number and by bytes."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from tinker_nb.errors import InvalidInputError


class Budget:
    """What may be in flight on one event loop; whoever finds no room waits for its turn.

    Turns come in the order of asking, so small items never keep a large one waiting for ever. An
    item larger than the whole budget goes when it has the budget for itself.

    Parameters
    ----------
    count
        The most items at once.
    size
        The most bytes at once.
    clock
        Tells the time, as ``time.monotonic`` does.

    Examples
    --------
    >>> budget = Budget(400, 10_000_000)
    >>> async with budget.taking(len(body)):
    ...     await send(body)
    """

    def __init__(
        self, count: int, size: int, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if count < 1:
            raise InvalidInputError(f"At least one must be allowed in flight, not {count}.")
        self._count, self._size, self._clock = count, size, clock
        self._taken_count = self._taken_size = 0
        self._slow_count, self._slow_until = count, clock()
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @asynccontextmanager
    async def taking(self, size: int) -> AsyncGenerator[None]:
        """Take one place and some bytes while the block runs; awaits nothing when there is room."""
        if self._waiting or not self._has_room(size):
            await self._turn(size)
        else:
            self._take(size)
        try:
            yield
        finally:
            self._give_back(size)

    def slow_down(self, until: float, count: int) -> None:
        """Allow fewer items at once until a moment of the clock; called on the budget's loop.

        What is in flight stays in flight. Where two overlap, the smaller count holds until the
        later end.
        """
        still_slow = self._clock() < self._slow_until
        self._slow_count = max(1, min(count, self._slow_count) if still_slow else count)
        self._slow_until = max(self._slow_until, until)
        self._wait_for_end()

    def _wait_for_end(self) -> None:
        """Have those who wait looked at once the slow time is over: nothing else may do it soon."""
        left = self._slow_until - self._clock()
        if self._timer is None and left > 0:
            self._timer = asyncio.get_running_loop().call_later(left, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self._wait_for_end()  # it may have been made longer
        self._admit()

    def _has_room(self, size: int) -> bool:
        if self._taken_count == 0:
            return True
        is_slow = self._clock() < self._slow_until
        count = min(self._count, self._slow_count) if is_slow else self._count
        return self._taken_count < count and self._taken_size + size <= self._size

    def _take(self, size: int) -> None:
        self._taken_count += 1
        self._taken_size += size

    def _give_back(self, size: int) -> None:
        self._taken_count -= 1
        self._taken_size -= size
        self._admit()

    async def _turn(self, size: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiter, size))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._admit()  # the next may have waited behind this one only
            else:
                self._give_back(size)  # its turn and the cancellation came in the same moment
            raise

    def _admit(self) -> None:
        """Give their turn to those at the head who find room now."""
        while self._waiting:
            waiter, size = self._waiting[0]
            if waiter.cancelled():
                self._waiting.popleft()
                continue
            if not self._has_room(size):
                return
            self._waiting.popleft()
            # Taken on its behalf: nobody else may slip in before its task runs.
            self._take(size)
            waiter.set_result(None)
