"""Tokens a second in training: whole batches, and the same work in eight requests a step."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.client_parts.lines import table
from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import Tell
from benchmarks.server_parts.beside import BARE, SERVED, running_peer, side_by_side
from benchmarks.server_parts.verdicts import heads, of_coalescing, of_training
from benchmarks.serving import client_of, running_server
from benchmarks.training import PARAMS, make_data, new_model, one_ahead, served_speed
from benchmarks.workload import ROUNDS, TOKENS
from tinker_nb import Datum, ServiceClient, TrainingClient

_PEER = "transformers + PEFT"


def training(runs: int, tell: Tell) -> str:
    """Return the table of training at 8 x 64, one request a step."""
    data = make_data()
    with running_server() as server, client_of(server) as service, running_peer() as peer:

        def served() -> Figures:
            return {"rate": served_speed(service, one_ahead, data)}

        sides = {BARE: lambda: peer.do("training"), SERVED: served}
        results = side_by_side("training", runs, tell, sides)
    return table(heads(_PEER), of_training(results))


def coalescing(runs: int, tell: Tell) -> str:
    """Return the table of training with eight requests a step."""
    data = make_data()
    with running_server() as server, client_of(server) as service, running_peer() as peer:
        sides = {
            BARE: lambda: peer.do("apart"),
            SERVED: lambda: {"rate": apart_speed(service, data)},
        }
        results = side_by_side("coalescing", runs, tell, sides)
    return table(heads(_PEER), of_coalescing(results))


def apart_speed(service: ServiceClient, data: list[Datum], rounds: int = ROUNDS) -> float:
    """Return the tokens a second of a new model whose steps come as a request for each datum."""
    training = new_model(service)
    _apart(training, data, 2)
    began = time.perf_counter()
    _apart(training, data, rounds)
    return rounds * TOKENS / (time.perf_counter() - began)


def _apart(training: TrainingClient, data: list[Datum], rounds: int) -> None:
    """Send a step's requests before waiting for those of the step before."""
    waiting: list[Any] = []
    for _ in range(rounds):
        sent: list[Any] = [training.forward_backward([one], "cross_entropy") for one in data]
        sent.append(training.optim_step(PARAMS))
        for future in waiting:
            future.result()
        waiting = sent
    for future in waiting:
        future.result()
