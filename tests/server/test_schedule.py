"""Whose turn it is, event by event, and how long it takes."""

from __future__ import annotations

import pytest

from tests.server.scripted import Clock, draw, fb, step
from tinker_nb.server.engine.queue import Queue, QueueView
from tinker_nb.server.engine.schedule import Schedule
from tinker_nb.server.engine.speeds import Speeds
from tinker_nb.server.engine.work import Job, LiveWeights


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


# The queue: two schedules, what is done now, and what that means for who waits -----------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tinker_nb.server.engine.queue.time", clock)
    return clock


def alone(job: Job, taken: list[Job]) -> bool:
    return False


def queued(*jobs: Job) -> Queue:
    """Return a queue that knows: a step takes 2 s, a loss 1 s a token, drawing 0.5 s a token."""
    queue = Queue(Speeds())
    for known, seconds in ((step("x"), 2.0), (fb("x"), 1.0)):
        queue.observe([known], seconds)
    queue.observe_step(2, 1.0)
    for job in jobs:
        queue.add(job)
    return queue


def test_only_weights_in_training_wait_among_their_training() -> None:
    live, free = draw("live", "m", weights=LiveWeights("m")), draw("free", "m")
    some = draw("some", "m", prompts=(1, 2), weights=LiveWeights("m"))
    queue = queued(step("a"), free, live, some)
    assert queue.busy
    assert queue.take_drawing() is free
    assert queue.take_drawing() is None
    taken = [queue.take_training(alone)[0].request_id for _ in range(3)]
    assert taken == ["a", "live", "some"]
    assert queue.take_training(alone) == []
    assert not queue.busy


def test_what_was_taken_to_be_drawn_runs_and_can_be_cancelled() -> None:
    free, live = draw("free"), draw("live", "m", weights=LiveWeights("m"))
    queue = queued(free, live)
    assert queue.take_drawing() is free
    assert queue.take_training(alone) == [live]
    assert {view.state for view in queue.views().values()} == {"running"}
    for job in (free, live, free):
        queue.cancel(job)
    assert queue.busy
    assert queue.take_cancelled() == [free, live]
    assert queue.take_cancelled() == []


def test_what_ended_since_is_not_cancelled() -> None:
    free = draw("free")
    queue = queued(free)
    queue.take_drawing()
    queue.cancel(free)
    queue.draw([])
    assert queue.take_cancelled() == []
    assert not queue.busy
    queue.cancel(free)
    assert not queue.busy


def test_training_in_hand_cannot_be_cancelled(clock: Clock) -> None:
    job = step("a")
    queue = queued(job)
    queue.take_training(alone)
    queue.cancel(job)
    assert queue.take_cancelled() == []
    assert queue.view(job) == QueueView("running", 0, 2.0)


def test_a_cancelled_job_is_in_no_ones_way(clock: Clock) -> None:
    one, two = step("one"), step("two")
    queue = queued(one, two)
    assert queue.view(two) == QueueView("queued", 1, 4.0)
    queue.cancel(one)
    assert queue.view(one) is None
    assert queue.view(two) == QueueView("queued", 0, 2.0)


def test_training_is_foreseen_in_the_order_of_the_turns(clock: Clock) -> None:
    jobs = [fb("a0", "a", cost=5), fb("a1", "a", cost=7), step("b0", "b"), draw("free", "a")]
    queue = queued(*jobs)
    views = [queue.view(job) for job in jobs[:3]]
    assert views == [
        QueueView("queued", 0, 5.0),
        QueueView("queued", 1, 14.0),
        QueueView("queued", 0, 7.0),
    ]
    queue.take_training(alone)
    clock.now += 1.5
    assert queue.view(jobs[0]) == QueueView("running", 0, 3.5)
    # After a lane was served, the others come first.
    assert queue.view(jobs[1]) == QueueView("queued", 1, 3.5 + 2 + 7)
    clock.now += 100
    assert queue.view(jobs[0]) == QueueView("running", 0, 0.0)


def test_drawing_is_foreseen_by_its_tokens(clock: Clock) -> None:
    jobs = [Job(name, "s", draw(name).work, 10.0) for name in ("one", "two")]
    queue = queued(*jobs)
    assert queue.take_drawing() is jobs[0]
    assert queue.views() == {
        "one": QueueView("running", 0, 5.0),
        "two": QueueView("queued", 0, 10.0),
    }


def test_what_was_never_done_is_not_foreseen(clock: Clock) -> None:
    queue, job = Queue(Speeds()), step("a")
    queue.add(job)
    assert queue.view(job) == QueueView("queued", 0, None)
