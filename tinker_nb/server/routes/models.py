"""Models: making, describing and dropping them."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from tinker_nb.server.answers import answer
from tinker_nb.server.engine.work import CreateAdapter
from tinker_nb.server.guards.limits import check_metadata
from tinker_nb.server.intake.asks import create_ask, remove_ask, train_key
from tinker_nb.server.intake.saving import model_key, new_model_id
from tinker_nb.server.routes.common import TheHouse, future_answer, submitted
from tinker_nb.wire.requests import CreateModelRequest, GetInfoRequest, UnloadModelRequest
from tinker_nb.wire.responses import GetInfoResponse, ModelData

router = APIRouter()


@router.post("/api/v1/create_model")
async def create_model(body: CreateModelRequest, house: TheHouse) -> Response:
    """Make a LoRA model."""
    model_id = new_model_id(body.session_id, body.model_seq_id)
    known = house.desk.repeated(model_key(model_id))
    if known is not None:
        return future_answer(known, model_id)
    house.models.check_session(body.session_id)
    house.models.check_base(body.base_model)
    house.models.check_optimizer(body.optimizer_config)
    check_metadata("user_metadata", body.user_metadata, house.settings)
    spec = house.models.spec(body.lora_config)
    run = house.models.new_run(model_id, spec, body.session_id, body.user_metadata)
    result = {"model_id": model_id, "type": "create_model"}
    ask = create_ask(run, CreateAdapter(model_id, spec), model_key(model_id), result)
    return submitted(house, ask)


@router.post("/api/v1/unload_model")
async def unload_model(body: UnloadModelRequest, house: TheHouse) -> Response:
    """Drop a model once what was asked of it before is done."""
    key = train_key(body.model_id, body.seq_id)
    known = house.desk.repeated(key)
    if known is not None:
        return future_answer(known, body.model_id)
    house.models.live_run(body.model_id)
    house.models.unload(body.model_id)
    result = {"model_id": body.model_id, "type": "unload_model"}
    return submitted(house, remove_ask(body.model_id, key, result))


@router.post("/get_info")
@router.post("/api/v1/get_info")
async def get_info(body: GetInfoRequest, house: TheHouse) -> Response:
    """Describe a model."""
    run, facts = house.models.live_run(body.model_id), house.facts
    return answer(
        GetInfoResponse(
            model_id=run.model_id,
            model_data=ModelData(
                arch=facts.arch, model_name=facts.name, tokenizer_id=str(facts.directory)
            ),
            is_lora=True,
            lora_rank=run.rank,
            model_name=facts.name,
            restored=run.restored,
        )
    )
