"""Tokens a second of client and server, beside a bare transformers and PEFT loop."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.report import Row, median, spread
from benchmarks.serving import client_of, running_server
from benchmarks.workload import (
    BETAS,
    EPS,
    LEARNING_RATE,
    RANK,
    STEPS,
    TOKENS,
    WARM_STEPS,
    tokens_of_batch,
)
from tinker_nb import AdamParams, Datum, ModelInput, ServiceClient, TrainingClient

ROUNDS = 3
GOAL = 0.9
PARAMS = AdamParams(learning_rate=LEARNING_RATE, beta1=BETAS[0], beta2=BETAS[1], eps=EPS)


def make_data() -> list[Datum]:
    """Return the batch as the client takes it: every token is learnt."""
    return [
        Datum(
            ModelInput.from_ints(row[:-1]),
            {"target_tokens": row[1:], "weights": [1.0] * (len(row) - 1)},
        )
        for row in tokens_of_batch()
    ]


def step_by_step(training: TrainingClient, data: list[Datum], steps: int) -> None:
    """Send a step's two calls together and wait for both before the next step."""
    for _ in range(steps):
        forward = training.forward_backward(data, "cross_entropy")
        step = training.optim_step(PARAMS)
        forward.result()
        step.result()


def one_ahead(training: TrainingClient, data: list[Datum], steps: int) -> None:
    """Send the next step's calls before waiting for those of the step before."""
    waiting: list[Any] = []
    for _ in range(steps):
        sent = [training.forward_backward(data, "cross_entropy"), training.optim_step(PARAMS)]
        for future in waiting:
            future.result()
        waiting = sent
    for future in waiting:
        future.result()


Loop = Callable[[TrainingClient, list[Datum], int], None]


def new_model(service: ServiceClient) -> TrainingClient:
    """Return the training client of a new model."""
    return service.create_lora_training_client("tiny-chat", rank=RANK, seed=0)


def served_speed(service: ServiceClient, loop: Loop, data: list[Datum]) -> float:
    """Return the tokens a second of a new model over client and server."""
    training = new_model(service)
    loop(training, data, WARM_STEPS)
    began = time.perf_counter()
    loop(training, data, STEPS)
    return STEPS * TOKENS / (time.perf_counter() - began)


def bare_speed() -> tuple[float, int]:
    """Return the tokens a second of the bare loop, and the threads it used."""
    command = [sys.executable, "-m", "benchmarks.bare_loop"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    return STEPS * TOKENS / found["seconds"], found["threads"]


def rows() -> list[Row]:
    """Train bare, step by step and one step ahead, in turns."""
    data, speeds, threads = make_data(), [], 0
    with running_server() as server, client_of(server) as service:
        for _ in range(ROUNDS):
            bare, threads = bare_speed()
            served = [served_speed(service, loop, data) for loop in (step_by_step, one_ahead)]
            speeds.append((bare, *served))
    bares, steps, aheads = (list(column) for column in zip(*speeds, strict=True))
    detail = f"{spread(bares, 'tokens/s')} of {STEPS} steps; {threads} threads"
    return [
        Row("training, transformers + PEFT alone", f"{median(bares):.0f} tokens/s", detail),
        _line("training, client + server, step by step", bares, steps),
        _line("training, client + server, next step sent ahead", bares, aheads),
    ]


def _line(name: str, bare: list[float], served: list[float]) -> Row:
    ratios = [ours / theirs for ours, theirs in zip(served, bare, strict=True)]
    ratio = median(ratios)
    result = f"{median(served):.0f} tokens/s = {ratio:.2f}x bare"
    between = f"ratio {min(ratios):.2f} to {max(ratios):.2f}"
    details = f"{spread(served, 'tokens/s')}; {between}"
    return Row(name, result, details, f">= {GOAL}x bare", ratio >= GOAL)
