"""Many futures as one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TypeVar

from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.states import FutureState
from tinker_nb.errors import FutureCancelledError, InvalidInputError

T = TypeVar("T")


def gathered(futures: Sequence[TinkerFuture[T]]) -> TinkerFuture[list[T]]:
    """Return one future of all results, in order.

    It ends when all have ended: with the first failure where there was one, cancelled where one was
    given up. Cancelling it leaves the single futures alone.

    Raises
    ------
    InvalidInputError
        There are none.
    """
    if not futures:
        raise InvalidInputError("There is nothing to wait for.")
    whole: TinkerFuture[list[T]] = TinkerFuture(futures[0].kind, is_local=True)
    whole._change(FutureState.RUNNING)
    waiting, lock = len(futures), threading.Lock()

    def one_ended(_: TinkerFuture[T]) -> None:
        nonlocal waiting
        with lock:
            waiting -= 1
            is_last = waiting == 0
        if is_last:
            _settle(whole, futures)

    for future in futures:
        future.add_done_callback(one_ended)
    return whole


def _settle(whole: TinkerFuture[list[T]], futures: Sequence[TinkerFuture[T]]) -> None:
    errors = [error for future in futures if (error := future.exception()) is not None]
    failures = [error for error in errors if not isinstance(error, FutureCancelledError)]
    if failures:
        whole._change(FutureState.FAILED, error=failures[0])
    elif errors:
        whole._change(FutureState.CANCELLED, error=errors[0])
    else:
        whole._change(FutureState.DONE, result=[future.result() for future in futures])
