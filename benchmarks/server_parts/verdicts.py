"""What the figures of each part say: pure functions from results to lines of a table."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.client_parts.lines import Goal, Pick, alone, line
from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import PACKAGES, Results
from benchmarks.server_parts.beside import BARE, SERVED, SIDES
from benchmarks.workload import NEW_TOKENS, PROMPTS

ONE_BY_ONE, AT_ONCE = FORMS = ("one by one", "at once")
SKYRL, OURS = FAMILIES = ("SkyRL", "tinker_nb")
Lines = list[tuple[str, ...]]
_TOKENS = "tokens/s"


def heads(theirs: str, ours: str = "server") -> tuple[str, ...]:
    """Return a table's heads."""
    return "Measure", theirs, ours, "Pair by pair", "Goal", "Met?"


def figure(name: str) -> Pick:
    """Return what takes one figure out of a run's."""
    return lambda run: run[name]


def at_least(limit: float) -> Goal:
    """Return the goal of being so many times as fast."""
    return Goal(f">= {limit:g}x", limit, at_least=True)


def at_most(limit: float, unit: str) -> Goal:
    """Return the goal of a figure of ours alone."""
    return Goal(f"<= {limit:g} {unit}", limit, of_ratio=False)


def of_training(results: Results) -> Lines:
    """Judge training with whole batches."""
    what = "8 conversations of 64 tokens in one request, then a step"
    return [line(what, results, figure("rate"), _TOKENS, at_least(1.0), SIDES)]


def of_coalescing(results: Results) -> Lines:
    """Judge training with a request for each conversation."""
    what = "8 requests of one conversation of 64 tokens, then a step"
    return [line(what, results, figure("rate"), _TOKENS, at_least(2.5), SIDES)]


def of_together(runs: Sequence[Figures], where: str, goal: Goal | None) -> tuple[str, ...]:
    """Judge five calls at once against the same one by one, of one client."""
    forms = {form: [{"rate": run[form]} for run in runs] for form in FORMS}
    return line(where, forms, figure("rate"), "calls/s", goal, FORMS)


def of_sampling(results: Results) -> Lines:
    """Judge drawing for one prompt, and for many."""
    many = f"{PROMPTS} prompts, {NEW_TOKENS} new tokens each, as {PROMPTS} requests"
    single = _crossed(results, "one", "many")
    batched = _crossed(results, "many", "many")
    one = f"one prompt, {NEW_TOKENS} new tokens"
    return [
        line(one, _crossed(results, "one", "one"), figure("rate"), _TOKENS, at_least(1.0), SIDES),
        line(f"{many}; beside one prompt", single, figure("rate"), _TOKENS, at_least(8.0), SIDES),
        line(f"{many}; beside one batch", batched, figure("rate"), _TOKENS, None, SIDES),
    ]


def _crossed(results: Results, theirs: str, ours: str) -> Results:
    """Return one figure of theirs beside another of ours."""
    return {
        side: [{"rate": run[name]} for run in results[side]]
        for side, name in ((BARE, theirs), (SERVED, ours))
    }


def of_overhead(results: Results) -> Lines:
    """Judge what the server adds to computing, and to a result that is there."""
    pairs = zip(results[BARE], results[SERVED], strict=True)
    added = [served["wall"] - bare["compute"] for bare, served in pairs]

    def told(name: str) -> list[float]:
        return [run[name] for run in results[SERVED]]

    walls = {BARE: [{"ms": run["compute"]} for run in results[BARE]]}
    walls[SERVED] = [{"ms": run["wall"]} for run in results[SERVED]]
    five = Goal("< 5 ms", 5.0, of_ratio=False)
    return [
        line(
            "forward_backward of 1 x 64: submit to result", walls, figure("ms"), "ms", None, SIDES
        ),
        alone("the same, what the server adds", added, "ms", five),
        alone("the same, submit to acceptance", told("accepted"), "ms"),
        alone("the same, recorded to answered", told("late"), "ms", five),
        alone("forward of 1 token: recorded to answered, p50", told("quick"), "ms", five),
        alone("forward of 1 token: recorded to answered, p99", told("slowest"), "ms"),
        alone("forward of 1 token: submit to result", told("quick_wall"), "ms"),
    ]


def of_start(results: Results) -> Lines:
    """Judge the start, and what the process holds after a step and a sample."""
    cold, held = at_most(6.0, "s"), at_most(900.0, "MB")
    return [
        line(
            "spawn to first answer, files not in memory", results, figure("cold"), "s", cold, SIDES
        ),
        line("spawn to first answer, files in memory", results, figure("warm"), "s", None, SIDES),
        line("RSS after a step and a sample", results, figure("held"), "MB", held, SIDES),
    ]


def of_skyrl(results: Results) -> Lines:
    """Judge both servers, driven by our client."""
    five, ahead = "5 x (forward_backward of 1 x 64, optim_step)", Goal("> 1x", 1.0, at_least=True)
    many = f"{PROMPTS} prompts, {NEW_TOKENS} new tokens each, as {PROMPTS} requests"

    def rate(run: Figures) -> float:
        return 1 / run["seconds"]

    return [
        line(f"{five}, all at once", results, rate, "times/s", at_least(3.0), FAMILIES),
        line("the same: wall", results, figure("seconds"), "s", None, FAMILIES),
        line(many, results, figure("drawn"), _TOKENS, ahead, FAMILIES),
    ]


def of_packages(results: Results, where: str, goal: Goal) -> Lines:
    """Judge our client's five calls; the official SDK's are told beside."""
    official, ours = PACKAGES
    return [
        of_together(results[ours], f"{where}, {ours}", goal),
        of_together(results[official], f"{where}, {official}", None),
    ]
