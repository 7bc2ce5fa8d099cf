"""Requests of both dialects to what the desk takes in: work, lane, and how the result is kept."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinker_nb.server.desk import Ask, Render
from tinker_nb.server.engine.work import (
    CreateAdapter,
    Example,
    ForwardBackward,
    LiveWeights,
    OptimStep,
    RemoveAdapter,
    Sample,
    SampleMany,
    SaveAdapter,
    WeightsSource,
)
from tinker_nb.server.house import House
from tinker_nb.server.models import checkpoint_weights, sampler_weights
from tinker_nb.server.store.futures import Stored, json_result
from tinker_nb.server.store.records import CheckpointRow, RunRow, SamplerRow
from tinker_nb.wire.losses import loss_settings
from tinker_nb.wire.params import AdamParams
from tinker_nb.wire.paths import CheckpointKind, TinkerPath, check_name
from tinker_nb.wire.protobuf import ForwardBackwardRequest, encode_output, encode_sample
from tinker_nb.wire.requests import SampleRequest, SaveWeightsForSamplerRequest

_SAMPLER_WEIGHTS: CheckpointKind = "sampler_weights"


def train_key(model_id: str, seq_id: int | None) -> str | None:
    """Return the key under which a repeat of a training request is known."""
    return None if seq_id is None else f"train:{model_id}:{seq_id}"


def sample_key(request: SampleRequest) -> str | None:
    """Return the key under which a repeat of a sampling request is known."""
    if request.sampling_session_id is None or request.seq_id is None:
        return None
    return f"sample:{request.sampling_session_id}:{request.seq_id}"


def as_json(make: Callable[[Any], dict[str, Any]]) -> Render:
    """Return how to keep a result as a JSON object."""
    return lambda result: json_result(make(result))


def create_ask(work: CreateAdapter, key: str | None, result: dict[str, Any]) -> Ask:
    """Make a model."""
    return Ask("CreateModel", work.model_id, work, as_json(lambda _: result), work.model_id, key)


def remove_ask(model_id: str, result: dict[str, Any]) -> Ask:
    """Drop a model."""
    work = RemoveAdapter(model_id)
    return Ask("UnloadModel", model_id, work, as_json(lambda _: result), model_id)


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
        render=render or (lambda output: Stored("forward_backward", encode_output(output))),
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


def sample_ask(house: House, request: SampleRequest, prompt: Any) -> Ask:
    """Draw from whatever the request names."""
    weights, lane = _named_weights(house, request)
    work = Sample(
        weights,
        prompt,
        request.sampling_params,
        request.num_samples,
        bool(request.prompt_logprobs),
        request.topk_prompt_logprobs,
    )
    cost = _sample_cost(house, work)
    key = sample_key(request)
    return Ask("Sample", lane, work, _keep_sample, None, key, cost)


def _keep_sample(response: Any) -> Stored:
    return Stored("sample", encode_sample(response))


def _named_weights(house: House, request: SampleRequest) -> tuple[WeightsSource, str]:
    if request.sampling_session_id is not None:
        sampler = house.models.sampler(request.sampling_session_id)
        return sampler_weights(sampler), sampler.sampler_id
    if request.model_path is not None:
        checkpoint = house.models.checkpoint(request.model_path)
        return checkpoint_weights(checkpoint), checkpoint.path
    house.models.check_base(request.base_model or "")
    return None, "base"


def chat_sample_ask(house: House, model_id: str | None, requests: list[Sample], make: Any) -> Ask:
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


def save_ask(house: House, run: RunRow, request: SaveWeightsForSamplerRequest) -> Ask:
    """Keep a model's weights for sampling, under a name or for one sampling session."""
    # A directory of its own for every save: whoever draws from an older one is not disturbed.
    directory = house.home.checkpoints / secrets.token_hex(12)
    name = directory.name if request.path is None else check_name(request.path)
    path = str(TinkerPath(run.model_id, _SAMPLER_WEIGHTS, name))

    def keep(size: int) -> dict[str, Any]:
        house.records.replace(_checkpoint_row(path, run, request, directory, size))
        if request.path is not None:
            return {"path": path, "type": "save_weights_for_sampler"}
        sampler = _sampler_row(run, request, str(directory))
        if sampler.follows is not None:
            house.records.follow(sampler.follows, str(directory))
        house.records.add(sampler)
        return {
            "path": None,
            "sampling_session_id": sampler.sampler_id,
            "type": "save_weights_for_sampler",
        }

    work = SaveAdapter(run.model_id, directory)
    key = train_key(run.model_id, request.seq_id)
    return Ask("SaveWeightsForSampler", run.model_id, work, as_json(keep), run.model_id, key)


def _checkpoint_row(
    path: str, run: RunRow, request: SaveWeightsForSamplerRequest, directory: Path, size: int
) -> CheckpointRow:
    return CheckpointRow(
        path=path,
        model_id=run.model_id,
        kind=_SAMPLER_WEIGHTS,
        directory=str(directory),
        size_bytes=size,
        created_at=time.time(),
        ephemeral=request.path is None,
        user_metadata=dict(request.user_metadata or {}),
    )


def _sampler_row(run: RunRow, request: SaveWeightsForSamplerRequest, directory: str) -> SamplerRow:
    owner = run.session_id or run.model_id
    return SamplerRow(
        sampler_id=sampler_name(owner, request.sampling_session_seq_id),
        session_id=owner,
        base_model=run.base_model,
        directory=directory,
        follows=run.model_id if request.kind == "inflight" else None,
        created_at=time.time(),
    )


def sampler_name(session_id: str, number: int | None) -> str:
    """Return a sampling session's id; a repeated number gives the same id."""
    return f"{session_id}:sample:{secrets.token_hex(8) if number is None else number}"
