"""A value that is asked for once and then shared by all loops and threads."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tinker_nb.client.loops import loop_thread, wait_async

T = TypeVar("T")


class Shared(Generic[T]):
    """What a coroutine gives, run on the loop thread with the first who asks.

    After a failure the next who asks starts it anew.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: concurrent.futures.Future[T] | None = None

    @property
    def value(self) -> T | None:
        """The value, when it is there."""
        made = self._made
        return made.result() if made is not None and _is_there(made) else None

    async def get(self) -> T:
        """Return the value, making it on first use; raises why it could not be made."""
        made = self._made
        if made is None or not _is_there(made):
            made = self._begun()
        return await wait_async(made)

    def set(self, value: T) -> None:
        """Take a value that is known from elsewhere."""
        made: concurrent.futures.Future[T] = concurrent.futures.Future()
        made.set_result(value)
        with self._lock:
            self._made = made

    def forget(self) -> None:
        """Let the next who asks start anew."""
        with self._lock:
            self._made = None

    def _begun(self) -> concurrent.futures.Future[T]:
        with self._lock:
            if self._made is None or (self._made.done() and not _is_there(self._made)):
                self._made = loop_thread().submit(self._make())
            return self._made


def _is_there(made: concurrent.futures.Future[Any]) -> bool:
    return made.done() and not made.cancelled() and made.exception() is None
