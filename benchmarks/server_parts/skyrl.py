"""SkyRL's Tinker server with its JAX backend, on the same model and driven by the same client."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks.client_parts.lines import table
from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import Tell
from benchmarks.report import median
from benchmarks.server_parts.beside import side_by_side
from benchmarks.server_parts.sampling import many_speed
from benchmarks.server_parts.verdicts import OURS, SKYRL, heads, of_skyrl
from benchmarks.serving import client_of, running_server
from benchmarks.training import PARAMS, make_data
from benchmarks.workload import PROMPTS, RANK
from tinker_nb import Datum, SamplingClient, ServiceClient, TrainingClient
from tinker_nb.server.tiny_chat import MODEL_DIR

_STEPS, _TIMES = 5, 3
_START = 240.0
#: Kind to it: with its defaults each number of prompts is compiled anew, which takes a minute, and
#: every call computes with room for 32 adapters, which makes it some six times slower.
_BACKEND = {"sample_max_num_sequences": PROMPTS, "max_lora_adapters": 4}
_ABSENT = "Not measured: there is no SkyRL here; give its Python with --skyrl-python."
#: Its server wants to be started by ``uv run`` and starts its engine so; here that is the Python of
#: its own environment. Not `exec`: the server looks for ``run -m`` in its parent's command line.
_UV = '#!/bin/sh\nwhile [ "$1" != "-m" ]; do shift; done\n{python} "$@"\nexit $?\n'


class Driven:
    """A model and a sampler of a server.

    Parameters
    ----------
    service
        Our client of it.
    model
        The base model's name there.
    """

    def __init__(self, service: ServiceClient, model: str) -> None:
        self._data = make_data()[:1]
        self._training: TrainingClient
        self._training = service.create_lora_training_client(model, rank=RANK, seed=0)
        self._sampler: SamplingClient = service.create_sampling_client(base_model=model)

    def figures(self) -> Figures:
        """Measure once; each load comes once before the clock starts."""
        five_steps(self._training, self._data)
        seconds = [five_steps(self._training, self._data) for _ in range(_TIMES)]
        return {"seconds": median(seconds), "drawn": many_speed(self._sampler, _TIMES)}


def five_steps(training: TrainingClient, data: list[Datum]) -> float:
    """Return the seconds for five steps, all submitted before the first is waited for."""
    began, sent = time.perf_counter(), list[Any]()
    for _ in range(_STEPS):
        sent += [training.forward_backward(data, "cross_entropy"), training.optim_step(PARAMS)]
    for future in sent:
        future.result()
    return time.perf_counter() - began


def skyrl(runs: int, tell: Tell, python: str | None) -> str:
    """Return the table of both servers, or say that one is missing."""
    if python is None:
        return _ABSENT
    tell("skyrl: starting")
    with (
        running_skyrl(Path(python)) as url,
        ServiceClient(base_url=url, api_key="tml-test") as theirs,
        running_server() as server,
        client_of(server) as ours,
    ):
        other, mine = Driven(theirs, str(MODEL_DIR)), Driven(ours, "tiny-chat")
        other.figures()  # compiles what it computes
        sides = {SKYRL: other.figures, OURS: mine.figures}
        results = side_by_side("skyrl", runs, tell, sides)
    return table(heads(SKYRL, OURS), of_skyrl(results))


@contextmanager
def running_skyrl(python: Path) -> Iterator[str]:
    """Run SkyRL's server with its own Python; gives its URL."""
    with tempfile.TemporaryDirectory() as name, _free_port() as port:
        folder = Path(name)
        with (folder / "log").open("w") as log:
            process = _spawn(python.absolute(), folder, port, log)
            try:
                url = f"http://127.0.0.1:{port}"
                _await_ready(process, url, folder / "log")
                yield url
            finally:
                # Its engine is a process of its own, in the same group.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _spawn(python: Path, folder: Path, port: int, log: Any) -> subprocess.Popen[bytes]:
    shim = folder / "uv"
    shim.write_text(_UV.format(python=shlex.quote(str(python))), encoding="utf-8")
    shim.chmod(0o755)
    command = [
        *(str(shim), "run", "-m", "skyrl.tinker.api", "--backend", "jax"),
        *("--base-model", str(MODEL_DIR), "--host", "127.0.0.1", "--port", str(port)),
        *("--database-url", f"sqlite:///{folder}/tinker.db"),
        *("--checkpoints-base", f"{folder}/checkpoints"),
        *("--backend-config", json.dumps(_BACKEND)),
    ]
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    around = {**os.environ, "PATH": path, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        command, cwd=folder, env=around, stdout=log, stderr=log, start_new_session=True
    )


@contextmanager
def _free_port() -> Iterator[int]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    yield port


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/api/v1/healthz").raise_for_status()
        except httpx.TransportError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError(f"SkyRL's server did not come up:\n{log.read_text()[-3000:]}")
