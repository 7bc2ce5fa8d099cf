"""Supervised fine-tuning: forward_backward and optim_step, kept a few steps ahead of the server."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tinker_nb.client.calls import at_hand
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.training import TrainingClient
from tinker_nb.errors import InvalidInputError
from tinker_nb.train.batches import batches
from tinker_nb.wire.data import Datum
from tinker_nb.wire.params import AdamParams
from tinker_nb.wire.results import ForwardBackwardOutput, OptimStepResponse


@dataclass(frozen=True)
class StepReport:
    """One training step.

    Parameters
    ----------
    step
        Its number, from 1.
    loss
        Mean loss per trained token, before the step.
    tokens
        How many tokens were trained on.
    seconds
        Since the beginning of the run.
    """

    step: int
    loss: float
    tokens: int
    seconds: float


@dataclass
class TrainResult:
    """A run so far, or as it ended."""

    reports: list[StepReport] = field(default_factory=list)

    @property
    def losses(self) -> list[float]:
        """Mean loss per trained token, one value a step."""
        return [report.loss for report in self.reports]

    @property
    def seconds(self) -> float:
        """How long the run took."""
        return self.reports[-1].seconds if self.reports else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Trained tokens per second."""
        return sum(report.tokens for report in self.reports) / max(self.seconds, 1e-9)

    def __repr__(self) -> str:
        if not self.reports:
            return "TrainResult(no steps yet)"
        first, last = self.losses[0], self.losses[-1]
        return f"TrainResult({len(self.reports)} steps, loss {first:.4f} → {last:.4f})"


Schedule = Literal["constant", "linear"]
OnStep = Callable[[StepReport], None]
_Step = tuple[int, float, "TinkerFuture[ForwardBackwardOutput]", "TinkerFuture[OptimStepResponse]"]


def scheduled(params: AdamParams, schedule: Schedule, step: int, steps: int) -> AdamParams:
    """Return the parameters of one step; ``linear`` lowers the learning rate towards zero.

    Parameters
    ----------
    params
        Those of the first step.
    schedule
        How the learning rate goes on.
    step, steps
        The step's number, from 1, and how many there are.
    """
    if schedule == "constant":
        return params
    left = (steps - step + 1) / steps
    return params.model_copy(update={"learning_rate": params.learning_rate * left})


async def train_supervised(
    training: TrainingClient,
    data: Sequence[Datum],
    *,
    steps: int,
    batch_size: int = 32,
    adam_params: AdamParams | None = None,
    schedule: Schedule = "constant",
    seed: int | None = 0,
    in_flight: int = 2,
    on_step: OnStep | None = None,
) -> TrainResult:
    """Train on data with ``cross_entropy``.

    Each step is one forward_backward and one optim_step, submitted together; ``in_flight`` steps
    wait at the server while the last one's result travels back, so that it never idles.

    Parameters
    ----------
    training
        The model.
    data
        Examples, as `conversation_to_datum` makes them.
    steps
        How many steps.
    batch_size
        Examples per step.
    adam_params
        Of the first step.
    schedule
        How the learning rate goes on: ``constant``, or ``linear`` towards zero.
    seed
        Of the order of the data; None keeps it.
    in_flight
        How many steps may be under way at once.
    on_step
        Called after each step.

    Raises
    ------
    InvalidInputError
        A wrong argument.
    TinkerError
        A step failed; later ones were given up.
    """
    if steps < 1:
        raise InvalidInputError(f"The number of steps must be at least 1, not {steps}.")
    result, began = TrainResult(), time.monotonic()
    source, params = batches(data, batch_size, seed=seed), adam_params or AdamParams()
    under_way: deque[_Step] = deque()
    try:
        for step in range(1, steps + 1):
            now = scheduled(params, schedule, step, steps)
            under_way.append(_submit(training, step, next(source), now))
            if len(under_way) >= in_flight:
                _keep(result, await _collect(under_way.popleft(), began), on_step)
        while under_way:
            _keep(result, await _collect(under_way.popleft(), began), on_step)
    finally:
        give_up(future for step_ in under_way for future in step_[2:])
    return result


def _submit(training: TrainingClient, step: int, batch: list[Datum], params: AdamParams) -> _Step:
    loop = asyncio.get_running_loop()
    trained = sum(float(_weights(datum)) for datum in batch)
    fb = training.start_forward_backward(at_hand(batch), "cross_entropy", None, loop)
    return step, trained, fb, training.start_optim_step(params, loop)


def _weights(datum: Datum) -> float:
    weights = datum.loss_fn_inputs.get("weights")
    return float(weights.to_numpy().sum()) if weights is not None else datum.model_input.length


async def _collect(step: _Step, began: float) -> StepReport:
    number, trained, fb, optim = step
    try:
        output = await fb
        await optim
    except BaseException:
        give_up((fb, optim))
        raise
    loss = output.metrics["loss:sum"] / max(trained, 1e-9)
    return StepReport(number, loss, round(trained), time.monotonic() - began)


def _keep(result: TrainResult, report: StepReport, on_step: OnStep | None) -> None:
    result.reports.append(report)
    if on_step is not None:
        on_step(report)


def give_up(futures: Iterable[TinkerFuture[Any]]) -> None:
    """Give up what is still under way, so that nothing is left behind."""
    for future in futures:
        future.cancel()
