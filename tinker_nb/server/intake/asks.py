"""Requests of both dialects to what the desk takes in: work, lane, and how the result is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinker_nb.server.engine.work import (
    CreateAdapter,
    Example,
    ForwardBackward,
    LiveWeights,
    OptimStep,
    RemoveAdapter,
    Sample,
    SampleMany,
    SavedWeights,
    WeightsSource,
)
from tinker_nb.server.house import House
from tinker_nb.server.intake.completions import sample_key
from tinker_nb.server.intake.tickets import Ask, Render
from tinker_nb.server.store.futures import Kept, Stored, json_result
from tinker_nb.server.store.records import adding, changing, removing
from tinker_nb.server.store.tables import CheckpointRow, RunRow, SamplerRow
from tinker_nb.wire.losses import loss_settings
from tinker_nb.wire.params import AdamParams
from tinker_nb.wire.protobuf import ForwardBackwardRequest, encode_output
from tinker_nb.wire.requests import SampleRequest
from tinker_nb.wire.samples import encode_sample


def train_key(model_id: str, seq_id: int | None) -> str | None:
    """Return the key under which a repeat of a training request is known."""
    return None if seq_id is None else f"train:{model_id}:{seq_id}"


def asked_before(request: SampleRequest) -> str | None:
    """Return the key under which a repeat of a sampling request is known."""
    if request.sampling_session_id is None or request.seq_id is None:
        return None
    return sample_key(request.sampling_session_id, request.seq_id)


def as_json(make: Callable[[Any], dict[str, Any]]) -> Render:
    """Return how to keep a result as a JSON object."""
    return lambda result: Kept(json_result(make(result)))


def create_ask(run: RunRow, work: CreateAdapter, key: str | None, result: dict[str, Any]) -> Ask:
    """Make a model; where that fails there is no run either."""
    return Ask(
        "CreateModel",
        run.model_id,
        work,
        as_json(lambda _: result),
        run.model_id,
        key,
        writes=(adding(run),),
        undo=(removing(RunRow, run.model_id),),
    )


def remove_ask(model_id: str, key: str | None, result: dict[str, Any]) -> Ask:
    """Drop a model; no later request can use it."""
    gone = changing(RunRow, model_id, state="unloaded")
    work = RemoveAdapter(model_id)
    render = as_json(lambda _: result)
    return Ask("UnloadModel", model_id, work, render, model_id, key, writes=(gone,))


def forward_backward_ask(
    request: ForwardBackwardRequest,
    examples: tuple[Example, ...],
    render: Render | None = None,
) -> Ask:
    """Compute a loss; the result is kept as protobuf unless told otherwise."""
    work = ForwardBackward(
        request.model_id,
        examples,
        request.loss_fn,
        loss_settings(request.loss_fn, request.loss_fn_config),
        request.forward_only,
    )
    return Ask(
        kind="Forward" if request.forward_only else "ForwardBackward",
        lane=request.model_id,
        work=work,
        render=render or _keep_output,
        model_id=request.model_id,
        dedup_key=train_key(request.model_id, request.seq_id),
        cost=float(sum(len(example.tokens) for example in examples)),
    )


def optim_ask(
    model_id: str,
    params: AdamParams,
    seq_id: int | None = None,
    *,
    needs_gradients: bool = False,
    make: Callable[[Any], dict[str, Any]] = lambda metrics: {"metrics": metrics},
) -> Ask:
    """Apply the gradients."""
    work = OptimStep(model_id, params, needs_gradients)
    key = train_key(model_id, seq_id)
    return Ask("OptimStep", model_id, work, as_json(make), model_id, key)


def _keep_output(output: Any) -> Kept:
    return Kept(Stored("forward_backward", encode_output(output)))


def sample_ask(house: House, request: SampleRequest, prompt: Any) -> Ask:
    """Draw from whatever the request names."""
    weights, lane = _named_weights(house, request)
    targets = request.target_prompt_logprobs
    work = Sample(
        weights,
        prompt,
        request.sampling_params,
        request.num_samples,
        prompt_logprobs=bool(request.prompt_logprobs),
        topk_prompt_logprobs=request.topk_prompt_logprobs,
        prompt_logprobs_last_n=request.prompt_logprobs_last_n,
        topk_sample_logprobs=request.topk_sample_logprobs,
        target_prompt_logprobs=(
            None if targets is None else targets.to_tensor().to_numpy().astype(np.int64)
        ),
        prompt_alt_tokens_k=request.prompt_alt_tokens_k,
    )
    cost = _sample_cost(house, work)
    return Ask("Sample", lane, work, _keep_sample, None, asked_before(request), cost)


def _keep_sample(response: Any) -> Kept:
    return Kept(Stored("sample", encode_sample(response)))


def _named_weights(house: House, request: SampleRequest) -> tuple[WeightsSource, str]:
    if request.sampling_session_id is not None:
        sampler = house.models.sampler(request.sampling_session_id)
        return _in_folder(house, sampler), sampler.sampler_id
    if request.model_path is not None:
        checkpoint = house.models.sampled_checkpoint(request.model_path)
        return _in_folder(house, checkpoint), checkpoint.path
    house.models.check_base(request.base_model or "")
    return None, "base"


def _in_folder(house: House, row: SamplerRow | CheckpointRow) -> SavedWeights | None:
    return None if row.directory is None else SavedWeights(house.home.checkpoints / row.directory)


def chat_sample_ask(
    house: House, model_id: str | None, requests: Sequence[Sample], make: Any
) -> Ask:
    """Draw for the prompts of one quick-start request, in the order of its model."""
    work = SampleMany(tuple(requests))
    cost = sum(_sample_cost(house, request) for request in requests)
    lane = model_id or "base"
    return Ask("Sample", lane, work, as_json(make), model_id, None, cost)


def chat_weights(house: House, model_id: str | None) -> LiveWeights | None:
    """Return the weights of a quick-start model, or those of the base."""
    return None if model_id is None else LiveWeights(house.models.live_run(model_id).model_id)


def _sample_cost(house: House, work: Sample) -> float:
    room = house.facts.context - len(work.prompt) + 1
    return float(work.num_samples * min(work.params.max_tokens or room, room))
