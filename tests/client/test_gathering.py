"""Many futures as one: when it ends, and how."""

from __future__ import annotations

import pytest

from tinker_nb import FutureState, TinkerFuture
from tinker_nb.client.gathering import gathered
from tinker_nb.errors import FutureCancelledError, InvalidInputError, RequestFailedError


def three() -> list[TinkerFuture[int]]:
    return [TinkerFuture("Sample") for _ in range(3)]


def end(future: TinkerFuture[int], value: int) -> None:
    future._change(FutureState.DONE, result=value)


def test_results_come_in_order_once_all_are_there() -> None:
    futures = three()
    whole = gathered(futures)
    for value in (2, 0, 1):
        assert not whole.done()
        end(futures[value], value)
    assert whole.result(0) == [0, 1, 2]


def test_a_failure_is_told_after_the_others_had_their_time() -> None:
    futures = three()
    whole = gathered(futures)
    futures[0].cancel()
    futures[1]._change(FutureState.FAILED, error=RequestFailedError("no"))
    assert not whole.done()
    end(futures[2], 2)
    with pytest.raises(RequestFailedError, match="no"):
        whole.result(0)


def test_what_was_given_up_is_no_failure() -> None:
    futures = three()
    whole = gathered(futures)
    for future in futures:
        future.cancel()
    assert whole.state is FutureState.CANCELLED
    with pytest.raises(FutureCancelledError):
        whole.result(0)


def test_nothing_to_wait_for_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        gathered([])
