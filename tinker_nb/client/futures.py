"""TinkerFuture: a result that is on its way, with a state one can watch."""

from __future__ import annotations

import concurrent.futures
import itertools
import logging
import threading
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from tinker_nb.client.loops import wait_async, wait_blocking
from tinker_nb.client.states import FutureSnapshot, FutureState, new_snapshot
from tinker_nb.errors import FutureCancelledError, FutureTimeoutError, TinkerError

if TYPE_CHECKING:
    from tinker_nb.client.work import Work

logger = logging.getLogger(__name__)
T = TypeVar("T")
Listener = Callable[[FutureSnapshot], None]
_keys = itertools.count(1)


class TinkerFuture(Generic[T]):
    """The result of a call that the server works on.

    It can be awaited on any event loop, waited for with `result` on any thread, and watched with
    `subscribe`. Cancelling a wait leaves the request alone; `cancel` gives the request up.

    Examples
    --------
    >>> future = training.forward_backward(data, "cross_entropy")
    >>> future.state
    <FutureState.SENDING: 'sending'>
    >>> output = future.result(timeout=60)  # or: output = await future
    """

    def __init__(self, kind: str, *, model_id: str | None = None, is_local: bool = False) -> None:
        self._lock = threading.Lock()
        self._snapshot = new_snapshot(next(_keys), kind, time.time(), model_id, is_local=is_local)
        # Carries no result, only the moment: an error nobody asks for must not be reported twice.
        self._settled: concurrent.futures.Future[None] = concurrent.futures.Future()
        # From here on a cancelled waiter cannot cancel it for the others.
        self._settled.set_running_or_notify_cancel()
        self._listeners: list[Listener] = []
        self._work: Work[T] | None = None
        self._was_seen = False

    # What it is

    @property
    def snapshot(self) -> FutureSnapshot:
        """Everything known about it now, as a plain value."""
        return self._snapshot

    @property
    def key(self) -> int:
        """The number this process gave the future."""
        return self._snapshot.key

    @property
    def kind(self) -> str:
        """What was asked, such as ``ForwardBackward``."""
        return self._snapshot.kind

    @property
    def state(self) -> FutureState:
        """Where it is."""
        return self._snapshot.state

    @property
    def request_id(self) -> str | None:
        """The server's id, once it is known."""
        return self._snapshot.request_id

    def done(self) -> bool:
        """Say whether it has ended, well or not."""
        return self.state.is_final

    def cancelled(self) -> bool:
        """Say whether it was given up on this side."""
        return self.state is FutureState.CANCELLED

    def __repr__(self) -> str:
        shown = self._snapshot
        return f"<TinkerFuture #{shown.key} {shown.kind} {shown.state.value}>"

    # Waiting

    def result(self, timeout: float | None = None) -> T:
        """Wait on this thread for the result.

        Works in scripts, in sync and async cells and on any thread, also for a future that was
        started by an async form: what this wait would block goes on in the loop thread.

        Parameters
        ----------
        timeout
            Seconds to wait; for ever when not given.

        Raises
        ------
        FutureTimeoutError
            The time was over; the request goes on.
        TinkerError
            Why the request failed.
        """
        self._wait(timeout)
        return self._outcome()

    def exception(self, timeout: float | None = None) -> TinkerError | None:
        """Wait like `result` and return the error, or None when it went well."""
        self._wait(timeout)
        self._was_seen = True
        return self._snapshot.error

    async def result_async(self, timeout: float | None = None) -> T:
        """Wait on the running loop for the result; the same as ``await future``."""
        await wait_async(self._settled, timeout)
        return self._outcome()

    def __await__(self) -> Generator[Any, None, T]:
        return self.result_async().__await__()

    def _wait(self, timeout: float | None) -> None:
        if self.done():
            return
        try:
            wait_blocking(self._settled, timeout)
        except FutureTimeoutError as error:
            error.request_id = self.request_id
            raise

    def _outcome(self) -> T:
        self._was_seen = True
        if self._snapshot.error is not None:
            # Without the way it took in the background, which would grow with every waiter.
            raise self._snapshot.error.with_traceback(None)
        return cast("T", self._snapshot.result)

    # Watching

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call the listener with each new snapshot, on whatever thread it happens.

        Returns
        -------
        Callable
            Call it to stop listening.
        """
        self._listeners.append(listener)

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return stop

    def add_done_callback(self, callback: Callable[[TinkerFuture[T]], None]) -> None:
        """Call back once it has ended; at once when it has."""
        self._settled.add_done_callback(lambda _: callback(self))

    # Ending and changing

    def cancel(self) -> bool:
        """Give the request up on this side.

        A request that was not sent yet will not be sent. One the server has may still be carried
        out there; only its result is no longer waited for.

        Returns
        -------
        bool
            Whether there was anything left to give up.
        """
        sent = self.request_id is not None
        message = (
            "Given up on this side; the server may still carry it out."
            if sent
            else "Cancelled on this side before the server took it."
        )
        error = FutureCancelledError(message, request_id=self.request_id)
        if not self._change(FutureState.CANCELLED, error=error, note=None):
            return False
        if self._work is not None:
            self._work.abandon()
        return True

    def _change(self, state: FutureState, **changes: Any) -> bool:
        """Enter a state, or update what is known; says no when it is over already."""
        with self._lock:
            if self._snapshot.state.is_final:
                return False
            self._snapshot = self._snapshot.entered(state, time.time(), **changes)
            shown = self._snapshot
        if state.is_final:
            self._settled.set_result(None)
        for listener in list(self._listeners):
            _tell(listener, shown)
        return True

    def __del__(self) -> None:
        error = self._snapshot.error if hasattr(self, "_snapshot") else None
        if error is not None and not self._was_seen and not self.cancelled():
            logger.error("Nobody looked at a failed %s: %s", self.kind, error)


def _tell(listener: Listener, snapshot: FutureSnapshot) -> None:
    try:
        listener(snapshot)
    except Exception:
        # One broken listener must neither stop the request nor the other listeners.
        logger.exception("A listener of a future failed")
