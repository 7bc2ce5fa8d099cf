"""The paths that both dialects use; `tinker_nb.wire.quickstart.is_official` tells them apart."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.guards.limits import check_amount
from tinker_nb.server.house import House
from tinker_nb.server.intake.asks import (
    asked_before,
    forward_backward_ask,
    optim_ask,
    sample_ask,
    train_key,
)
from tinker_nb.server.intake.checks import read_examples, read_prompt
from tinker_nb.server.routes.common import (
    TheHouse,
    future_answer,
    json_body,
    parsed,
    submitted,
)
from tinker_nb.server.routes.quickstart import answered
from tinker_nb.wire.jsonform import read_forward_backward, with_chunk_types
from tinker_nb.wire.protobuf import (
    CONTENT_TYPE,
    ForwardBackwardRequest,
    decode_forward_backward,
)
from tinker_nb.wire.quickstart import is_official
from tinker_nb.wire.requests import OptimStepRequest, SampleRequest

router = APIRouter(prefix="/api/v1")


@router.post("/forward_backward")
async def forward_backward(request: Request, house: TheHouse) -> Response:
    """Compute a loss and add its gradients up."""
    return await _forward(request, house, "forward_backward")


@router.post("/forward")
async def forward(request: Request, house: TheHouse) -> Response:
    """Compute a loss."""
    return await _forward(request, house, "forward")


@router.post("/optim_step")
async def optim_step(request: Request, house: TheHouse) -> Response:
    """Apply the gradients."""
    body = json_body(await request.body())
    if not is_official("optim_step", _content_type(request), body):
        return await answered("optim_step", body, house, waits=True)
    step = OptimStepRequest.model_validate(body)
    if step.adam_params is None:
        raise InvalidInputError("This server has AdamW only; send adam_params.")
    known = house.desk.repeated(train_key(step.model_id, step.seq_id))
    if known is not None:
        return future_answer(known, step.model_id)
    house.models.live_run(step.model_id)
    return submitted(house, optim_ask(step.model_id, step.adam_params, step.seq_id))


@router.post("/asample")
async def asample(request: Request, house: TheHouse) -> Response:
    """Draw sequences, answered with a future."""
    body = await parsed(await request.body(), json_body)
    if not is_official("asample", _content_type(request), body):
        return await answered("sample", body, house, waits=False)
    sample = SampleRequest.model_validate({**body, "prompt": with_chunk_types(body.get("prompt"))})
    known = house.desk.repeated(asked_before(sample))
    if known is not None:
        return future_answer(known, None, sample.num_samples)
    prompt = read_prompt(sample.prompt, house.facts)
    check_amount(1, len(prompt), house.settings)
    return submitted(house, sample_ask(house, sample, prompt), sample.num_samples)


async def _forward(request: Request, house: House, path: str) -> Response:
    raw, kind = await request.body(), _content_type(request)
    body = None if _is_protobuf(kind) else await parsed(raw, json_body)
    if not is_official(path, kind, body):
        assert body is not None
        return await answered(path, body, house, waits=True)
    return await _official_forward(raw, body, house)


async def _official_forward(raw: bytes, body: dict[str, Any] | None, house: House) -> Response:
    def read(raw: bytes) -> ForwardBackwardRequest:
        return decode_forward_backward(raw) if body is None else read_forward_backward(body)

    call = await parsed(raw, read)
    known = house.desk.repeated(train_key(call.model_id, call.seq_id))
    if known is not None:
        return future_answer(known, call.model_id)
    house.models.live_run(call.model_id)
    tokens = sum(datum.model_input.length for datum in call.data)
    check_amount(len(call.data), tokens, house.settings)
    examples = await parsed(raw, lambda _: read_examples(call, house.facts))
    return submitted(house, forward_backward_ask(call, examples))


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "")


def _is_protobuf(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() == CONTENT_TYPE
