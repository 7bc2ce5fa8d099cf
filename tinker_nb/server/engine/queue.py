"""What waits for the engine and what it is at. No threads: the engine locks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tinker_nb.server.engine.bursts import Bursts
from tinker_nb.server.engine.schedule import Schedule
from tinker_nb.server.engine.speeds import Speeds
from tinker_nb.server.engine.work import (
    ForwardBackward,
    Job,
    LiveWeights,
    RemoveAdapter,
    Sample,
    SampleMany,
)

_STEP = "Draw"  # the kind under which drawing is measured: a sequence's next token


@dataclass(frozen=True)
class QueueView:
    """Where an unfinished job is.

    Parameters
    ----------
    state
        ``queued`` or ``running``.
    place
        Jobs of its lane that go before it.
    eta_seconds
        Foreseen seconds until its result, as far as speeds are known.
    """

    state: Literal["queued", "running"]
    place: int
    eta_seconds: float | None


class Queue:
    """The jobs that are not done: those that train, in the order of their models, and the others.

    A request to draw from a model in training waits among that model's training: it draws from
    what was asked for before it.
    """

    def __init__(self, speeds: Speeds) -> None:
        self._speeds = speeds
        self._training: Schedule[Job] = Schedule()
        self._waiting: Schedule[Job] = Schedule()
        self._trained: list[Job] = []
        self._since = 0.0
        self._cancelled: list[Job] = []
        self._bursts = Bursts()
        self._leaving: list[Job] = []  # cancelled while they are drawn
        self._drawn: list[Job] = []

    @property
    def busy(self) -> bool:
        """Whether there is anything to begin with."""
        waiting = len(self._training) + len(self._waiting)
        return bool(waiting or self._cancelled or self._leaving)

    @property
    def in_hand(self) -> list[Job]:
        """The jobs that are being done."""
        return [*self._trained, *self._drawn]

    def add(self, job: Job) -> None:
        """Put a job at the end of its lane."""
        if isinstance(job.work, ForwardBackward):
            at_it = any(other.lane == job.lane for other in self._trained)
            alone = not at_it and not self._training.waits(job.lane)
            self._bursts.came(job.lane, time.monotonic(), alone=alone)
        elif isinstance(job.work, RemoveAdapter):
            self._bursts.forget(job.lane)
        self._schedule(job).add(job.lane, job)

    def hold(self, now: float) -> float:
        """Return for how many seconds it is worth to wait for more before training begins."""
        if self._cancelled or len(self._waiting):
            return 0.0
        found = self._training.only()
        if found is None or not all(isinstance(job.work, ForwardBackward) for job in found[1]):
            return 0.0
        return self._bursts.hold(found[0], now)

    def cancel(self, job: Job) -> None:
        """Take a job out where it waits; it is given up at the engine's next turn."""
        if self._schedule(job).remove(job.lane, job):
            self._cancelled.append(job)
        elif job in self._drawn and job not in self._leaving:
            self._leaving.append(job)

    def take_training(self, joins: Callable[[Job, list[Job]], bool]) -> list[Job]:
        """Take the jobs to be trained next."""
        taken = self._training.take(joins)
        if taken and _kind(taken[0]) == _STEP:
            self._drawn = [*self._drawn, *taken]
        else:
            self._trained, self._since = taken, time.monotonic()
        return taken

    def take_drawing(self) -> Job | None:
        """Take the next request to draw."""
        taken = self._waiting.take()
        self._drawn = [*self._drawn, *taken]
        return taken[0] if taken else None

    def take_cancelled(self) -> list[Job]:
        """Take the jobs that are to be given up; not those whose last token has come since."""
        cancelled = [*self._cancelled, *(job for job in self._leaving if job in self._drawn)]
        self._cancelled, self._leaving = [], []
        return cancelled

    def draw(self, jobs: list[Job]) -> None:
        """Hear which jobs are being drawn now."""
        self._drawn, self._trained = jobs, []

    def observe(self, jobs: list[Job], seconds: float) -> None:
        """Learn how long jobs took that were trained together."""
        self._speeds.observe(_kind(jobs[0]), sum(job.cost for job in jobs), seconds)
        self._trained = []

    def observe_step(self, rows: int, seconds: float) -> None:
        """Learn how long a token of every sequence took."""
        self._speeds.observe(_STEP, rows, seconds)

    def view(self, job: Job) -> QueueView | None:
        """Say where a job is."""
        if job in self._trained:
            return QueueView("running", 0, self._remaining())
        if job in self._drawn:
            return QueueView("running", 0, self._expected([job]))
        schedule = self._schedule(job)
        ahead = schedule.ahead(job.lane, job)
        if ahead is None:
            return None
        now = sum(other.lane == job.lane for other in self._trained)
        return QueueView("queued", len(ahead) + now, self._eta(schedule, job))

    def views(self) -> dict[str, QueueView]:
        """Say where every job is, by request id; in one pass, for there may be thousands."""
        found: dict[str, QueueView | None] = {
            job.request_id: self.view(job) for job in self.in_hand
        }
        for schedule in (self._training, self._waiting):
            found |= self._queued(schedule)
        return {request_id: view for request_id, view in found.items() if view is not None}

    def _queued(self, schedule: Schedule[Job]) -> dict[str, QueueView]:
        ahead = Counter(job.lane for job in self._trained)
        total = self._eta_before(schedule)
        found = {}
        for job in schedule:
            seconds = self._expected([job])
            total = None if total is None or seconds is None else total + seconds
            found[job.request_id] = QueueView("queued", ahead[job.lane], total)
            ahead[job.lane] += 1
        return found

    def _schedule(self, job: Job) -> Schedule[Job]:
        return self._waiting if _draws_freely(job) else self._training

    def _eta(self, schedule: Schedule[Job], job: Job) -> float | None:
        """Foresee when a waiting job is done: what runs, what goes before it, and itself."""
        before = []
        for other in schedule:
            before.append(other)
            if other is job:
                break
        waiting, running = self._expected(before), self._eta_before(schedule)
        return None if waiting is None or running is None else waiting + running

    def _eta_before(self, schedule: Schedule[Job]) -> float | None:
        """Foresee when what runs has made room for the first that waits."""
        drawn = self._expected(self._drawn) if schedule is self._waiting else 0.0
        running = self._remaining() if self._trained else 0.0
        return None if drawn is None or running is None else drawn + running

    def _remaining(self) -> float | None:
        expected = self._expected(self._trained)
        return None if expected is None else max(0.0, expected - (time.monotonic() - self._since))

    def _expected(self, jobs: list[Job]) -> float | None:
        expected = [self._speeds.expected(_kind(job), job.cost) for job in jobs]
        known = [seconds for seconds in expected if seconds is not None]
        return sum(known) if len(known) == len(expected) else None


def _kind(job: Job) -> str:
    return _STEP if isinstance(job.work, Sample | SampleMany) else type(job.work).__name__


def _draws_freely(job: Job) -> bool:
    work = job.work
    if isinstance(work, Sample):
        return not isinstance(work.weights, LiveWeights)
    if isinstance(work, SampleMany):
        return not any(isinstance(one.weights, LiveWeights) for one in work.requests)
    return False
