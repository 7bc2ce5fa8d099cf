"""What the engine can be asked to do, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tinker_nb.wire.params import AdamParams, SamplingParams

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
LayerGroup = Literal["attn", "mlp", "unembed"]


@dataclass(frozen=True)
class AdapterSpec:
    """Which adapter to make.

    Parameters
    ----------
    rank, alpha
        Rank of the two factors; their product is scaled by ``alpha / rank``.
    groups
        Which groups of layers get one.
    seed
        Seed of the initial values; a fresh one when ``None``.
    """

    rank: int
    alpha: float
    groups: frozenset[LayerGroup]
    seed: int | None = None


@dataclass(frozen=True)
class LiveWeights:
    """The weights of a model in training, as they are when the turn comes."""

    model_id: str


@dataclass(frozen=True)
class SavedWeights:
    """The weights in a checkpoint's directory."""

    directory: Path


#: ``None`` is the base model.
WeightsSource = LiveWeights | SavedWeights | None


@dataclass(frozen=True)
class Example:
    """One datum as arrays: ``tokens`` (N,), and ``targets`` and ``columns`` (N,) or (N, K)."""

    tokens: Ints
    targets: Ints
    columns: Mapping[str, Floats]


@dataclass(frozen=True)
class CreateAdapter:
    """Make a model's adapter."""

    model_id: str
    spec: AdapterSpec


@dataclass(frozen=True)
class LoadAdapter:
    """Put a checkpoint's weights into a model, which is made where there is none of that name.

    Parameters
    ----------
    model_id
        The model.
    directory
        The checkpoint's files.
    optimizer
        Whether the optimizer goes on from the saved state; else it starts afresh.
    """

    model_id: str
    directory: Path
    optimizer: bool


@dataclass(frozen=True)
class RemoveAdapter:
    """Drop a model's adapter."""

    model_id: str


@dataclass(frozen=True)
class ForwardBackward:
    """Compute a loss and, unless ``forward_only``, add its gradients up."""

    model_id: str
    examples: tuple[Example, ...]
    loss_fn: str
    settings: Mapping[str, float] = field(default_factory=dict)
    forward_only: bool = False


@dataclass(frozen=True)
class OptimStep:
    """Apply the gradients. ``needs_gradients`` refuses a step when there are none."""

    model_id: str
    params: AdamParams
    needs_gradients: bool = False


@dataclass(frozen=True)
class SaveAdapter:
    """Write a model's weights to a new directory, in PEFT format.

    ``optimizer`` adds a file with the optimizer's state, to train on from.
    """

    model_id: str
    directory: Path
    optimizer: bool = False


@dataclass(frozen=True, eq=False)
class Sample:
    """Draw sequences that continue a prompt.

    Parameters
    ----------
    weights
        What draws.
    prompt
        (N,).
    params
        How to draw.
    num_samples
        How many sequences.
    prompt_logprobs
        Whether the prompt's tokens are scored, all or the last ``prompt_logprobs_last_n``.
    topk_prompt_logprobs, topk_sample_logprobs
        How many of the likeliest tokens are told at each place of the prompt, of the sequences.
    target_prompt_logprobs
        (N - 1, K): further tokens to score at each place of the prompt; -1 is none.
    prompt_alt_tokens_k
        How many alternatives are drawn at each place of the prompt.
    """

    weights: WeightsSource
    prompt: Ints
    params: SamplingParams
    num_samples: int = 1
    prompt_logprobs: bool = False
    topk_prompt_logprobs: int = 0
    prompt_logprobs_last_n: int | None = None
    topk_sample_logprobs: int = 0
    target_prompt_logprobs: Ints | None = None
    prompt_alt_tokens_k: int = 0


@dataclass(frozen=True, eq=False)
class SampleMany:
    """Draw for several prompts; done when all of them are."""

    requests: tuple[Sample, ...]


Training = CreateAdapter | LoadAdapter | RemoveAdapter | ForwardBackward | OptimStep | SaveAdapter
Drawing = Sample | SampleMany
Work = Training | Drawing


@dataclass(frozen=True, eq=False)
class Job:
    """A piece of work with its name and its place in the order.

    Parameters
    ----------
    request_id
        Its name.
    lane
        Jobs of one lane are done in the order they came.
    work
        What to do.
    cost
        How much it is, in tokens or the like; used to foresee how long it takes.
    """

    request_id: str
    lane: str
    work: Work
    cost: float = 1.0


@dataclass(frozen=True)
class Done:
    """A job's result."""

    result: Any


@dataclass(frozen=True)
class Failed:
    """Why a job failed, and by whose fault."""

    message: str
    category: Literal["user", "server"] = "server"


Outcome = Done | Failed


@dataclass(frozen=True)
class ModelFacts:
    """What the engine says of the model it serves.

    Parameters
    ----------
    name
        Its name to users.
    directory
        Where its files are.
    arch
        Its architecture.
    vocab_size, context
        Number of tokens it knows, and most tokens it reads at once.
    trainable
        The groups of layers an adapter can be put on.
    """

    name: str
    directory: Path
    arch: str
    vocab_size: int
    context: int
    trainable: frozenset[LayerGroup]
