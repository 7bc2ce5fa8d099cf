"""The engine: a queue, one worker thread, and news of what became of each job."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.engine.schedule import Schedule
from tinker_nb.server.engine.speeds import Speeds
from tinker_nb.server.engine.work import Done, Failed, Job, Outcome, Sample, Work

_log = logging.getLogger(__name__)


class Does(Protocol):
    """What does the work; `tinker_nb.server.engine.workshop.Workshop` in earnest."""

    def do(self, work: Work) -> Any:
        """Do one piece of work and return its result."""
        ...

    def sample(self, requests: list[Sample]) -> list[Any]:
        """Draw for several requests on the same weights at once."""
        ...


class Listener(Protocol):
    """Who hears of the jobs; called on the worker thread."""

    def started(self, request_id: str) -> None:
        """Hear that a job is being done now."""
        ...

    def finished(self, request_id: str, outcome: Outcome) -> None:
        """Hear what became of a job."""
        ...


class StoppedError(Exception):
    """The engine stops; the job in hand is given up."""


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


class Engine:
    """Does jobs one at a time on a thread of its own, in the order of its schedule.

    Parameters
    ----------
    workshop
        Does the work.
    listener
        Hears of the jobs.
    batch_rows
        Most sequences drawn at once.
    """

    def __init__(self, workshop: Does, listener: Listener, *, batch_rows: int = 64) -> None:
        self._workshop = workshop
        self._listener = listener
        self._rows = batch_rows
        self._schedule: Schedule[Job] = Schedule()
        self._running: list[Job] = []
        self._since = 0.0
        self._speeds = Speeds()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="tinker-nb-engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Stop after what is in hand, or give it up; says whether the thread has ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def checkpoint(self) -> None:
        """Raise `StoppedError` when the engine stops; long work calls this now and then."""
        if self._stopping:
            raise StoppedError

    def submit(self, job: Job) -> None:
        """Put a job into the queue."""
        with self._changed:
            self._schedule.add(job.lane, job)
            self._changed.notify_all()

    def view(self, job: Job) -> QueueView | None:
        """Say where a job is; None when it is neither waiting nor being done."""
        with self._changed:
            if job in self._running:
                return QueueView("running", 0, self._remaining())
            ahead = self._schedule.ahead(job.lane, job)
            if ahead is None:
                return None
            same_lane = sum(other.lane == job.lane for other in self._running)
            return QueueView("queued", len(ahead) + same_lane, self._eta(job))

    def _eta(self, job: Job) -> float | None:
        """Foresee when a waiting job is done: what runs, what goes before it, and itself."""
        total = self._remaining() or 0.0
        for other in self._schedule:
            seconds = self._expected(other)
            if seconds is None:
                return None
            total += seconds
            if other is job:
                break
        return total

    def _remaining(self) -> float | None:
        expected = [self._expected(job) for job in self._running]
        known = [seconds for seconds in expected if seconds is not None]
        if not known or len(known) < len(expected):
            return None
        return max(0.0, sum(known) - (time.monotonic() - self._since))

    def _expected(self, job: Job) -> float | None:
        return self._speeds.expected(type(job.work).__name__, job.cost)

    def _run(self) -> None:
        _give_way()
        while jobs := self._take():
            for job in jobs:
                self._listener.started(job.request_id)
            outcomes = self._do(jobs)
            if outcomes is None:
                return
            self._finish(jobs, outcomes)

    def _take(self) -> list[Job]:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._schedule) > 0)
            self._running = [] if self._stopping else self._schedule.take(self._joins)
            self._since = time.monotonic()
            return self._running

    def _joins(self, job: Job, taken: list[Job]) -> bool:
        """Let requests to sample from the same weights go together."""
        first = taken[0].work
        if not isinstance(job.work, Sample) or not isinstance(first, Sample):
            return False
        rows = sum(other.work.num_samples for other in taken if isinstance(other.work, Sample))
        return job.work.weights == first.weights and rows + job.work.num_samples <= self._rows

    def _finish(self, jobs: list[Job], outcomes: list[Outcome]) -> None:
        seconds = time.monotonic() - self._since
        kind, cost = type(jobs[0].work).__name__, sum(job.cost for job in jobs)
        with self._changed:
            self._speeds.observe(kind, cost, seconds)
            self._running = []
        for job, outcome in zip(jobs, outcomes, strict=True):
            self._listener.finished(job.request_id, outcome)

    def _do(self, jobs: list[Job]) -> list[Outcome] | None:
        """Do jobs that were taken together; None when the engine stops meanwhile."""
        try:
            return [Done(result) for result in self._results(jobs)]
        except StoppedError:
            return None
        except InvalidInputError as error:
            return [Failed(error.message, "user")] * len(jobs)
        except Exception as error:  # the server must outlive whatever the work does
            _log.exception("%s failed", type(jobs[0].work).__name__)
            words = f"The server failed on this request ({type(error).__name__}); submit it again."
            return [Failed(words, "server")] * len(jobs)

    def _results(self, jobs: list[Job]) -> list[Any]:
        if len(jobs) == 1:
            return [self._workshop.do(jobs[0].work)]
        return self._workshop.sample([job.work for job in jobs if isinstance(job.work, Sample)])


def _give_way() -> None:
    """Let computing give way to answering, and to the notebook on the same cores.

    On Linux the priority is the calling thread's own, and torch's threads take it over from it.
    """
    if sys.platform == "linux":
        os.nice(5)
