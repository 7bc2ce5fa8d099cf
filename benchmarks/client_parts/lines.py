"""Figures of both packages as lines of a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import PACKAGES, Results
from benchmarks.report import median

HEAD = ("Measure", "tinker", "tinker_nb", "Pair by pair", "Goal", "Met?")
#: Takes the figure of interest out of one run's.
Pick = Callable[[Figures], float]


@dataclass(frozen=True)
class Goal:
    """What a figure should be.

    Parameters
    ----------
    text
        The goal in words.
    limit
        The figure it must reach.
    at_least
        Whether more is better.
    of_ratio
        Whether it is about ours divided by theirs, or about ours alone.
    """

    text: str
    limit: float
    at_least: bool = False
    of_ratio: bool = True

    def verdict(self, value: float) -> str:
        """Say whether a value meets it, and else how far off that is."""
        if value >= self.limit if self.at_least else value <= self.limit:
            return "pass"
        missing = self.limit / value if self.at_least else value / self.limit
        return f"**miss** by {100 * (missing - 1):.0f} %"


def spread(values: Sequence[float], unit: str) -> str:
    """Return "median [lowest..highest] unit"."""
    middle, low, high = (_short(value) for value in (median(values), min(values), max(values)))
    return f"{middle} [{low}..{high}] {unit}".rstrip()


def _short(value: float) -> str:
    """Return a figure with three digits that count, and never as a power of ten."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def line(
    measure: str,
    results: Results,
    pick: Pick,
    unit: str,
    goal: Goal | None = None,
    pair: tuple[str, str] = PACKAGES,
) -> tuple[str, ...]:
    """Return one line: both sides, ours as a multiple of theirs, and the goal.

    Parameters
    ----------
    measure, results
        What was measured, and what it gave.
    pick, unit
        The figure of interest.
    goal
        What it should be.
    pair
        The names of their side and of ours among the results.
    """
    theirs, ours = ([pick(run) for run in results[name]] for name in pair)
    # Run by run: the two of a pair had the same moment, so what else the machine did meanwhile
    # falls out. Memory may also shrink, and then a multiple says nothing.
    ratios = [mine / other for mine, other in zip(ours, theirs, strict=True) if other > 0]
    compared = spread(ratios, "x") if ratios else ""
    shown = (measure, spread(theirs, unit), spread(ours, unit), compared)
    if goal is None:
        return *shown, "", ""
    return *shown, goal.text, goal.verdict(median(ratios if goal.of_ratio else ours))


def alone(
    measure: str, values: Sequence[float], unit: str, goal: Goal | None = None
) -> tuple[str, ...]:
    """Return one line about what only our side has."""
    told = ("", "") if goal is None else (goal.text, goal.verdict(median(values)))
    return measure, "", spread(values, unit), "", *told


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    every = [head, ("---",) * len(head), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in every)
