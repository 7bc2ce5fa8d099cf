"""The calls that are answered with a future, as plain values: their requests and their results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError

from tinker_nb.client.chunks import split
from tinker_nb.client.kinds import KINDS, Ask
from tinker_nb.client.operations import Call, Numbers, Ready
from tinker_nb.client.server import Greeting
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.data import Datum, ModelInput, is_conversation
from tinker_nb.wire.jsonform import first_problem
from tinker_nb.wire.losses import LossConfig
from tinker_nb.wire.metrics import merge_outputs
from tinker_nb.wire.params import LoraConfig, OptimizerConfig
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.requests import (
    CreateModelRequest,
    LoadWeightsRequest,
    SampleRequest,
    SaveWeightsForSamplerRequest,
)
from tinker_nb.wire.responses import ClientConfigResponse
from tinker_nb.wire.results import (
    CreateModelResponse,
    ForwardBackwardOutput,
    LoadWeightsResponse,
    SampleResponse,
    SaveWeightsForSamplerResponse,
)

S = TypeVar("S")
R = TypeVar("R")
M = TypeVar("M", bound=WireModel)
#: Where a part of a body comes from when it is not there yet as the call is made. It is awaited
#: once the call's turn has come, on whatever loop carries the call.
Source = Callable[[], Awaitable[S]]
#: Training data: datums, or conversations for servers that take chat.
Examples = Sequence[Datum] | Sequence[Sequence[Any]]


def at_hand(value: S) -> Source[S]:
    """Return the source of a value that is there already."""

    async def source() -> S:
        return value

    return source


def made(request: type[M], **body: Any) -> M:
    """Return a request's body; raises `InvalidInputError` when a value cannot stand in it."""
    try:
        ask = request(**body)
        if body.get("user_metadata"):
            ask.to_wire()  # users may put anything there, also what no JSON can hold
    except ValidationError as error:
        raise InvalidInputError(first_problem(error)) from error
    except ValueError as error:  # pydantic's own class for this is no public name of it
        raise InvalidInputError(f"user_metadata cannot be sent: {error}.") from error
    return ask


def sealed(token: str | SecretStr | None) -> SecretStr | None:
    """Return a token that shows itself nowhere; None where there is none."""
    if not token or isinstance(token, SecretStr):
        return token or None
    return SecretStr(token)


def single(
    kind: str, ask: Callable[[str, int], Awaitable[Ask]], read: Callable[[Any], R]
) -> Call[R]:
    """Return a call of one request, from its address and number."""

    async def asks(address: str, number: Numbers, _: Greeting) -> list[Ask]:
        return [await ask(address, number())]

    return Call(KINDS[kind], asks, lambda results: read(results[0]))


def of_model(kind: str, request: type[Any], *, operation: str = "", **body: Any) -> Call[Any]:
    """Return a call on a model whose body is known already; raises what `made` does."""
    plain = made(request, model_id="", seq_id=0, **body)

    async def ask(model_id: str, seq_id: int) -> Ask:
        return plain.model_copy(update={"model_id": model_id, "seq_id": seq_id})

    return replace(single(kind, ask, _as_it_is), operation=operation)


def _as_it_is(result: Any) -> Any:
    return result


def reading(call: Call[S], read: Callable[[S], R]) -> Call[R]:
    """Return the call with its result read further."""
    return Call(call.kind, call.asks, lambda results: read(call.read(results)), call.operation)


def create_model(
    base_model: Source[str],
    lora_config: LoraConfig,
    user_metadata: dict[str, Any] | None,
    optimizer: OptimizerConfig,
) -> Call[CreateModelResponse]:
    """Make a LoRA model; the address is the session."""
    how: dict[str, Any] = {"lora_config": lora_config, "optimizer_config": optimizer}
    how["user_metadata"] = user_metadata
    made(CreateModelRequest, session_id="", model_seq_id=0, base_model="", **how)

    async def ask(session_id: str, model_seq_id: int) -> CreateModelRequest:
        name = await base_model()
        place = {"session_id": session_id, "model_seq_id": model_seq_id}
        return made(CreateModelRequest, base_model=name, **place, **how)

    return single("CreateModel", ask, _as_it_is)


def create_by_load(request: LoadWeightsRequest, operation: str) -> Call[CreateModelResponse]:
    """Make a model of a checkpoint; the address is the session.

    The model's id is fixed by the protocol; a server need not repeat it.
    """
    made: list[str] = []

    async def ask(session_id: str, model_seq_id: int) -> LoadWeightsRequest:
        made.append(f"{session_id}:train:{model_seq_id}")
        place = {"session_id": session_id, "model_seq_id": model_seq_id}
        return request.model_copy(update=place)

    def read(result: LoadWeightsResponse) -> CreateModelResponse:
        return CreateModelResponse(model_id=result.model_id or made[-1])

    return replace(single("LoadWeights", ask, read), operation=operation)


def forward_backward(
    data: Source[Examples],
    loss_fn: str,
    loss_fn_config: LossConfig | None,
    *,
    forward_only: bool,
) -> Call[ForwardBackwardOutput]:
    """Compute loss and, unless ``forward_only``, gradients; the address is the model.

    Much data travels in several requests (section 5.1 of the protocol).
    """

    async def asks(model_id: str, number: Numbers, greeting: Greeting) -> list[Ask]:
        chunks = _chunks(await data(), greeting.config)
        whole = ForwardBackwardRequest(
            model_id, [], loss_fn, dict(loss_fn_config or {}), None, forward_only
        )
        return [replace(whole, data=chunk, seq_id=number()) for chunk in chunks]

    kind = "Forward" if forward_only else "ForwardBackward"
    return Call(KINDS[kind], asks, merge_outputs)


def _chunks(data: Examples, config: ClientConfigResponse) -> list[Any]:
    if is_conversation(data[0]):
        return [data]
    datums: Any = data
    return split(datums, config.fwdbwd_max_chunk_len, config.fwdbwd_max_chunk_bytes_count)


def sampling_session(**body: Any) -> Call[SaveWeightsForSamplerResponse]:
    """Keep the weights for one sampling session; the address is the model.

    A server without such sessions draws from the model as it is in training.
    """
    plain = made(SaveWeightsForSamplerRequest, model_id="", **body)

    async def asks(model_id: str, number: Numbers, greeting: Greeting) -> list[Ask]:
        if not greeting.dialect.has_sessions:
            return [Ready(SaveWeightsForSamplerResponse(sampling_session_id=model_id))]
        return [plain.model_copy(update={"model_id": model_id, "seq_id": number()})]

    name = "save_weights_and_get_sampling_client"
    return Call(KINDS["SaveWeightsForSampler"], asks, lambda results: _as_it_is(results[0]), name)


def sample(prompt: Source[ModelInput], **body: Any) -> Call[SampleResponse]:
    """Draw sequences; the address is the sampling session."""
    plain = made(SampleRequest, prompt=ModelInput.empty(), **body)

    async def asks(sampling_session_id: str, number: Numbers, _: Greeting) -> list[Ask]:
        tokens = await prompt()
        place = {"sampling_session_id": sampling_session_id, "seq_id": number()}
        return [plain.model_copy(update={**place, "prompt": tokens})]

    return Call(KINDS["Sample"], asks, lambda results: _as_it_is(results[0]))
