"""Five calls of one conversation each: one by one, and all at once; in turns, by one package.

``python -m benchmarks.server_parts.five PACKAGE URL ROUNDS`` prints the calls a second of both.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from typing import Any

import numpy as np

from benchmarks.client_parts.measure import Figures
from benchmarks.report import median
from benchmarks.workload import LENGTH, RANK, tokens_of_batch

CALLS = 5


def batches(package: Any) -> list[list[Any]]:
    """Return the data of the calls: another conversation each."""
    return [[_datum(package.types, row)] for row in tokens_of_batch(CALLS)]


def _datum(types: Any, row: list[int]) -> Any:
    inputs = {"target_tokens": np.array(row[1:]), "weights": np.ones(LENGTH, np.float32)}
    return types.Datum(model_input=types.ModelInput.from_ints(row[:-1]), loss_fn_inputs=inputs)


def one_by_one(training: Any, data: list[list[Any]]) -> float:
    """Return the seconds for all when each waits for the one before."""
    began = time.perf_counter()
    for batch in data:
        training.forward_backward(batch, "cross_entropy").result()
    return time.perf_counter() - began


def at_once(training: Any, data: list[list[Any]]) -> float:
    """Return the seconds for all when all are submitted, then gathered."""
    began = time.perf_counter()
    futures = [training.forward_backward(batch, "cross_entropy") for batch in data]
    for future in futures:
        future.result()
    return time.perf_counter() - began


def measure(name: str, url: str, rounds: int) -> Figures:
    """Return the calls a second of each form; the key is in the environment."""
    package = importlib.import_module(name)
    data, service = batches(package), package.ServiceClient(base_url=url)
    training = service.create_lora_training_client("tiny-chat", rank=RANK, seed=0).result()
    one_by_one(training, data), at_once(training, data)
    seconds = [(one_by_one(training, data), at_once(training, data)) for _ in range(rounds)]
    apart, together = (CALLS / median(each) for each in zip(*seconds, strict=True))
    return {"one by one": apart, "at once": together}


def main() -> None:
    """Measure and print."""
    name, url, rounds = sys.argv[1:]
    print(json.dumps(measure(name, url, int(rounds))))


if __name__ == "__main__":
    main()
