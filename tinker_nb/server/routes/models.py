"""Models: making, describing, listing and dropping them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.answers import answer
from tinker_nb.server.asks import create_ask, remove_ask
from tinker_nb.server.engine.work import CreateAdapter
from tinker_nb.server.house import House
from tinker_nb.server.routes.common import TheHouse, future_answer, submitted
from tinker_nb.server.store.records import RunRow
from tinker_nb.wire.requests import CreateModelRequest, GetInfoRequest
from tinker_nb.wire.responses import GetInfoResponse, ModelData

router = APIRouter(prefix="/api/v1")


@router.post("/create_model")
async def create_model(body: CreateModelRequest, house: TheHouse) -> Response:
    """Make a LoRA model."""
    model_id = f"{body.session_id}:train:{body.model_seq_id}"
    key = f"model:{model_id}"
    known = house.desk.repeated(key)
    if known is not None:
        return future_answer(known, model_id)
    house.models.check_session(body.session_id)
    house.models.check_base(body.base_model)
    if body.optimizer_config.type != "adamw":
        raise InvalidInputError("This server has the optimizer 'adamw' only.")
    spec = house.models.spec(body.lora_config)
    house.models.add_run(model_id, spec, body.session_id, body.user_metadata)
    result = {"model_id": model_id, "type": "create_model"}
    return submitted(house, create_ask(CreateAdapter(model_id, spec), key, result))


@router.post("/unload_model")
async def unload_model(body: GetInfoRequest, house: TheHouse) -> Response:
    """Drop a model once what was asked of it before is done."""
    house.models.live_run(body.model_id)
    house.models.unload(body.model_id)
    result = {"model_id": body.model_id, "type": "unload_model"}
    return submitted(house, remove_ask(body.model_id, result))


@router.post("/get_info")
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
        )
    )


@router.get("/training_runs")
async def training_runs(
    house: TheHouse,
    limit: int = Query(default=20, ge=1, le=1000),
    offset: int = Query(default=0, ge=0, le=2**31),
) -> Response:
    """List the models that were ever made, newest first."""
    runs, total = house.records.runs(limit, offset)
    cursor = {"offset": offset, "limit": limit, "total_count": total}
    rows = [_described(house, run) for run in runs]
    return JSONResponse({"training_runs": rows, "cursor": cursor})


@router.get("/training_runs/{model_id}")
async def training_run(model_id: str, house: TheHouse) -> Response:
    """Describe a model that was ever made."""
    run = house.records.get(RunRow, model_id)
    if run is None:
        raise UnknownNameError(f"There is no training run {model_id!r}.")
    return JSONResponse(_described(house, run))


def _described(house: House, run: RunRow) -> dict[str, Any]:
    last = house.records.last_request(run.model_id) or run.created_at
    return {
        "training_run_id": run.model_id,
        "base_model": run.base_model,
        "model_owner": "local",
        "is_lora": True,
        "lora_rank": run.rank,
        "corrupted": run.state == "lost",
        "last_request_time": datetime.fromtimestamp(last, UTC).isoformat(),
        "user_metadata": run.user_metadata,
    }
