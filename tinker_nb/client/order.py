"""One order per model: calls are prepared and submitted one after another, as they were made.

The order holds across loops and threads. It is made of tickets with two gates each: a call may
prepare its bytes while the one before is on its way, but is submitted only once the server took all
earlier ones. Calls that commute, such as two forward_backward between the same steps, may be on
their way together where the server allows for that.
"""

from __future__ import annotations

import concurrent.futures
import threading

from tinker_nb.client.loops import wait_async


def _mark() -> concurrent.futures.Future[None]:
    mark: concurrent.futures.Future[None] = concurrent.futures.Future()
    mark.set_running_or_notify_cancel()  # no waiter may cancel it
    return mark


class Gate:
    """A place in a row: one goes after the other.

    Parameters
    ----------
    before
        Done when all who are earlier have left.
    barrier
        Done when all have left up to the last one whose place among the others matters.
    """

    def __init__(
        self,
        before: concurrent.futures.Future[None],
        barrier: concurrent.futures.Future[None] | None = None,
    ) -> None:
        self._before = before
        self._barrier = barrier or before
        self.passed = _mark()
        self._lock = threading.Lock()
        self._is_left = False

    async def turn(self, *, among_equals: bool = False) -> None:
        """Wait until all who are earlier have left, or all but equals, where that is enough."""
        awaited = self._barrier if among_equals else self._before
        if not awaited.done():
            await wait_async(awaited)

    def leave(self) -> None:
        """Let the next one go, as soon as all earlier ones have left; may be repeated."""
        with self._lock:
            if self._is_left:
                return
            self._is_left = True
        # A call given up early must not let later ones overtake those still before it.
        self._before.add_done_callback(self._pass)

    def _pass(self, _: concurrent.futures.Future[None]) -> None:
        self.passed.set_result(None)


class Ticket:
    """A call's place in the order: first a turn to prepare, then one to be submitted."""

    def __init__(self, prepare: Gate, submit: Gate) -> None:
        self.prepare = prepare
        self.submit = submit

    def hand_in(self) -> None:
        """Leave the order; may be repeated."""
        self.prepare.leave()
        self.submit.leave()


class SubmissionOrder:
    """Hands out tickets in the order of the calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._prepared, self._submitted = _mark(), _mark()
        self._prepared.set_result(None)
        self._submitted.set_result(None)
        self._barrier = self._submitted
        self._taken = 0

    @property
    def taken(self) -> int:
        """How many tickets were handed out."""
        return self._taken

    def take(self, *, commutes: bool = False) -> Ticket:
        """Return the next ticket.

        Parameters
        ----------
        commutes
            Whether the call may change places with others of which that is said too.
        """
        return self.take_several(1, commutes=commutes)[0]

    def take_several(self, count: int, *, commutes: bool = False) -> list[Ticket]:
        """Return the next tickets, with nobody else's between them."""
        with self._lock:
            return [self._take(commutes) for _ in range(count)]

    def _take(self, commutes: bool) -> Ticket:
        ticket = Ticket(Gate(self._prepared), Gate(self._submitted, self._barrier))
        self._taken += 1
        self._prepared, self._submitted = ticket.prepare.passed, ticket.submit.passed
        if not commutes:
            self._barrier = ticket.submit.passed
        return ticket
