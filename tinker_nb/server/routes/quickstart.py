"""The quick-start dialect: each job as a waiting path and as one that answers with a future."""

from __future__ import annotations

import secrets
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tinker_nb.server.answers import refusal, waited_response
from tinker_nb.server.asks import (
    as_json,
    chat_sample_ask,
    chat_weights,
    create_ask,
    forward_backward_ask,
    optim_ask,
    remove_ask,
)
from tinker_nb.server.chat import (
    chat_datums,
    chat_prompts,
    chat_sampling_params,
    loss_result,
    sample_result,
    step_result,
)
from tinker_nb.server.checks import read_examples
from tinker_nb.server.desk import Ask, Waiting
from tinker_nb.server.engine.work import CreateAdapter, Sample
from tinker_nb.server.house import House
from tinker_nb.server.routes.common import TheHouse, json_body, parsed, submitted
from tinker_nb.wire.params import AdamParams, LoraConfig
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.quickstart import (
    AddLoraRequest,
    ChatForwardBackwardRequest,
    ChatOptimStepRequest,
    ChatSampleRequest,
    RemoveLoraRequest,
)

router = APIRouter(prefix="/api/v1")


async def _answered(house: House, ask: Ask, *, waits: bool) -> Response:
    """Answer with the result, or at once with a future."""
    if not waits:
        return submitted(house, ask)
    outcome = await house.desk.wait(house.desk.submit(ask), hold=None)
    if outcome is None or isinstance(outcome, Waiting):
        return refusal(503, "The server stops; submit the request again when it is back.")
    return waited_response(outcome)


async def forward(
    body: dict[str, Any], house: House, *, forward_only: bool, waits: bool
) -> Response:
    """Compute the loss of conversations and, unless ``forward_only``, its gradients."""
    request = ChatForwardBackwardRequest.model_validate(body)
    house.models.live_run(request.model_id)
    datums = chat_datums(request.data, house.tokenizer)
    call = ForwardBackwardRequest(
        request.model_id, datums, request.loss_fn, forward_only=forward_only
    )
    render = as_json(lambda output: loss_result(request.model_id, request.loss_fn, output))
    ask = forward_backward_ask(call, read_examples(call, house.facts), render)
    return await _answered(house, ask, waits=waits)


async def optim_step(body: dict[str, Any], house: House, *, waits: bool) -> Response:
    """Apply the gradients; without any it fails, as this dialect promises."""
    request = ChatOptimStepRequest.model_validate(body)
    model_id = house.models.live_run(request.model_id).model_id
    ask = optim_ask(
        model_id,
        AdamParams(**request.adam_params.model_dump()),
        needs_gradients=True,
        make=lambda metrics: step_result(model_id, metrics),
    )
    return await _answered(house, ask, waits=waits)


async def sample(body: dict[str, Any], house: House, *, waits: bool) -> Response:
    """Draw texts from a model, or from the base."""
    request = ChatSampleRequest.model_validate(body)
    weights = chat_weights(house, request.model_id)
    if request.model_id is None:
        house.models.check_base(request.base_model or "base")
    params = chat_sampling_params(request.sampling_params)
    prompts = chat_prompts(request, house.tokenizer, house.facts)
    draws = [Sample(weights, prompt, params, request.num_samples) for prompt in prompts]
    name = request.model_id or house.facts.name

    def make(responses: Any) -> dict[str, Any]:
        return sample_result(name, responses, house.tokenizer)

    ask = chat_sample_ask(house, request.model_id, draws, make)
    return await _answered(house, ask, waits=waits)


async def _add_lora(request: Request, house: House, *, waits: bool) -> Response:
    body = AddLoraRequest.model_validate(json_body(await request.body()))
    house.models.check_base(body.base_model)
    spec = house.models.spec(LoraConfig(rank=body.rank), body.alpha)
    model_id = f"{house.facts.name}_lora_{secrets.token_hex(4)}"
    run = house.models.new_run(model_id, spec)
    ask = create_ask(run, CreateAdapter(model_id, spec), None, {"model_id": model_id})
    return await _answered(house, ask, waits=waits)


async def _remove_lora(request: Request, house: House, *, waits: bool) -> Response:
    body = RemoveLoraRequest.from_body(json_body(await request.body()))
    house.models.live_run(body.model_id)
    house.models.unload(body.model_id)
    result = {"status": "deleted", "model_id": body.model_id}
    return await _answered(house, remove_ask(body.model_id, None, result), waits=waits)


@router.post("/add_lora")
async def add_lora(request: Request, house: TheHouse) -> Response:
    """Make a LoRA model and wait for it."""
    return await _add_lora(request, house, waits=True)


@router.post("/add_lora_async")
async def add_lora_async(request: Request, house: TheHouse) -> Response:
    """Make a LoRA model."""
    return await _add_lora(request, house, waits=False)


@router.post("/remove_lora")
async def remove_lora(request: Request, house: TheHouse) -> Response:
    """Drop a LoRA model and wait for it."""
    return await _remove_lora(request, house, waits=True)


@router.post("/remove_lora_async")
async def remove_lora_async(request: Request, house: TheHouse) -> Response:
    """Drop a LoRA model."""
    return await _remove_lora(request, house, waits=False)


@router.post("/forward_async")
async def forward_async(request: Request, house: TheHouse) -> Response:
    """Compute the loss of conversations."""
    body = await parsed(await request.body(), json_body)
    return await forward(body, house, forward_only=True, waits=False)


@router.post("/forward_backward_async")
async def forward_backward_async(request: Request, house: TheHouse) -> Response:
    """Compute the loss of conversations and its gradients."""
    body = await parsed(await request.body(), json_body)
    return await forward(body, house, forward_only=False, waits=False)


@router.post("/optim_step_async")
async def optim_step_async(request: Request, house: TheHouse) -> Response:
    """Apply the gradients."""
    return await optim_step(json_body(await request.body()), house, waits=False)


@router.post("/sample")
async def sample_and_wait(request: Request, house: TheHouse) -> Response:
    """Draw texts and wait for them."""
    return await sample(json_body(await request.body()), house, waits=True)
