"""Saving and loading weights: what is asked of the engine, and what is recorded with the result."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Executable

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.engine.work import LoadAdapter, SaveAdapter
from tinker_nb.server.house import House
from tinker_nb.server.intake.asks import as_json, train_key
from tinker_nb.server.intake.models import has_expired
from tinker_nb.server.intake.tickets import Ask
from tinker_nb.server.shelf.expiry import check_ttl, expiry
from tinker_nb.server.store.futures import Kept, json_result
from tinker_nb.server.store.records import adding, following, removing, replacing
from tinker_nb.server.store.tables import CheckpointRow, RunRow, SamplerRow
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.paths import CheckpointKind, TinkerPath, check_name
from tinker_nb.wire.requests import (
    LoadWeightsRequest,
    SaveWeightsExternalRequest,
    SaveWeightsForSamplerRequest,
    SaveWeightsRequest,
)
from tinker_nb.wire.results import (
    LoadWeightsResponse,
    SaveWeightsExternalResponse,
    SaveWeightsForSamplerResponse,
    SaveWeightsResponse,
)

_KINDS: dict[CheckpointKind, str] = {
    "weights": "SaveWeights",
    "sampler_weights": "SaveWeightsForSampler",
    "external_weights": "SaveWeightsExternal",
}


@dataclass(frozen=True)
class Save:
    """A checkpoint to be written."""

    run: RunRow
    seq_id: int | None
    kind: CheckpointKind
    name: str
    folder: str
    ttl_seconds: int | None
    user_metadata: Mapping[str, Any]
    ephemeral: bool = False

    @property
    def path(self) -> str:
        """The checkpoint's path."""
        return str(TinkerPath(self.run.model_id, self.kind, self.name))

    def row(self, size: int) -> CheckpointRow:
        """Return the checkpoint's row; it begins to be now."""
        now = time.time()
        return CheckpointRow(
            path=self.path,
            model_id=self.run.model_id,
            kind=self.kind,
            directory=self.folder,
            size_bytes=size,
            created_at=now,
            ephemeral=self.ephemeral,
            expires_at=expiry(self.ttl_seconds, now),
            user_metadata=dict(self.user_metadata),
        )


def save_weights_ask(house: House, run: RunRow, request: SaveWeightsRequest) -> Ask:
    """Keep a model's weights and its optimizer's state, to train on from."""
    save = _named(run, "weights", request, dict(request.user_metadata or {}))
    if not request.overwrite:
        _refuse_taken(house, save)
    return _ask(house, save, lambda size: _kept(save, size, SaveWeightsResponse(path=save.path)))


def save_external_ask(house: House, run: RunRow, request: SaveWeightsExternalRequest) -> Ask:
    """Keep a model's weights as files to download."""
    if request.age_encryption_recipients:
        raise InvalidInputError("This server does not encrypt exports; leave out the recipients.")
    save = _named(run, "external_weights", request, {})

    def keep(size: int) -> Kept:
        answer = SaveWeightsExternalResponse(path=save.path, size_bytes=size)
        return _kept(save, size, answer)

    return _ask(house, save, keep)


def save_sampler_ask(house: House, run: RunRow, request: SaveWeightsForSamplerRequest) -> Ask:
    """Keep a model's weights for sampling, under a name or for one sampling session."""
    metadata = dict(request.user_metadata or {})
    if request.path is not None:
        save = _named(run, "sampler_weights", request, metadata)
        answer = SaveWeightsForSamplerResponse(path=save.path)
        return _ask(house, save, lambda size: _kept(save, size, answer))
    name = _new_folder()
    save = Save(
        run, request.seq_id, "sampler_weights", name, name, request.ttl_seconds, metadata, True
    )
    return _ask(house, save, lambda size: _keep_session(save, size, request))


def _keep_session(save: Save, size: int, request: SaveWeightsForSamplerRequest) -> Kept:
    """Keep a sampling session with its weights; sessions in flight follow the newest."""
    run = save.run
    owner, follows = run.session_id or run.model_id, request.kind == "inflight"
    sampler = SamplerRow(
        sampler_id=sampler_name(owner, request.sampling_session_seq_id),
        session_id=owner,
        base_model=run.base_model,
        directory=save.folder,
        follows=run.model_id if follows else None,
        created_at=time.time(),
    )
    more = (following(run.model_id, save.folder),) if follows else ()
    answer = SaveWeightsForSamplerResponse(sampling_session_id=sampler.sampler_id)
    return _kept(save, size, answer, *more, adding(sampler))


def sampler_name(session_id: str, number: int | None) -> str:
    """Return a sampling session's id; a repeated number gives the same id."""
    return f"{session_id}:sample:{secrets.token_hex(8) if number is None else number}"


def load_ask(house: House, request: LoadWeightsRequest) -> Ask:
    """Put a checkpoint's weights into a model, or make a new model of them."""
    checkpoint = house.models.trained_checkpoint(request.path)
    source = house.models.run_of(checkpoint)
    if request.optimizer and checkpoint.kind != "weights":
        raise InvalidInputError(
            f"{request.path} holds no optimizer state; load it without, or save with save_weights."
        )
    folder = house.home.checkpoints / checkpoint.directory
    if request.model_id is None:
        return _load_new(house, request, LoadAdapter("", folder, request.optimizer), source)
    run = house.models.live_run(request.model_id)
    if _shape(run) != _shape(source):
        raise InvalidInputError(
            f"{request.path} has rank {source.rank} and trains {source.groups}; the model "
            f"{run.model_id} has rank {run.rank} and trains {run.groups}. Make a new model of it."
        )
    work = LoadAdapter(run.model_id, folder, request.optimizer)
    answer = LoadWeightsResponse(path=request.path, model_id=run.model_id).to_wire()
    key = train_key(run.model_id, request.seq_id)
    render = as_json(lambda _: answer)
    return Ask("LoadWeights", run.model_id, work, render, run.model_id, key)


def told(ask: Ask, **more: str) -> Ask:
    """Return the same request with more said in its result."""

    def render(result: Any) -> Kept:
        kept = ask.render(result)
        body = {**json.loads(kept.stored.body), **more}
        return Kept(json_result(body), kept.writes)

    return replace(ask, render=render)


def new_model_id(session_id: str, model_seq_id: int) -> str:
    """Return a model's id, which the official SDK computes for itself too."""
    return f"{session_id}:train:{model_seq_id}"


def model_key(model_id: str) -> str:
    """Return the key under which a repeat of a model's creation is known."""
    return f"model:{model_id}"


def _load_new(house: House, request: LoadWeightsRequest, work: LoadAdapter, source: RunRow) -> Ask:
    if request.session_id is None or request.model_seq_id is None:
        raise InvalidInputError("Give a model_id, or a session_id with a model_seq_id.")
    house.models.check_session(request.session_id)
    if request.base_model is not None:
        house.models.check_base(request.base_model)
    house.models.check_optimizer(request.optimizer_config)
    model_id = new_model_id(request.session_id, request.model_seq_id)
    run = house.models.like(source, model_id, request.session_id, request.user_metadata)
    answer = LoadWeightsResponse(path=request.path, model_id=model_id).to_wire()
    return Ask(
        "LoadWeights",
        model_id,
        LoadAdapter(model_id, work.directory, work.optimizer),
        as_json(lambda _: answer),
        model_id,
        model_key(model_id),
        writes=(adding(run),),
        undo=(removing(RunRow, model_id),),
    )


def _shape(run: RunRow) -> tuple[int, float, str]:
    return run.rank, run.alpha, run.groups


def _named(
    run: RunRow,
    kind: CheckpointKind,
    request: SaveWeightsRequest | SaveWeightsExternalRequest | SaveWeightsForSamplerRequest,
    metadata: Mapping[str, Any],
) -> Save:
    name, ttl = check_name(request.path or ""), check_ttl(request.ttl_seconds)
    # A folder of its own for every save: whoever draws from an older one is not disturbed.
    return Save(run, request.seq_id, kind, name, _new_folder(), ttl, metadata)


def _new_folder() -> str:
    return secrets.token_hex(12)


def _refuse_taken(house: House, save: Save) -> None:
    row = house.records.get(CheckpointRow, save.path)
    taken = row is not None and not has_expired(row, time.time())
    if taken or house.desk.is_asked(lambda ask: ask.makes == save.path):
        raise InvalidInputError(
            f"There is a checkpoint {save.name!r} of this model already; give another name, or "
            "overwrite it."
        )


def _ask(house: House, save: Save, keep: Any) -> Ask:
    run = save.run
    directory = house.home.checkpoints / save.folder
    work = SaveAdapter(run.model_id, directory, optimizer=save.kind == "weights")
    key = train_key(run.model_id, save.seq_id)
    kind = _KINDS[save.kind]
    return Ask(kind, run.model_id, work, keep, run.model_id, key, makes=save.path)


def _kept(save: Save, size: int, answer: WireModel, *writes: Executable) -> Kept:
    # The official SDK asks for a null path where there is none.
    body = {"path": None, **answer.to_wire()}
    return Kept(json_result(body), (replacing(save.row(size)), *writes))
