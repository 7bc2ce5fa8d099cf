"""JSON bodies of forward, forward_backward and sample (section 7.1 of the protocol)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError, field_validator

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.results import ForwardBackwardOutput, SampledSequence, SampleResponse
from tinker_nb.wire.tensors import JsonTensor, TensorData


class JsonDatum(WireModel):
    """A datum whose chunks may come without their ``type``."""

    model_input: ModelInput
    loss_fn_inputs: dict[str, JsonTensor]

    @field_validator("model_input", mode="before")
    @classmethod
    def _chunks_may_lack_type(cls, value: Any) -> Any:
        return with_chunk_types(value)


class JsonForwardBackwardInput(WireModel):
    """The ``forward_backward_input`` or ``forward_input`` of a call."""

    data: list[JsonDatum]
    loss_fn: str
    loss_fn_config: dict[str, float | str] | None = None


class JsonForwardBackwardRequest(WireModel):
    """``POST /api/v1/forward_backward`` and ``/api/v1/forward`` as JSON."""

    model_id: str
    seq_id: int | None = None
    forward_backward_input: JsonForwardBackwardInput | None = None
    forward_input: JsonForwardBackwardInput | None = None


def with_chunk_types(model_input: Any) -> Any:
    """Return a JSON model_input with each chunk's ``type`` filled in."""
    if not isinstance(model_input, dict) or not isinstance(model_input.get("chunks"), list):
        return model_input
    return {**model_input, "chunks": [_with_type(chunk) for chunk in model_input["chunks"]]}


def _with_type(chunk: Any) -> Any:
    if not isinstance(chunk, dict) or "type" in chunk:
        return chunk
    by_field = {"tokens": "encoded_text", "location": "image_asset_pointer", "data": "image"}
    kind = next((kind for name, kind in by_field.items() if name in chunk), "encoded_text")
    return {**chunk, "type": kind}


def read_forward_backward(body: Any) -> ForwardBackwardRequest:
    """Read a JSON forward or forward_backward; raises `InvalidInputError`."""
    try:
        request = JsonForwardBackwardRequest.model_validate(body)
    except ValidationError as error:
        raise InvalidInputError(first_problem(error)) from error
    content = request.forward_backward_input or request.forward_input
    if content is None:
        raise InvalidInputError("The body lacks forward_backward_input.")
    return ForwardBackwardRequest(
        model_id=request.model_id,
        data=[_to_datum(datum) for datum in content.data],
        loss_fn=content.loss_fn,
        loss_fn_config=dict(content.loss_fn_config or {}),
        seq_id=request.seq_id,
        forward_only=request.forward_backward_input is None,
    )


def _to_datum(datum: JsonDatum) -> Datum:
    inputs = {name: tensor.to_tensor() for name, tensor in datum.loss_fn_inputs.items()}
    return Datum(datum.model_input, inputs)


def first_problem(error: ValidationError) -> str:
    """Return the first problem of a validation as one sentence with its place."""
    problem = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"]) or "the body"
    return f"{place}: {problem['msg']}."


def json_tensor(tensor: TensorData) -> dict[str, Any]:
    """Return a tensor as a JSON object."""
    return {
        "data": tensor.to_numpy().ravel().tolist(),
        "dtype": tensor.dtype,
        "shape": tensor.shape,
    }


def forward_backward_to_json(request: ForwardBackwardRequest) -> dict[str, Any]:
    """Return the JSON body of a forward or forward_backward."""
    name = "forward_input" if request.forward_only else "forward_backward_input"
    content = {
        "data": [_datum_to_json(datum) for datum in request.data],
        "loss_fn": request.loss_fn,
        "loss_fn_config": request.loss_fn_config or None,
    }
    return {"model_id": request.model_id, "seq_id": request.seq_id, name: content}


def _datum_to_json(datum: Datum) -> dict[str, Any]:
    inputs = datum.loss_fn_inputs
    return {
        "model_input": datum.model_input.to_wire(),
        "loss_fn_inputs": {name: json_tensor(tensor) for name, tensor in inputs.items()},
    }


def output_to_json(output: ForwardBackwardOutput) -> dict[str, Any]:
    """Return a forward_backward result as JSON."""
    return {
        "loss_fn_output_type": output.loss_fn_output_type,
        "loss_fn_outputs": [
            {name: json_tensor(tensor) for name, tensor in datum.items()}
            for datum in output.loss_fn_outputs
        ],
        "metrics": output.metrics,
    }


def output_from_json(body: dict[str, Any]) -> ForwardBackwardOutput:
    """Read a forward_backward result from JSON."""
    outputs = [
        {name: JsonTensor.model_validate(tensor).to_tensor() for name, tensor in datum.items()}
        for datum in body.get("loss_fn_outputs", [])
    ]
    kind = body.get("loss_fn_output_type", "ArrayRecord")
    return ForwardBackwardOutput(kind, outputs, body.get("metrics") or {})


def sample_to_json(response: SampleResponse) -> dict[str, Any]:
    """Return a sample result as JSON."""
    body: dict[str, Any] = {
        "type": "sample",
        "sequences": [_sequence_to_json(sequence) for sequence in response.sequences],
        "prompt_logprobs": response.prompt_logprobs,
        "topk_prompt_logprobs": response.topk_prompt_logprobs,
    }
    # Later than this form of the protocol; there only where they were asked for.
    if response.target_prompt_logprobs is not None:
        body["target_prompt_logprobs"] = json_tensor(response.target_prompt_logprobs)
    if response.prompt_alt_tokens is not None:
        drawn = response.prompt_alt_tokens
        body["prompt_alt_tokens"] = {
            "tokens": json_tensor(drawn.tokens),
            "logprobs": json_tensor(drawn.logprobs),
        }
    return body


def _sequence_to_json(sequence: SampledSequence) -> dict[str, Any]:
    body: dict[str, Any] = {
        "stop_reason": sequence.stop_reason,
        "tokens": sequence.tokens,
        "logprobs": sequence.logprobs,
    }
    if sequence.topk_logprobs is not None:
        body["topk_logprobs"] = sequence.topk_logprobs
    return body


def sample_from_json(body: dict[str, Any]) -> SampleResponse:
    """Read a sample result from JSON."""
    sequences = [
        SampledSequence(entry["stop_reason"], entry["tokens"], entry.get("logprobs"))
        for entry in body.get("sequences", [])
    ]
    return SampleResponse(sequences, body.get("prompt_logprobs"), body.get("topk_prompt_logprobs"))
