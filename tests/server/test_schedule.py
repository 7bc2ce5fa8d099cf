"""Whose turn it is, event by event."""

from __future__ import annotations

from tinker_nb.server.engine.schedule import Schedule
from tinker_nb.server.engine.speeds import Speeds


def filled(*items: str) -> Schedule[str]:
    """Return a schedule; an item's first letter is its lane."""
    schedule: Schedule[str] = Schedule()
    for item in items:
        schedule.add(item[0], item)
    return schedule


def drained(schedule: Schedule[str]) -> list[str]:
    """Take everything, one at a time."""
    taken = []
    while item := schedule.take():
        taken.extend(item)
    return taken


def test_one_lane_is_first_come_first_served() -> None:
    assert drained(filled("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_lanes_take_turns() -> None:
    schedule = filled("a1", "a2", "a3", "b1", "b2", "c1")
    assert drained(schedule) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_lane_that_was_served_goes_behind_one_that_waited() -> None:
    schedule = filled("a1", "a2", "b1")
    assert schedule.take() == ["a1"]
    schedule.add("c", "c1")
    assert drained(schedule) == ["b1", "a2", "c1"]


def test_a_lane_that_comes_back_waits_for_the_others() -> None:
    schedule = filled("a1", "b1")
    schedule.take()
    schedule.add("a", "a2")
    assert drained(schedule) == ["b1", "a2"]


def test_iteration_is_the_order_of_the_turns() -> None:
    schedule = filled("a1", "a2", "b1", "c1", "c2", "c3")
    assert list(schedule) == drained(schedule)


def test_what_joins_is_taken_together_but_never_past_one_that_does_not() -> None:
    schedule = filled("a1", "a2", "b1", "a-stop", "a3")
    assert schedule.take(lambda item, taken: item != "a-stop") == ["a1", "a2"]
    assert schedule.take() == ["b1"]
    assert schedule.take() == ["a-stop"]


def test_the_joiner_sees_what_was_taken_so_far() -> None:
    schedule = filled("a1", "a2", "a3")
    assert schedule.take(lambda _, taken: len(taken) < 2) == ["a1", "a2"]


def test_ahead_counts_the_own_lane_only() -> None:
    schedule = filled("a1", "b1", "a2", "b2", "b3")
    assert schedule.ahead("b", "b3") == ["b1", "b2"]
    assert schedule.ahead("a", "a1") == []
    assert schedule.ahead("a", "gone") is None
    assert schedule.ahead("nowhere", "a1") is None


def test_empty() -> None:
    schedule: Schedule[str] = Schedule()
    assert schedule.take() == []
    assert len(schedule) == 0
    assert list(schedule) == []


def test_length_follows() -> None:
    schedule = filled("a1", "b1", "b2")
    assert len(schedule) == 3
    schedule.take()
    assert len(schedule) == 2


def test_speeds_know_nothing_until_they_saw_something() -> None:
    speeds = Speeds()
    assert speeds.expected("x", 10) is None
    speeds.observe("x", 100, 2.0)
    assert speeds.expected("x", 50) == 1.0
    assert speeds.expected("y", 50) is None


def test_speeds_move_towards_what_they_see() -> None:
    speeds = Speeds()
    speeds.observe("x", 1, 1.0)
    for _ in range(50):
        speeds.observe("x", 1, 3.0)
    expected = speeds.expected("x", 1)
    assert expected is not None
    assert 2.9 < expected <= 3.0
