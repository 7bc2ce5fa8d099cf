"""Sampling sessions and the weights they draw from."""

from __future__ import annotations

import time

from fastapi import APIRouter
from fastapi.responses import Response

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.answers import answer
from tinker_nb.server.intake.saving import sampler_name
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.store.records import SamplerRow
from tinker_nb.wire.requests import CreateSamplingSessionRequest
from tinker_nb.wire.responses import CreateSamplingSessionResponse, GetSamplerResponse

router = APIRouter(prefix="/api/v1")


@router.post("/create_sampling_session")
async def create_sampling_session(body: CreateSamplingSessionRequest, house: TheHouse) -> Response:
    """Begin to sample from the base model or from a checkpoint."""
    house.models.check_session(body.session_id)
    directory = None
    if body.base_model is not None:
        house.models.check_base(body.base_model)
    if body.model_path is not None:
        directory = house.models.sampled_checkpoint(body.model_path).directory
    elif body.base_model is None:
        raise InvalidInputError("Give a base_model or a model_path to sample from.")
    row = SamplerRow(
        sampler_id=sampler_name(body.session_id, body.sampling_session_seq_id),
        session_id=body.session_id,
        base_model=house.facts.name,
        model_path=body.model_path,
        directory=directory,
        created_at=time.time(),
    )
    house.records.add(row)
    return answer(CreateSamplingSessionResponse(sampling_session_id=row.sampler_id))


@router.get("/samplers/{sampler_id}")
async def get_sampler(sampler_id: str, house: TheHouse) -> Response:
    """Describe a sampling session."""
    row = house.models.sampler(sampler_id)
    return answer(
        GetSamplerResponse(
            sampler_id=row.sampler_id, base_model=row.base_model, model_path=row.model_path
        )
    )
