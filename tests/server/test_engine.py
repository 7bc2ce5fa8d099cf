"""The engine's promises, with a workshop that only remembers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.engine.engine import Engine
from tinker_nb.server.engine.work import (
    Done,
    Failed,
    Job,
    OptimStep,
    Outcome,
    Sample,
    SavedWeights,
    Work,
)
from tinker_nb.wire.params import AdamParams, SamplingParams


class Scripted:
    """A workshop: holds at a gate, then does, or raises, as the learning rate says."""

    def __init__(self) -> None:
        self.done: list[Any] = []
        self.gate = threading.Event()
        self.checkpoint: Any = lambda: None

    def do(self, work: Work) -> Any:
        assert self.gate.wait(10)
        self.checkpoint()
        self.done.append(work)
        if isinstance(work, OptimStep) and work.params.learning_rate == 7:
            raise InvalidInputError("seven is no good")
        if isinstance(work, OptimStep) and work.params.learning_rate == 8:
            raise ZeroDivisionError("secret detail")
        return "did it"

    def sample(self, requests: list[Sample]) -> list[Any]:
        assert self.gate.wait(10)
        self.done.append(requests)
        return [f"drew {len(request.prompt)}" for request in requests]


class Heard:
    """A listener that lets the test wait for an end."""

    def __init__(self) -> None:
        self.running: dict[str, threading.Event] = {}
        self.outcomes: dict[str, Outcome] = {}
        self._news = threading.Condition()

    def started(self, request_id: str) -> None:
        with self._news:
            self.running[request_id] = threading.Event()
            self._news.notify_all()

    def finished(self, request_id: str, outcome: Outcome) -> None:
        with self._news:
            self.outcomes[request_id] = outcome
            self._news.notify_all()

    def wait(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.outcomes) >= count, 10)

    def wait_running(self, request_id: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: request_id in self.running, 10)


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def engine(scripted: Scripted, heard: Heard) -> Iterator[Engine]:
    engine = Engine(scripted, heard, batch_rows=8)
    scripted.checkpoint = engine.checkpoint
    engine.start()
    yield engine
    scripted.gate.set()
    assert engine.stop(10)


def step(name: str, lane: str, rate: float = 1.0) -> Job:
    return Job(name, lane, OptimStep(lane, AdamParams(learning_rate=rate)))


def draw(name: str, lane: str, prompt: int, samples: int = 1, weights: Any = None) -> Job:
    work = Sample(weights, np.zeros(prompt, dtype=np.int64), SamplingParams(), samples)
    return Job(name, lane, work)


def test_order_within_and_between_lanes(engine: Engine, scripted: Scripted, heard: Heard) -> None:
    jobs = [step("a0", "a"), step("a1", "a"), step("a2", "a"), step("b0", "b"), step("b1", "b")]
    engine.submit(jobs[0])
    heard.wait_running("a0")
    for job in jobs[1:]:
        engine.submit(job)
    scripted.gate.set()
    heard.wait(5)
    assert list(heard.outcomes) == ["a0", "a1", "b0", "a2", "b1"]


def test_failures_tell_whose_fault_and_the_engine_goes_on(
    engine: Engine, scripted: Scripted, heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    scripted.gate.set()
    with caplog.at_level(logging.ERROR):
        for job in (step("user", "a", 7), step("server", "a", 8), step("fine", "a")):
            engine.submit(job)
        heard.wait(3)
    assert heard.outcomes["user"] == Failed("seven is no good", "user")
    failed = heard.outcomes["server"]
    assert isinstance(failed, Failed)
    assert failed.category == "server"
    assert "secret" not in failed.message
    assert "submit it again" in failed.message
    assert heard.outcomes["fine"] == Done("did it")
    assert "ZeroDivisionError" in caplog.text


def test_waiting_samples_of_the_same_weights_go_together(
    engine: Engine, scripted: Scripted, heard: Heard
) -> None:
    engine.submit(step("first", "x"))
    heard.wait_running("first")
    for job in (draw("s1", "x", 1, 4), draw("s2", "x", 2, 4), draw("s3", "x", 3)):
        engine.submit(job)
    engine.submit(draw("s4", "x", 4, weights=SavedWeights(Path("other"))))
    scripted.gate.set()
    heard.wait(5)
    # s3 would make nine rows, and the limit is eight; s4 draws from other weights.
    assert [len(entry) if isinstance(entry, list) else 1 for entry in scripted.done] == [1, 2, 1, 1]
    assert heard.outcomes["s2"] == Done("drew 2")


def test_view_counts_what_goes_before(engine: Engine, scripted: Scripted, heard: Heard) -> None:
    jobs = [step("a0", "a"), step("a1", "a"), step("a2", "a"), step("b0", "b")]
    engine.submit(jobs[0])
    heard.wait_running("a0")
    for job in jobs[1:]:
        engine.submit(job)
    views = [engine.view(job) for job in jobs]
    assert [(view.state, view.place) for view in views if view] == [
        ("running", 0),
        ("queued", 1),
        ("queued", 2),
        ("queued", 0),
    ]
    scripted.gate.set()
    heard.wait(4)
    assert engine.view(jobs[0]) is None


def test_eta_comes_once_speeds_are_known(engine: Engine, scripted: Scripted, heard: Heard) -> None:
    scripted.gate.set()
    engine.submit(step("warm", "a"))
    heard.wait(1)
    scripted.gate.clear()
    jobs = [step("a0", "a"), step("a1", "a"), step("a2", "a")]
    for job in jobs:
        engine.submit(job)
    heard.wait_running("a0")
    etas = [view.eta_seconds for job in jobs[1:] if (view := engine.view(job))]
    assert all(eta is not None for eta in etas)
    assert etas == sorted(etas, key=lambda eta: eta or 0.0)


def test_stop_gives_up_the_job_in_hand_without_news(scripted: Scripted, heard: Heard) -> None:
    engine = Engine(scripted, heard)
    scripted.checkpoint = engine.checkpoint
    engine.start()
    engine.submit(step("held", "a"))
    engine.submit(step("never", "a"))
    heard.wait_running("held")
    assert not engine.stop(0.01)
    scripted.gate.set()
    assert engine.stop(10)
    assert heard.outcomes == {}
    assert scripted.done == []
