"""The topics: which loads belong together, and what is read from their figures."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.client_parts.imports import of_start
from benchmarks.client_parts.lines import HEAD, Goal, Pick, line, spread, table
from benchmarks.client_parts.measure import (
    CALLS,
    DATUMS,
    FINISHED,
    IN_FLIGHT,
    LENGTH,
    SAMPLES,
    TOKENS,
    Figures,
)
from benchmarks.client_parts.runs import Load, Results, Tell, against_stub, in_turns, of_load

_DELAY = 0.5
_STEADY = ("--sample-delay", "1", "--sample-spread", "1")
_AT_ONCE = ("--sample-delay", "0.5", "--sample-tick", "0.5")
_NO_DELAY = ("--sample-delay", "0.01")
_TRANSPORTS = {
    "httpx_pools": "httpx, own transport, pools of 50",
    "httpx_aiohttp_client": "httpx client over httpx-aiohttp",
    "httpx_aiohttp_direct": "httpx-aiohttp transport, no httpx client",
    "aiohttp_alone": "aiohttp alone",
}

Lines = list[tuple[str, ...]]


def _figure(name: str) -> Pick:
    return lambda run: run[name]


def _net_rate(run: Figures) -> float:
    return SAMPLES / (run["wall"] - _DELAY)


def _cpu_of_sample(run: Figures) -> float:
    return 1000 * run["cpu"] / SAMPLES


def _rate_of_calls(run: Figures) -> float:
    return CALLS / run["wall"]


def samples(runs: int, tell: Tell) -> str:
    """Return the table of a thousand samples at once, as a script and as a notebook does it."""
    load = Load("samples", ("--sample-delay", str(_DELAY)))
    lines = _of_samples(f"{SAMPLES:,} futures of {TOKENS} tokens", of_load(load, runs, tell))
    together = of_load(Load("samples_async", load.options), runs, tell)
    return table(HEAD, [*lines, *_of_samples("the same, awaited on one loop", together)])


def _of_samples(what: str, results: Results) -> Lines:
    rate = Goal(">= 2.5x", 2.5, at_least=True)
    return [
        line(f"{what}: throughput net of the delay", results, _net_rate, "/s", rate),
        line(f"{what}: CPU per future", results, _cpu_of_sample, "ms", Goal("<= 0.3x", 0.3)),
        line(f"{what}: wall", results, _figure("wall"), "s"),
        line(f"{what}: CPU of the stub", results, _figure("stub_cpu"), "s"),
    ]


def training(runs: int, tell: Tell) -> str:
    """Return the table of forward_backward calls."""
    results = of_load(Load("training"), runs, tell)
    what = f"{CALLS} forward_backward of {DATUMS} x {LENGTH} tokens"
    rate = Goal(">= 2x", 2.0, at_least=True)
    return table(
        HEAD,
        [
            line(f"{what}: encode, submit, decode", results, _rate_of_calls, "calls/s", rate),
            line(f"{what}: wall", results, _figure("wall"), "s"),
            line(f"{what}: CPU", results, _figure("cpu"), "s"),
            line("making their datums beforehand: wall", results, _figure("making"), "s"),
            line("CPU of the stub", results, _figure("stub_cpu"), "s"),
        ],
    )


def wakeups(runs: int, tell: Tell) -> str:
    """Return the table of the time from the stub's completion to the awaiter's wake-up."""
    steady = of_load(Load("wakeups", _STEADY), runs, tell)
    bursts = of_load(Load("bursts", _AT_ONCE), runs, tell)
    what = f"completion to wake-up, {IN_FLIGHT} in flight"
    fast, slow = Goal("< 5 ms", 5, of_ratio=False), Goal("< 25 ms", 25, of_ratio=False)
    return table(
        HEAD,
        [
            line(f"{what}, about {IN_FLIGHT} a second: p50", steady, _figure("p50"), "ms", fast),
            line(f"{what}, about {IN_FLIGHT} a second: p99", steady, _figure("p99"), "ms", slow),
            line(f"{what}, all done at once: p50", bursts, _figure("p50"), "ms"),
            line(f"{what}, all done at once: p99", bursts, _figure("p99"), "ms"),
        ],
    )


def memory(runs: int, tell: Tell) -> str:
    """Return the table of what finished futures leave behind."""
    results = of_load(Load("memory", _NO_DELAY), runs, tell)
    what, goal = (
        f"RSS growth per {FINISHED:,} finished futures",
        Goal("< 20 MB", 20, of_ratio=False),
    )
    return table(
        HEAD,
        [
            line(f"{what}, dropped", results, _figure("dropped"), "MB", goal),
            line(f"{what}, kept with their results", results, _figure("kept"), "MB"),
        ],
    )


def start(runs: int, tell: Tell) -> str:
    """Return the table of import times."""
    results = of_start(runs, tell)
    names = "`ServiceClient`, `TrainingClient`, `SamplingClient`, `types.Datum`"
    half = Goal("<= 0.5x", 0.5)
    return table(
        HEAD,
        [
            line("`import` of the package", results, _figure("bare"), "s", half),
            line(f"`import`, then touching {names}", results, _figure("touched"), "s"),
            line("`import` to the first sample's result", results, _figure("first"), "s"),
        ],
    )


def transports(runs: int, tell: Tell) -> str:
    """Return the table of bare transports under the load of `samples`."""

    def measure(name: str) -> Figures:
        return against_stub("transports", [name], ("--sample-delay", str(_DELAY)))

    results = in_turns(tuple(_TRANSPORTS), runs, measure, lambda said: tell(f"transports: {said}"))
    lines = [
        (text, *(spread([run[key] for run in results[name]], "s") for key in ("wall", "cpu")))
        for name, text in _TRANSPORTS.items()
    ]
    return table((f"{SAMPLES:,} samples over", "Wall", "CPU"), lines)


TOPICS: dict[str, Callable[[int, Tell], str]] = {
    topic.__name__: topic for topic in (samples, training, wakeups, memory, start, transports)
}
