"""The state machine of a future."""

from __future__ import annotations

import pytest

from tinker_nb.client.states import FINAL_STATES, FutureState, new_snapshot
from tinker_nb.errors import InvalidTransitionError


def test_the_usual_way_keeps_its_times() -> None:
    shown = new_snapshot(1, "Sample", 10.0)
    way = [s for s in FutureState if not s.is_final and s is not FutureState.CREATED]
    for moment, state in enumerate([*way, FutureState.DONE], start=11):
        shown = shown.entered(state, float(moment))
    assert shown.seconds(now=99.0) == 5.0
    assert [shown.times[state] for state in way] == [11.0, 12.0, 13.0, 14.0]


@pytest.mark.parametrize("end", [state for state in FutureState if state in FINAL_STATES])
def test_nothing_follows_an_end(end: FutureState) -> None:
    shown = new_snapshot(1, "Sample", 0.0).entered(end, 1.0)
    with pytest.raises(InvalidTransitionError, match="cannot become running"):
        shown.entered(FutureState.RUNNING, 2.0)


def test_only_running_may_go_back_to_the_queue() -> None:
    running = new_snapshot(1, "Sample", 0.0).entered(FutureState.RUNNING, 1.0)
    assert running.entered(FutureState.QUEUED, 2.0).state is FutureState.QUEUED
    with pytest.raises(InvalidTransitionError):
        running.entered(FutureState.SENDING, 2.0)


def test_the_same_state_takes_news_without_a_new_time() -> None:
    shown = new_snapshot(1, "Sample", 0.0).entered(FutureState.SENDING, 1.0)
    again = shown.entered(FutureState.SENDING, 5.0, note="429, next try in 4 s")
    assert again.times == shown.times
    assert again.note == "429, next try in 4 s"
