"""How long a cell with ``%tinker_fb_async`` takes, in a real kernel without a front end."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Row, median, percentile

CALLS = 200
GOAL_MS = 50.0
LOAD_GOAL_S = 0.4

# The kernel "python3" is this environment's own.
os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")

_LOAD = """
import json, time
_began = time.perf_counter()
get_ipython().run_line_magic("load_ext", "tinker_nb")
_load_time = time.perf_counter() - _began
"""
_CONNECT = """
from tinker_nb.data import toy
batch = toy.pig_latin_conversations(8, seed=1, split="train")
_times = []
_connected = get_ipython().run_line_magic("tinker_connect", "--data-dir {directory}")
await _connected
"""
_MODEL = "await get_ipython().run_line_magic('tinker_lora', 'tiny-chat --rank 32 --seed 0')"
_STOP = "get_ipython()._tinker_nb.state.connection.server.stop()"
_CALL = """
_began = time.perf_counter()
_handle = get_ipython().run_line_magic("tinker_fb_async", "batch")
_times.append(time.perf_counter() - _began)
"""
_ANSWER = """
print(json.dumps({"load": _load_time, "inside": _times,
    "states": [h.status for h in get_ipython()._tinker_nb.state.handles]}))
"""


@dataclass(frozen=True)
class Measured:
    """Seconds of each call, seen in the kernel and from outside, and of ``%load_ext``."""

    load: float
    inside: list[float]
    outside: list[float]
    ended: int


@contextmanager
def kernel(directory: Path) -> Iterator[Any]:
    """Run a kernel with none of the user's settings; gives its blocking client."""
    from jupyter_client.manager import KernelManager

    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env={**os.environ, "IPYTHONDIR": str(directory / "ipython")})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=120)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def run_cell(client: Any, code: str) -> str:
    """Run a cell; returns what it printed, and raises when it failed."""
    printed: list[str] = []

    def hook(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    reply = client.execute_interactive(code, output_hook=hook, timeout=300)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"A cell failed: {reply['content']}")
    return "".join(printed)


def measure_cells(server_gone: bool, calls: int = CALLS) -> Measured:
    """Time many calls, one cell each, in a fresh kernel."""
    with tempfile.TemporaryDirectory() as name, kernel(Path(name)) as client:
        run_cell(client, _LOAD)
        run_cell(client, _CONNECT.format(directory=Path(name) / "server"))
        run_cell(client, _MODEL)
        if server_gone:
            run_cell(client, _STOP)
        outside = [_timed_cell(client) for _ in range(calls)]
        found = json.loads(run_cell(client, _ANSWER))
    ended = sum(state in {"done", "failed", "lost"} for state in found["states"][-calls:])
    return Measured(found["load"], found["inside"], outside, ended)


def _timed_cell(client: Any) -> float:
    began = time.perf_counter()
    run_cell(client, _CALL)
    return time.perf_counter() - began


def rows() -> list[Row]:
    """Measure with the server up, then with it gone."""
    up, gone = measure_cells(server_gone=False), measure_cells(server_gone=True)
    lines = [*_lines("server up", up), *_lines("server gone", gone)]
    return [*lines, _load_line([up.load, gone.load])]


def _lines(when: str, measured: Measured) -> list[Row]:
    calls = len(measured.inside)
    worst = 1000 * percentile(measured.inside, 0.99)
    detail = (
        f"{calls} calls, one cell each, timed in the kernel; {measured.ended} had ended by then"
    )
    goal = (f"p99 < {GOAL_MS:.0f} ms", worst < GOAL_MS)
    return [
        Row(f"`%tinker_fb_async`, {when}", _figures(measured.inside), detail, *goal),
        Row(f"the same cells, {when}", _figures(measured.outside), "sent to idle, seen outside"),
    ]


def _figures(seconds: list[float]) -> str:
    shown = (median(seconds), percentile(seconds, 0.99), max(seconds))
    p50, p99, worst = (f"{1000 * value:.1f}" for value in shown)
    return f"p50 {p50}, p99 {p99}, max {worst} ms"


def _load_line(seconds: list[float]) -> Row:
    result = " and ".join(f"{value:.2f}" for value in seconds)
    met = max(seconds) < LOAD_GOAL_S
    where = "around `%load_ext` in the two fresh kernels above"
    return Row("`%load_ext tinker_nb`, in a kernel", f"{result} s", where, "< 0.4 s", met)
