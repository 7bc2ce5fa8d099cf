"""The training step: loss and gradients of one adapter on some examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.engine.adapters import Adapter, Slots
from tinker_nb.server.engine.batches import Batch, make_batches
from tinker_nb.server.engine.losses import token_losses
from tinker_nb.server.engine.work import ForwardBackward
from tinker_nb.wire.results import ForwardBackwardOutput
from tinker_nb.wire.tensors import TensorData

OUTPUT_TYPE = "ArrayRecord"


@dataclass
class _Sums:
    """What adds up over the batches of one call."""

    loss: float = 0.0
    tokens: int = 0
    gradients: Tensor | None = None
    logprobs: dict[int, TensorData] = field(default_factory=dict)


def forward_backward(
    slots: Slots,
    model: Any,
    adapter: Adapter,
    work: ForwardBackward,
    *,
    budget: int,
    checkpoint: Callable[[], None] = lambda: None,
) -> ForwardBackwardOutput:
    """Compute the loss and add its gradients to the adapter's, or do nothing at all.

    Parameters
    ----------
    budget
        Most tokens that go through the model at once.
    checkpoint
        Called between batches; may raise to stop.

    Raises
    ------
    InvalidInputError
        The loss or its gradient is not finite; the adapter's gradients are as before.
    """
    slots.plug(adapter)
    parameters = slots.slot(adapter.shape).parameters
    sums = _Sums()
    with torch.set_grad_enabled(not work.forward_only):
        for batch in make_batches(work.examples, budget):
            checkpoint()
            _add_batch(sums, model, parameters, batch, work)
    _check_finite(sums)
    if sums.gradients is not None:
        before = adapter.gradients
        adapter.gradients = sums.gradients if before is None else before.add_(sums.gradients)
    return _output(sums)


def _add_batch(
    sums: _Sums,
    model: Any,
    parameters: Sequence[torch.nn.Parameter],
    batch: Batch,
    work: ForwardBackward,
) -> None:
    columns = {name: torch.from_numpy(column) for name, column in batch.columns.items()}
    logprobs = _logprobs(model, batch)
    losses = token_losses(work.loss_fn, logprobs, columns, work.settings)
    if not work.forward_only:
        flat = _gradients(losses.sum(), parameters)
        sums.gradients = flat if sums.gradients is None else sums.gradients.add_(flat)
    sums.loss += float(losses.detach().sum(dtype=torch.float64))
    sums.tokens += int(np.count_nonzero(batch.columns["weights"]))
    scores = logprobs.detach().numpy()
    for place, length, row in zip(batch.places, batch.lengths, scores, strict=True):
        sums.logprobs[place] = TensorData(row[:length], "float32")


def _logprobs(model: Any, batch: Batch) -> Tensor:
    """Return the log-probability of every target.

    The padding stands on the right and attention looks left only, so no real token sees it and
    no mask is needed.
    """
    tokens, targets = torch.from_numpy(batch.tokens), torch.from_numpy(batch.targets)
    logits = model(input_ids=tokens, use_cache=False).logits.float()
    wide = targets if targets.ndim == 3 else targets.unsqueeze(-1)
    chosen = logits.gather(-1, wide) - logits.logsumexp(-1, keepdim=True)
    scores: Tensor = chosen.view(targets.shape)
    return scores


def _gradients(loss: Tensor, parameters: Sequence[torch.nn.Parameter]) -> Tensor:
    found = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.reshape(-1) for gradient in found])


def _check_finite(sums: _Sums) -> None:
    gradients_finite = sums.gradients is None or bool(torch.isfinite(sums.gradients.sum()))
    if np.isfinite(sums.loss) and gradients_finite:
        return
    what = "gradient" if np.isfinite(sums.loss) else "loss"
    raise InvalidInputError(
        f"The {what} is not finite; nothing was added to the gradients. Check the values of "
        "weights, logprobs and advantages, or lower the learning rate."
    )


def _output(sums: _Sums) -> ForwardBackwardOutput:
    outputs = [{"logprobs": sums.logprobs[place]} for place in range(len(sums.logprobs))]
    metrics = {"loss:sum": sums.loss, "num_tokens:sum": float(sums.tokens)}
    return ForwardBackwardOutput(OUTPUT_TYPE, outputs, metrics)
