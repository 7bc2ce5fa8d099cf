"""One run of one load through one package, in this process; prints the figures as JSON.

``python -m benchmarks.client_parts.measure LOAD PACKAGE URL``. Both packages are driven by the same
lines: tinker_nb has the official names. Nothing but the measured package is imported beforehand.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.client_parts.stamps import join_stamp

Figures = dict[str, float]

SAMPLES, TOKENS = 1000, 64
CALLS, DATUMS, LENGTH = 200, 32, 512
IN_FLIGHT, WOKEN, BURSTS = 100, 700, 8
FINISHED, WARM, WAVE = 10_000, 2_000, 200
# The form to await that each package recommends; the official `sample_async` is deprecated.
_AWAITED = {"tinker": "sample", "tinker_nb": "sample_async"}


class Sdk:
    """A package, connected to the stub.

    Parameters
    ----------
    package
        Its name.
    url
        Where the stub is.
    """

    def __init__(self, package: str, url: str) -> None:
        self.module: Any = importlib.import_module(package)
        self.types: Any = self.module.types
        self._service = self.module.ServiceClient(base_url=url, api_key="tml-test")
        self._prompt = self.types.ModelInput.from_ints(list(range(TOKENS)))
        self._params = self.types.SamplingParams(max_tokens=TOKENS)

    def sampler(self) -> Any:
        """Return a sampling client that has answered once, so that all is loaded and connected."""
        sampler = self._service.create_sampling_client(base_model="m").result()
        self.sample(sampler).result()
        return sampler

    def sample(self, sampler: Any) -> Any:
        """Return the future of one sample."""
        return sampler.sample(self._prompt, 1, self._params)

    def sample_async(self, sampler: Any) -> Awaitable[Any]:
        """Return what to await for one sample."""
        sample = getattr(sampler, _AWAITED[self.module.__name__])
        answer: Awaitable[Any] = sample(self._prompt, 1, self._params)
        return answer

    def trainer(self) -> Any:
        """Return a training client."""
        return self._service.create_lora_training_client("m", rank=8).result()

    def batch(self, seed: int) -> list[Any]:
        """Return the datums of one call."""
        import numpy as np

        draw = np.random.default_rng(seed)
        return [self._datum(draw.integers(0, 50_000, LENGTH + 1), np) for _ in range(DATUMS)]

    def _datum(self, row: Any, np: Any) -> Any:
        inputs = {"target_tokens": row[1:], "weights": np.ones(LENGTH, np.float32)}
        prompt = self.types.ModelInput.from_ints(row[:-1].tolist())
        return self.types.Datum(model_input=prompt, loss_fn_inputs=inputs)


@contextmanager
def clocked() -> Iterator[Figures]:
    """Fill in the seconds that the block took, on the clock and of this process's CPU time."""
    figures: Figures = {}
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    yield figures
    figures |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def samples(sdk: Sdk) -> Figures:
    """Submit all samples, then wait for each, as a script does."""
    sampler = sdk.sampler()
    with clocked() as figures:
        futures = [sdk.sample(sampler) for _ in range(SAMPLES)]
        _check([future.result() for future in futures])
    return figures


def samples_async(sdk: Sdk) -> Figures:
    """Await all samples together, as a notebook does."""
    sampler = sdk.sampler()

    async def together() -> Figures:
        _check([await sdk.sample_async(sampler)])  # the connections of this loop
        with clocked() as figures:
            _check(await asyncio.gather(*(sdk.sample_async(sampler) for _ in range(SAMPLES))))
        return figures

    return asyncio.run(together())


def _check(answers: list[Any]) -> None:
    assert all(len(answer.sequences[0].tokens) == TOKENS for answer in answers)


def training(sdk: Sdk) -> Figures:
    """Submit forward_backward calls, then read the arrays of each result."""
    trainer = sdk.trainer()
    _read(trainer.forward_backward(sdk.batch(CALLS), "cross_entropy"))
    with clocked() as making:
        batches = [sdk.batch(seed) for seed in range(CALLS)]
    with clocked() as figures:
        futures = [trainer.forward_backward(batch, "cross_entropy") for batch in batches]
        for future in futures:
            _read(future)
    return figures | {"making": making["wall"]}


def _read(future: Any) -> None:
    outputs = future.result().loss_fn_outputs
    assert [output["logprobs"].to_numpy().shape for output in outputs] == [(LENGTH,)] * DATUMS


def wakeups(sdk: Sdk) -> Figures:
    """Keep a number of samples in flight; the stub ends them one by one."""
    sampler = sdk.sampler()
    left, late = iter(range(WOKEN)), list[float]()

    async def worker() -> None:
        while next(left, None) is not None:
            late.append(await _lateness(sdk, sampler))

    async def crowd() -> None:
        await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

    asyncio.run(crowd())
    # The last ones had fewer and fewer beside them.
    return _percentiles(late[:-IN_FLIGHT])


def bursts(sdk: Sdk) -> Figures:
    """Have a number of samples in flight that the stub ends all at once; several times."""
    sampler = sdk.sampler()

    async def burst() -> list[float]:
        return await asyncio.gather(*(_lateness(sdk, sampler) for _ in range(IN_FLIGHT)))

    async def several() -> list[float]:
        await burst()  # opens the connections
        return [late for _ in range(BURSTS) for late in await burst()]

    return _percentiles(asyncio.run(several()))


async def _lateness(sdk: Sdk, sampler: Any) -> float:
    answer = await sdk.sample_async(sampler)
    woken = time.monotonic_ns()
    return (woken - join_stamp(answer.sequences[0].tokens)) / 1e6


def _percentiles(late: list[float]) -> Figures:
    ordered = sorted(late)
    return {name: ordered[int(len(ordered) * share)] for name, share in _SHARES.items()}


_SHARES = {"p50": 0.50, "p99": 0.99}


def memory(sdk: Sdk) -> Figures:
    """Finish futures that nobody keeps, then as many that are kept with their results."""
    sampler = sdk.sampler()
    _finish(sdk, sampler, WARM)
    before = _resident()
    _finish(sdk, sampler, FINISHED)
    dropped = _resident()
    kept = _finish(sdk, sampler, FINISHED, keep=True)
    assert len(kept) == FINISHED
    return {"dropped": dropped - before, "kept": _resident() - dropped}


def _finish(sdk: Sdk, sampler: Any, count: int, *, keep: bool = False) -> list[Any]:
    kept = []
    for _ in range(count // WAVE):
        futures = [sdk.sample(sampler) for _ in range(WAVE)]
        _check([future.result() for future in futures])
        if keep:
            kept += futures
    return kept


def _resident() -> float:
    """Return the MB of memory this process holds, without what nobody refers to."""
    gc.collect()
    return resident("self")


def resident(process: int | str) -> float:
    """Return the MB of memory a process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


LOADS: dict[str, Callable[[Sdk], Figures]] = {
    load.__name__: load for load in (samples, samples_async, training, wakeups, bursts, memory)
}


def main() -> None:
    """Measure and print."""
    load, package, url = sys.argv[1:]
    print(json.dumps(LOADS[load](Sdk(package, url))))


if __name__ == "__main__":
    main()
