"""The two sides of a comparison: a process without a server that waits for tasks, and a server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import Results, Tell, environment, in_turns
from benchmarks.client_parts.stub import ROOT

BARE, SERVED = SIDES = ("bare", "server")
_VARIABLES = {
    # How its threads wait is read when torch is loaded; the server sets the same for itself.
    "GOMP_SPINCOUNT": "10000",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONWARNINGS": "ignore",
}


class Peer:
    """The process without a server. Made by `running_peer`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def do(self, task: str) -> Figures:
        """Let it do one of the tasks of `benchmarks.server_parts.peer`; returns its figures."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            raise RuntimeError(f"The process without a server ended during {task!r}.")
        figures: Figures = json.loads(said)
        return figures


@contextmanager
def running_peer() -> Iterator[Peer]:
    """Run the process without a server; while it has no task it sleeps."""
    command = [sys.executable, "-m", "benchmarks.server_parts.peer"]
    around, pipe = {**environment(), **_VARIABLES}, subprocess.PIPE
    with subprocess.Popen(
        command, cwd=ROOT, env=around, stdin=pipe, stdout=pipe, text=True
    ) as process:
        assert process.stdin is not None
        try:
            yield Peer(process)
        finally:
            process.stdin.close()  # it ends when this does


def side_by_side(
    what: str, runs: int, tell: Tell, sides: Mapping[str, Callable[[], Figures]]
) -> Results:
    """Return what each side gives, one run of each after the other."""
    return in_turns(
        tuple(sides), runs, lambda side: sides[side](), lambda said: tell(f"{what}: {said}")
    )
