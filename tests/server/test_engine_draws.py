"""The engine's promises to those who draw."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.scripted import Stage, draw, staged, step
from tinker_nb.errors import InvalidInputError
from tinker_nb.server.engine.outcomes import CANCELLED
from tinker_nb.server.engine.work import Done, Failed, LiveWeights, SampleMany, SavedWeights


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with staged(monkeypatch) as stage:
        yield stage


def test_sequences_come_and_go(stage: Stage) -> None:
    for job in (draw("long", tokens=9), draw("short", tokens=2), draw("many", tokens=5, samples=6)):
        stage.engine.submit(job)
    stage.engine.submit(draw("late", tokens=1))
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(4)
    # Eight rows are there at once: "late" begins when a place is free, not when all are done.
    assert list(stage.heard.outcomes) == ["short", "late", "many", "long"]


def test_lanes_of_drawing_take_turns(stage: Stage) -> None:
    for name in ("x0", "x1", "x2", "y0"):
        stage.engine.submit(draw(name, name[0], samples=8))
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(4)
    assert list(stage.heard.outcomes) == ["x0", "y0", "x1", "x2"]


def test_weights_in_training_draw_in_the_models_order(stage: Stage) -> None:
    live = draw("live", "m", weights=LiveWeights("m"), tokens=50)
    for job in (step("a0"), live, step("a1"), draw("free", "m")):
        stage.engine.submit(job)
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(4)
    finds = [word for word in stage.scripted.log if word.startswith(("train", "find"))]
    assert finds == ["train m", "find None", "find m", "train m"]
    assert list(stage.heard.outcomes)[-1] == "live"


def test_several_prompts_are_one_job(stage: Stage) -> None:
    many = draw("many", prompts=(4, 2, 3), tokens=2)
    assert isinstance(many.work, SampleMany)
    stage.engine.submit(many)
    stage.engine.submit(draw("one", prompts=(5,)))
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(2)
    assert stage.heard.outcomes == {
        "one": Done("drew 5"),
        "many": Done(["drew 4", "drew 2", "drew 3"]),
    }


def test_weights_that_are_not_there_fail_their_request_only(stage: Stage) -> None:
    gone = SavedWeights(Path("gone"))
    for job in (draw("lost", weights=gone), draw("lost too", weights=gone), draw("fine")):
        stage.engine.submit(job)
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(3)
    assert (
        stage.heard.outcomes["lost"]
        == stage.heard.outcomes["lost too"]
        == Failed("it is gone", "user")
    )
    assert stage.heard.outcomes["fine"] == Done("drew 1")


@pytest.mark.parametrize("cause", [ZeroDivisionError("secret"), InvalidInputError("no good")])
def test_what_drawing_loses_fails_and_the_others_go_on(stage: Stage, cause: Exception) -> None:
    stage.scripted.drawing.broken = {4: cause}
    for job in (draw("fine"), draw("many", prompts=(3, 4), tokens=9), draw("lost", prompts=(4,))):
        stage.engine.submit(job)
    stage.scripted.open()
    stage.engine.start()
    stage.heard.wait(3)
    user = isinstance(cause, InvalidInputError)
    for name in ("many", "lost"):
        failed = stage.heard.outcomes[name]
        assert isinstance(failed, Failed)
        assert failed.category == ("user" if user else "server")
        assert ("no good" in failed.message) == user
        assert "secret" not in failed.message
    assert stage.heard.outcomes["fine"] == Done("drew 1")
    assert stage.scripted.drawing.rows == 0


def test_cancel_what_is_drawn(stage: Stage) -> None:
    jobs = [draw("goes", prompts=(2, 3), tokens=999), draw("stays", tokens=20)]
    for job in jobs:
        stage.engine.submit(job)
    stage.engine.start()
    assert stage.scripted.working.wait(10)
    stage.engine.cancel(jobs[0])
    stage.engine.cancel(jobs[0])
    stage.scripted.open()
    stage.heard.wait(2)
    assert stage.heard.outcomes == {"goes": CANCELLED, "stays": Done("drew 1")}
    assert stage.scripted.drawing.rows == 0


def test_cancel_at_the_last_token_comes_too_late(stage: Stage) -> None:
    job = draw("done", tokens=1)
    stage.engine.submit(job)
    stage.engine.start()
    assert stage.scripted.working.wait(10)
    stage.engine.cancel(job)
    stage.scripted.open()
    stage.heard.wait(1)
    stage.engine.submit(step("next"))
    stage.heard.wait(2)
    assert stage.heard.told == ["done", "next"]
    assert stage.heard.outcomes["done"] == Done("drew 1")
