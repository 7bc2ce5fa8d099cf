"""Runs: each in a fresh process, against a fresh stub, the packages in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.stub import ROOT, cpu_of_stub, running_stub

OFFICIAL, OURS = PACKAGES = ("tinker", "tinker_nb")
_TIMEOUT = 600
#: What each measured thing gave, run by run.
Results = dict[str, list[Figures]]
#: Hears what is being measured.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Load:
    """What is measured, and how the stub behaves meanwhile.

    Parameters
    ----------
    name
        Its name in `benchmarks.client_parts.measure`.
    options
        The stub's command line.
    """

    name: str
    options: tuple[str, ...] = ()


def environment() -> dict[str, str]:
    """Return the environment of the measured processes."""
    return {**os.environ, "TINKER_TELEMETRY": "0", "TINKER_API_KEY": "tml-test"}


def output(command: list[str], **variables: str) -> str:
    """Return what a Python process prints; its complaints show only when it fails.

    Parameters
    ----------
    command
        The arguments of Python.
    **variables
        More of its environment, such as a key, which everybody could read in the command.
    """
    whole = [sys.executable, *command]
    around = {**environment(), **variables}
    ended = subprocess.run(
        whole, cwd=ROOT, env=around, capture_output=True, text=True, timeout=_TIMEOUT
    )
    if ended.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{ended.stderr[-3000:]}")
    return ended.stdout


def against_stub(module: str, arguments: list[str], options: tuple[str, ...]) -> Figures:
    """Return the figures of one run of a module that takes the stub's URL last."""
    with running_stub(*options) as url:
        before = cpu_of_stub(url)  # its own start
        printed = output(["-m", f"benchmarks.client_parts.{module}", *arguments, url])
        figures: Figures = json.loads(printed)
        return {**figures, "stub_cpu": cpu_of_stub(url) - before}


def in_turns(
    names: tuple[str, ...], runs: int, measure: Callable[[str], Figures], tell: Tell
) -> Results:
    """Return what a measurement gives for each name, one run of each after the other."""
    results: Results = {name: [] for name in names}
    for number in range(runs):
        for name in names:
            tell(f"{name}, run {number + 1} of {runs}")
            results[name].append(measure(name))
    return results


def of_load(load: Load, runs: int, tell: Tell) -> Results:
    """Return what both packages give under a load."""

    def measure(package: str) -> Figures:
        return against_stub("measure", [load.name, package], load.options)

    return in_turns(PACKAGES, runs, measure, lambda said: tell(f"{load.name}: {said}"))
