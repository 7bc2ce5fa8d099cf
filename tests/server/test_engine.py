"""The engine's promises, with a workshop that only remembers, and a clock of its own."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.scripted import Stage, draw, fb, staged, step
from tinker_nb.server.engine.engine import Engine
from tinker_nb.server.engine.outcomes import CANCELLED
from tinker_nb.server.engine.work import Done, Failed, LiveWeights


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(monkeypatch) as stage:
        yield stage


def test_order_within_and_between_lanes(stage: Stage) -> None:
    stage.engine.start()
    stage.engine.submit(step("a0", "a"))
    stage.heard.wait_running("a0")
    for name in ("a1", "a2", "b0", "b1"):
        stage.engine.submit(step(name, name[0]))
    stage.scripted.gate.set()
    stage.heard.wait(5)
    assert list(stage.heard.outcomes) == ["a0", "a1", "b0", "a2", "b1"]


def test_a_model_that_asks_for_much_holds_up_no_other(stage: Stage) -> None:
    for name in ("a0", "a1", "a2", "a3", "b0", "c0", "b1"):
        stage.engine.submit(fb(name, name[0], cost=8))
    stage.scripted.gate.set()
    stage.engine.start()
    stage.heard.wait(7)
    assert list(stage.heard.outcomes) == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_failures_tell_whose_fault_and_the_engine_goes_on(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    stage.scripted.gate.set()
    stage.engine.start()
    with caplog.at_level(logging.ERROR):
        for job in (step("user", "a", 7), step("server", "a", 8), step("fine", "a")):
            stage.engine.submit(job)
        stage.heard.wait(3)
    assert stage.heard.outcomes["user"] == Failed("seven is no good", "user")
    failed = stage.heard.outcomes["server"]
    assert isinstance(failed, Failed)
    assert failed.category == "server"
    assert "secret" not in failed.message
    assert "submit it again" in failed.message
    assert stage.heard.outcomes["fine"] == Done("did it")
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("jobs", "together"),
    [
        ([fb("1"), fb("2"), fb("3"), fb("4")], [["1", "2", "3", "4"]]),
        ([fb("1"), fb("2", loss="ppo"), fb("3")], [["1"], ["2"], ["3"]]),
        ([fb("1"), fb("2", settings={"beta": 1.0}), fb("3")], [["1"], ["2"], ["3"]]),
        ([fb("1"), fb("2", forward_only=True), fb("3")], [["1"], ["2"], ["3"]]),
        ([fb("1"), step("s"), fb("2"), fb("3")], [["1", "s"], ["2", "3"]]),
        ([fb("1"), fb("2"), step("s"), step("t")], [["1", "2", "s"], ["t"]]),
        ([step("1"), step("2")], [["1"], ["2"]]),
        ([fb("1", cost=4), fb("2", cost=4), fb("3", cost=4)], [["1", "2"], ["3"]]),
        ([fb("1", cost=99), fb("2", cost=4), fb("3", cost=6)], [["1"], ["2", "3"]]),
        ([fb("1", "a"), fb("2", "b"), fb("3", "a")], [["1", "3"], ["2"]]),
        ([fb("1"), draw("d", "m", weights=LiveWeights("m")), fb("2")], [["1"], ["d"], ["2"]]),
    ],
)
def test_what_goes_together(stage: Stage, jobs: Any, together: list[list[str]]) -> None:
    for job in jobs:
        stage.engine.submit(job)
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(len(jobs))
    assert stage.heard.groups == together
    losses = [job.request_id for job in jobs if job.request_id.isdecimal()]
    for name in losses:
        assert stage.heard.outcomes[name] in (Done(f"loss of {name}"), Done("did it"))


def test_requests_that_are_computed_together_fail_together(stage: Stage) -> None:
    for name in ("1", "2"):
        stage.engine.submit(fb(name, loss="broken"))
    stage.engine.submit(fb("3"))
    stage.scripted.gate.set()
    stage.engine.start()
    stage.heard.wait(3)
    assert [type(stage.heard.outcomes[name]) for name in "123"] == [Failed, Failed, Done]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_change_is_settled_as_it_was_recorded(stage: Stage, recorded: bool) -> None:
    stage.heard.records = recorded
    stage.scripted.gate.set()
    stage.engine.start()
    stage.engine.submit(step("a0"))
    stage.engine.submit(step("a1"))
    stage.heard.wait(2)
    # The second had to be trained for its news, so the first is settled.
    assert stage.scripted.settled[0] == ("changed m", recorded)
    assert stage.heard.changes[0] == "changed m"


def test_training_and_drawing_take_turns(stage: Stage) -> None:
    stage.scripted.seconds = 3
    for name in ("a0", "a1", "a2"):
        stage.engine.submit(step(name))
    stage.engine.submit(draw("d", tokens=8))
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(4)
    assert [word.split()[0] for word in stage.scripted.log] == [
        *("train", "find", "join", "step", "step", "step"),
        *("train", "step", "step", "step"),
        *("train", "step", "step"),
    ]


def test_cancel_what_waits(stage: Stage) -> None:
    stage.engine.start()
    stage.engine.submit(step("held"))
    stage.heard.wait_running("held")
    waiting = [step("a1"), draw("free"), draw("live", "m", weights=LiveWeights("m")), step("a2")]
    for job in waiting:
        stage.engine.submit(job)
    for job in waiting[:3]:
        stage.engine.cancel(job)
        assert stage.engine.view(job) is None
    stage.scripted.open()
    stage.heard.wait(5)
    assert [stage.heard.outcomes[name] for name in ("a1", "free", "live")] == [CANCELLED] * 3
    assert stage.heard.outcomes["held"] == stage.heard.outcomes["a2"] == Done("did it")
    assert stage.scripted.log == ["train m", "train m"]


def test_what_is_trained_goes_on(stage: Stage) -> None:
    stage.engine.start()
    job = step("a0")
    stage.engine.submit(job)
    stage.heard.wait_running("a0")
    stage.engine.cancel(job)
    stage.scripted.open()
    stage.engine.submit(step("a1"))
    stage.heard.wait(2)
    assert stage.heard.told == ["a0", "a1"]
    assert stage.heard.outcomes["a0"] == Done("did it")


def test_view_counts_what_goes_before(stage: Stage) -> None:
    stage.engine.start()
    jobs = [step("a0", "a"), step("a1", "a"), step("a2", "a"), step("b0", "b"), draw("d", "b")]
    stage.engine.submit(jobs[0])
    stage.heard.wait_running("a0")
    for job in jobs[1:]:
        stage.engine.submit(job)
    views = [stage.engine.view(job) for job in jobs]
    places = [("running", 0), ("queued", 1), ("queued", 2), ("queued", 0), ("queued", 0)]
    assert [(view.state, view.place) for view in views if view] == places
    assert stage.engine.views() == {job.request_id: stage.engine.view(job) for job in jobs}
    stage.scripted.open()
    stage.heard.wait(5)
    assert stage.engine.views() == {}
    assert stage.engine.view(jobs[0]) is None


def test_eta_comes_once_speeds_are_known(stage: Stage) -> None:
    stage.scripted.seconds = 3
    stage.scripted.open()
    stage.engine.start()
    stage.engine.submit(step("warm"))
    stage.heard.wait(1)
    stage.scripted.gate.clear()
    jobs = [step("a0"), step("a1"), fb("f"), step("a2")]
    for job in jobs:
        stage.engine.submit(job)
    stage.heard.wait_running("a0")
    etas = [view.eta_seconds for job in jobs if (view := stage.engine.view(job))]
    assert etas == [3.0, 6.0, None, None]
    stage.clock.now += 1
    etas = [view.eta_seconds for job in jobs if (view := stage.engine.view(job))]
    assert etas == [2.0, 5.0, None, None]


@pytest.mark.parametrize("job", [step("held"), draw("held", tokens=999)])
def test_stop_gives_up_the_work_in_hand_without_news(stage: Stage, job: Any) -> None:
    stage.engine.submit(job)
    stage.engine.start()
    assert stage.scripted.working.wait(10)
    stage.engine.submit(step("never"))
    assert not stage.engine.stop(0.01)
    stage.scripted.open()
    assert stage.engine.stop(10)
    assert stage.heard.outcomes == {}
    assert stage.scripted.settled == []


def test_stop_before_the_start(stage: Stage) -> None:
    assert Engine(stage.scripted, stage.heard).stop(1)  # type: ignore[arg-type]
