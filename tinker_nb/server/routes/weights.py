"""Weights to files and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.guards.limits import check_metadata
from tinker_nb.server.house import House
from tinker_nb.server.intake.asks import train_key
from tinker_nb.server.intake.saving import (
    load_ask,
    model_key,
    new_model_id,
    save_external_ask,
    save_sampler_ask,
    save_weights_ask,
)
from tinker_nb.server.intake.tickets import Ask
from tinker_nb.server.routes.common import TheHouse, future_answer, json_body, submitted
from tinker_nb.server.routes.quickstart import answered
from tinker_nb.server.store.tables import RunRow
from tinker_nb.wire.quickstart import is_official
from tinker_nb.wire.requests import (
    LoadWeightsRequest,
    SaveWeightsExternalRequest,
    SaveWeightsForSamplerRequest,
    SaveWeightsRequest,
)

router = APIRouter(prefix="/api/v1")


@router.post("/save_weights")
async def save_weights(request: Request, house: TheHouse) -> Response:
    """Keep a model's weights and its optimizer's state, to train on from."""
    body = json_body(await request.body())
    if not is_official("save_weights", "", body):
        return await answered("save_weights", body, house, waits=True)
    return _saved(house, SaveWeightsRequest.model_validate(body), save_weights_ask)


@router.post("/save_weights_external")
async def save_weights_external(body: SaveWeightsExternalRequest, house: TheHouse) -> Response:
    """Keep a model's weights as files to download."""
    return _saved(house, body, save_external_ask)


@router.post("/save_weights_for_sampler")
async def save_weights_for_sampler(request: Request, house: TheHouse) -> Response:
    """Keep a model's weights for sampling, under a name or for one sampling session."""
    body = json_body(await request.body())
    if not is_official("save_weights_for_sampler", "", body):
        return await answered("save_weights_for_sampler", body, house, waits=True)
    save = SaveWeightsForSamplerRequest.model_validate(body)
    if (save.path is None) == (save.sampling_session_seq_id is None):
        raise InvalidInputError("Give either a path or a sampling_session_seq_id.")
    return _saved(house, save, save_sampler_ask)


@router.post("/load_weights")
async def load_weights(request: Request, house: TheHouse) -> Response:
    """Put a checkpoint's weights into a model, or make a new model of them."""
    body = json_body(await request.body())
    if not is_official("load_weights", "", body):
        return await answered("load_weights", body, house, waits=True)
    load = LoadWeightsRequest.model_validate(body)
    model_id, key = _loaded(load)
    known = house.desk.repeated(key)
    if known is not None:
        return future_answer(known, model_id)
    check_metadata("user_metadata", load.user_metadata, house.settings)
    return submitted(house, load_ask(house, load))


def _loaded(body: LoadWeightsRequest) -> tuple[str | None, str | None]:
    """Return which model is meant, and the key under which a repeat is known."""
    if body.model_id is not None:
        return body.model_id, train_key(body.model_id, body.seq_id)
    if body.session_id is None or body.model_seq_id is None:
        return None, None
    model_id = new_model_id(body.session_id, body.model_seq_id)
    return model_id, model_key(model_id)


def _saved(house: House, body: Any, make: Callable[[House, RunRow, Any], Ask]) -> Response:
    known = house.desk.repeated(train_key(body.model_id, body.seq_id))
    if known is not None:
        return future_answer(known, body.model_id)
    metadata = getattr(body, "user_metadata", None)
    check_metadata("user_metadata", metadata, house.settings)
    return submitted(house, make(house, house.models.live_run(body.model_id), body))
