"""What the heavy calls give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tinker_nb.wire.base import WireModel
from tinker_nb.wire.tensors import TensorData

StopReason = Literal["stop", "length"]
TopkRow = list[tuple[int, float]] | None


@dataclass(frozen=True)
class ForwardBackwardOutput:
    """Result of forward and forward_backward.

    Parameters
    ----------
    loss_fn_output_type
        The server's name of the record type.
    loss_fn_outputs
        Per datum, tensors by name; ``logprobs`` (float32, shape of ``target_tokens``) always.
    metrics
        Figures by name, such as ``loss:sum``. The part after the colon says how they add up.
    """

    loss_fn_output_type: str
    loss_fn_outputs: list[dict[str, TensorData]]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SampledSequence:
    """One drawn sequence: its tokens, why it stopped, and the tokens' log-probabilities."""

    stop_reason: StopReason
    tokens: list[int]
    logprobs: list[float] | None = None
    sequence_id: str = ""
    topk_logprobs: list[TopkRow] | None = None


@dataclass(frozen=True)
class SampleResponse:
    """Result of sample: the sequences and, where asked for, figures of the prompt.

    ``prompt_logprobs`` has one value per prompt token, ``None`` for the first.
    """

    sequences: list[SampledSequence]
    prompt_logprobs: list[float | None] | None = None
    topk_prompt_logprobs: list[TopkRow] | None = None


class OptimStepResponse(WireModel):
    """Result of optim_step."""

    metrics: dict[str, float] | None = None


class CreateModelResponse(WireModel):
    """Result of create_model."""

    model_id: str
    type: Literal["create_model"] = "create_model"


class SaveWeightsForSamplerResponse(WireModel):
    """Result of save_weights_for_sampler: a path when named, a sampling session when not."""

    path: str | None = None
    sampling_session_id: str | None = None
    type: Literal["save_weights_for_sampler"] = "save_weights_for_sampler"
