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

    def __init__(self, before: concurrent.futures.Future[None], number: int) -> None:
        self.number = number
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
    """Hands out tickets and ``seq_id`` numbers, in the order of the calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = _mark()
        self._last.set_result(None)
        self._next_seq_id = 0

    @property
    def taken(self) -> int:
        """How many tickets were handed out."""
        return self._next_seq_id

    def take(self) -> Ticket:
        """Return the next ticket; its number counts from 0."""
        with self._lock:
            ticket = Ticket(self._last, self._next_seq_id)
            self._next_seq_id += 1
            self._last = ticket.passed
            return ticket
