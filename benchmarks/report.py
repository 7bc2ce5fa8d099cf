"""Rows, figures and the Markdown table."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tinker_nb import __version__

_HEAD = ("Measure", "Result", "Details", "Goal", "Met?")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Parameters
    ----------
    measure
        What was measured.
    result
        The figure, with its unit.
    details
        How it spreads, and what it was measured on.
    goal
        What it should be; empty where there is none.
    met
        Whether it is; ``None`` where there is no goal.
    """

    measure: str
    result: str
    details: str
    goal: str = ""
    met: bool | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        """The line's columns as text."""
        verdict = {True: "pass", False: "**miss**", None: ""}[self.met]
        return self.measure, self.result, self.details, self.goal, verdict


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values does not exceed."""
    place = -(-len(values) * share // 1)  # rounded up
    return sorted(values)[max(int(place) - 1, 0)]


def spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """Return "range A to B, n runs" of some values."""
    low, high = min(values), max(values)
    return f"range {low:.{digits}f} to {high:.{digits}f} {unit}, {len(values)} runs"


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def load_now() -> str:
    """Return the machine's load averages in words."""
    return " / ".join(f"{value:.2f}" for value in os.getloadavg())


def surroundings(load_before: str) -> str:
    """Say when and on what the run was made, and whether it had the machine to itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} ({platform.machine()}), {cores} cores"
    lines = (
        f"- Date: {datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        f"- Python {platform.python_version()} on {system}, tinker-nb {__version__}",
        f"- Load average over 1 / 5 / 15 minutes: {load_before} before, {load_now()} after",
    )
    return "\n".join((*lines, *_warning(load_before, cores or 1)))


def _warning(load_before: str, cores: int) -> tuple[str, ...]:
    if float(load_before.partition(" ")[0]) < cores / 4:
        return ()
    text = "- **Other work was running on the machine when this run began**, so absolute times are"
    return (f"{text} too long; figures\n  taken side by side may be compared.",)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [_HEAD, ("---",) * len(_HEAD), *(row.cells for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
