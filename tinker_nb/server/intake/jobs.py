"""The quick-start dialect's jobs: a JSON body to what the desk takes in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from tinker_nb.server.engine.work import CreateAdapter, Sample
from tinker_nb.server.guards.limits import check_amount
from tinker_nb.server.house import House
from tinker_nb.server.intake.asks import (
    as_json,
    chat_sample_ask,
    chat_weights,
    create_ask,
    forward_backward_ask,
    optim_ask,
    remove_ask,
)
from tinker_nb.server.intake.chat import (
    chat_datums,
    chat_prompts,
    chat_sampling_params,
    loss_result,
    sample_result,
    step_result,
)
from tinker_nb.server.intake.checks import read_examples
from tinker_nb.server.intake.saving import load_ask, save_sampler_ask, save_weights_ask, told
from tinker_nb.server.intake.tickets import Ask
from tinker_nb.wire.params import AdamParams, LoraConfig
from tinker_nb.wire.protobuf import ForwardBackwardRequest
from tinker_nb.wire.quickstart import (
    AddLoraRequest,
    ChatForwardBackwardRequest,
    ChatLoadRequest,
    ChatOptimStepRequest,
    ChatSampleRequest,
    ChatSaveRequest,
    RemoveLoraRequest,
)
from tinker_nb.wire.requests import (
    LoadWeightsRequest,
    SaveWeightsForSamplerRequest,
    SaveWeightsRequest,
)

Body = dict[str, Any]
#: Returns what the desk takes in for a body; may take as long as tokenizing takes.
Job = Callable[[Body, House], Ask]


def add_lora(body: Body, house: House) -> Ask:
    """Make a LoRA model."""
    request = AddLoraRequest.model_validate(body)
    house.models.check_base(request.base_model)
    spec = house.models.spec(LoraConfig(rank=request.rank), request.alpha)
    model_id = f"{house.facts.name}_lora_{secrets.token_hex(4)}"
    run = house.models.new_run(model_id, spec)
    return create_ask(run, CreateAdapter(model_id, spec), None, {"model_id": model_id})


def remove_lora(body: Body, house: House) -> Ask:
    """Drop a LoRA model."""
    model_id = house.models.live_run(RemoveLoraRequest.from_body(body).model_id).model_id
    house.models.unload(model_id)
    return remove_ask(model_id, None, {"status": "deleted", "model_id": model_id})


def forward(body: Body, house: House) -> Ask:
    """Compute the loss of conversations."""
    return _loss(body, house, forward_only=True)


def forward_backward(body: Body, house: House) -> Ask:
    """Compute the loss of conversations and its gradients."""
    return _loss(body, house, forward_only=False)


def _loss(body: Body, house: House, *, forward_only: bool) -> Ask:
    request = ChatForwardBackwardRequest.model_validate(body)
    house.models.live_run(request.model_id)
    datums = chat_datums(request.data, house.tokenizer)
    tokens = sum(datum.model_input.length for datum in datums)
    check_amount(len(datums), tokens, house.settings)
    call = ForwardBackwardRequest(
        request.model_id, datums, request.loss_fn, forward_only=forward_only
    )
    render = as_json(lambda output: loss_result(request.model_id, request.loss_fn, output))
    return forward_backward_ask(call, read_examples(call, house.facts), render)


def optim_step(body: Body, house: House) -> Ask:
    """Apply the gradients; without any it fails, as this dialect promises."""
    request = ChatOptimStepRequest.model_validate(body)
    model_id = house.models.live_run(request.model_id).model_id
    return optim_ask(
        model_id,
        AdamParams(**request.adam_params.model_dump()),
        needs_gradients=True,
        make=lambda metrics: step_result(model_id, metrics),
    )


def sample(body: Body, house: House) -> Ask:
    """Draw texts from a model, or from the base."""
    request = ChatSampleRequest.model_validate(body)
    weights = chat_weights(house, request.model_id)
    if request.model_id is None:
        house.models.check_base(request.base_model or "base")
    params = chat_sampling_params(request.sampling_params)
    prompts = chat_prompts(request, house.tokenizer, house.facts)
    check_amount(len(prompts), sum(map(len, prompts)), house.settings)
    draws = [Sample(weights, prompt, params, request.num_samples) for prompt in prompts]
    name = request.model_id or house.facts.name

    def make(responses: Any) -> dict[str, Any]:
        return sample_result(name, responses, house.tokenizer)

    return chat_sample_ask(house, request.model_id, draws, make)


def save_weights(body: Body, house: House) -> Ask:
    """Keep a model's weights and its optimizer's state; a name is made up where none is given."""
    request = ChatSaveRequest.model_validate(body)
    save = SaveWeightsRequest(
        model_id=request.model_id, path=_name(request), overwrite=request.overwrite
    )
    run = house.models.live_run(request.model_id)
    return told(save_weights_ask(house, run, save), status="saved", model_id=run.model_id)


def save_weights_for_sampler(body: Body, house: House) -> Ask:
    """Keep a model's weights for sampling; a name is made up where none is given."""
    request = ChatSaveRequest.model_validate(body)
    save = SaveWeightsForSamplerRequest(model_id=request.model_id, path=_name(request))
    run = house.models.live_run(request.model_id)
    return told(save_sampler_ask(house, run, save), status="saved", model_id=run.model_id)


def load_weights(body: Body, house: House) -> Ask:
    """Put a checkpoint's weights into a model."""
    request = ChatLoadRequest.model_validate(body)
    load = LoadWeightsRequest(
        model_id=request.model_id, path=request.path, optimizer=request.optimizer
    )
    return told(load_ask(house, load), status="loaded", model_id=request.model_id)


def _name(request: ChatSaveRequest) -> str:
    return request.path or f"save-{secrets.token_hex(4)}"


JOBS: dict[str, Job] = {
    "add_lora": add_lora,
    "remove_lora": remove_lora,
    "forward": forward,
    "forward_backward": forward_backward,
    "optim_step": optim_step,
    "sample": sample,
    "save_weights": save_weights,
    "save_weights_for_sampler": save_weights_for_sampler,
    "load_weights": load_weights,
}
