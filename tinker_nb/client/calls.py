"""The calls of the official protocol as plain values: body, path, and how the result reads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from tinker_nb.client.exchange import Payload, Reply, json_payload
from tinker_nb.client.operations import Accepted, Call
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.jsonform import output_from_json, sample_from_json
from tinker_nb.wire.losses import LossConfig
from tinker_nb.wire.params import AdamParams, LoraConfig, OptimizerConfig, SamplingParams
from tinker_nb.wire.protobuf import (
    CONTENT_TYPE,
    ForwardBackwardRequest,
    decode_output,
    decode_sample,
    encode_forward_backward,
)
from tinker_nb.wire.requests import (
    CreateModelRequest,
    OptimStepRequest,
    SampleRequest,
    SaveWeightsForSamplerRequest,
)
from tinker_nb.wire.results import (
    CreateModelResponse,
    ForwardBackwardOutput,
    OptimStepResponse,
    SampleResponse,
    SaveWeightsForSamplerResponse,
)

M = TypeVar("M", bound=WireModel)
S = TypeVar("S")
R = TypeVar("R")
#: Where a part of a body comes from when it is not there yet as the call is made. It is awaited
#: once the call's turn has come, on whatever loop carries the call.
Source = Callable[[], Awaitable[S]]


def at_hand(value: S) -> Source[S]:
    """Return the source of a value that is there already."""

    async def source() -> S:
        return value

    return source


def reading(call: Call[S], read: Callable[[S], R]) -> Call[R]:
    """Return the call with its result read further."""

    def decode(reply: Reply, accepted: Accepted) -> R:
        return read(call.decode(reply, accepted))

    return Call(call.kind, call.path, call.encode, decode, binary=call.binary)


def _json_call(
    kind: str,
    endpoint: str,
    request: type[WireModel],
    result: type[M],
    *,
    to: str = "model_id",
    number: str = "seq_id",
    **body: Any,
) -> Call[M]:
    """Return a call with a JSON body; ``to`` and ``number`` name the fields of its address."""

    def encode(address: str, seq_id: int) -> Payload:
        fields = {to: address, number: seq_id, **body}
        return json_payload(request.model_validate(fields).to_wire())

    def decode(reply: Reply, _: Accepted) -> M:
        return result.model_validate(reply.json_object())

    return Call(kind, endpoint, encode, decode)


def create_model(
    base_model: Source[str], lora_config: LoraConfig, user_metadata: dict[str, Any] | None
) -> Call[CreateModelResponse]:
    """Make a LoRA model; the address is the session."""

    async def encode(session_id: str, model_seq_id: int) -> Payload:
        request = CreateModelRequest(
            session_id=session_id,
            model_seq_id=model_seq_id,
            base_model=await base_model(),
            lora_config=lora_config,
            optimizer_config=OptimizerConfig(),
            user_metadata=user_metadata,
        )
        return json_payload(request.to_wire())

    def decode(reply: Reply, _: Accepted) -> CreateModelResponse:
        return CreateModelResponse.model_validate(reply.json_object())

    return Call("CreateModel", "/api/v1/create_model", encode, decode)


def forward_backward(
    data: Source[Sequence[Datum]],
    loss_fn: str,
    loss_fn_config: LossConfig | None,
    *,
    forward_only: bool,
) -> Call[ForwardBackwardOutput]:
    """Compute loss and, unless ``forward_only``, gradients; the address is the model."""

    async def encode(model_id: str, seq_id: int) -> Payload:
        request = ForwardBackwardRequest(
            model_id, await data(), loss_fn, dict(loss_fn_config or {}), seq_id, forward_only
        )
        return Payload(encode_forward_backward(request), CONTENT_TYPE)

    kind = "Forward" if forward_only else "ForwardBackward"
    return Call(kind, "/api/v1/forward_backward", encode, _read_output, binary=True)


def _read_output(reply: Reply, _: Accepted) -> ForwardBackwardOutput:
    if reply.content_type == CONTENT_TYPE:
        return decode_output(reply.content)
    return output_from_json(reply.json_object())


def optim_step(adam_params: AdamParams) -> Call[OptimStepResponse]:
    """Apply the gradients; the address is the model."""
    return _json_call(
        "OptimStep",
        "/api/v1/optim_step",
        OptimStepRequest,
        OptimStepResponse,
        adam_params=adam_params,
    )


def save_weights_for_sampler(
    *,
    name: str | None = None,
    sampling_session_seq_id: int | None = None,
    ttl_seconds: int | None = None,
    user_metadata: dict[str, str] | None = None,
) -> Call[SaveWeightsForSamplerResponse]:
    """Keep the weights for sampling, under a name or for one sampling session."""
    return _json_call(
        "SaveWeightsForSampler",
        "/api/v1/save_weights_for_sampler",
        SaveWeightsForSamplerRequest,
        SaveWeightsForSamplerResponse,
        path=name,
        sampling_session_seq_id=sampling_session_seq_id,
        ttl_seconds=ttl_seconds,
        user_metadata=user_metadata,
    )


def sample(
    prompt: Source[ModelInput],
    num_samples: int,
    sampling_params: SamplingParams,
    *,
    prompt_logprobs: bool,
    topk_prompt_logprobs: int,
) -> Call[SampleResponse]:
    """Draw sequences; the address is the sampling session."""

    async def encode(sampling_session_id: str, seq_id: int) -> Payload:
        request = SampleRequest(
            sampling_session_id=sampling_session_id,
            seq_id=seq_id,
            num_samples=num_samples,
            prompt=await prompt(),
            sampling_params=sampling_params,
            prompt_logprobs=prompt_logprobs,
            topk_prompt_logprobs=topk_prompt_logprobs,
        )
        return json_payload(request.to_wire())

    return Call("Sample", "/api/v1/asample", encode, _read_sample, binary=True)


def _read_sample(reply: Reply, accepted: Accepted) -> SampleResponse:
    if reply.content_type == CONTENT_TYPE:
        return decode_sample(reply.content, accepted.sample_sequence_ids)
    return sample_from_json(reply.json_object())
