"""One submission order per model: each waits until the server took all earlier ones.

The order holds across event loops and threads. It is made of tickets; a ticket's turn has come
when the one before was handed in.
"""

from __future__ import annotations

import concurrent.futures
import threading

from tinker_nb.client.loops import wait_async


def _mark() -> concurrent.futures.Future[None]:
    mark: concurrent.futures.Future[None] = concurrent.futures.Future()
    mark.set_running_or_notify_cancel()  # no waiter may cancel it
    return mark


class Ticket:
    """A place in the order."""

    def __init__(self, before: concurrent.futures.Future[None]) -> None:
        self._before = before
        self.passed = _mark()
        self._lock = threading.Lock()
        self._handed_in = False

    async def turn(self) -> None:
        """Wait until all earlier tickets were handed in."""
        if not self._before.done():
            await wait_async(self._before)

    def hand_in(self) -> None:
        """Let the next one pass, as soon as all earlier ones are through; may be repeated."""
        with self._lock:
            if self._handed_in:
                return
            self._handed_in = True
        # A call given up early must not let later ones overtake those still before it.
        self._before.add_done_callback(self._pass)

    def _pass(self, _: concurrent.futures.Future[None]) -> None:
        self.passed.set_result(None)


class SubmissionOrder:
    """Hands out tickets in the order of the calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = _mark()
        self._last.set_result(None)
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many tickets were handed out."""
        return self._taken

    def take(self) -> Ticket:
        """Return the next ticket."""
        return self.take_several(1)[0]

    def take_several(self, count: int) -> list[Ticket]:
        """Return the next tickets, with nobody else's between them."""
        with self._lock:
            return [self._take() for _ in range(count)]

    def _take(self) -> Ticket:
        ticket = Ticket(self._last)
        self._taken += 1
        self._last = ticket.passed
        return ticket
