"""Checkpoints: listing, publishing, keeping, copying and deleting them."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import JSONResponse, Response

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.answers import answer
from tinker_nb.server.guards.limits import check_words
from tinker_nb.server.house import House
from tinker_nb.server.routes.asked import (
    LongPage,
    NamedCheckpoint,
    TheListing,
    found_checkpoint,
    named_run,
)
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.shelf.copying import Order, copied_run, copy_checkpoint, own_session
from tinker_nb.server.shelf.described import checkpoint, weights_info
from tinker_nb.server.shelf.expiry import check_ttl, expiry
from tinker_nb.server.shelf.trash import discard
from tinker_nb.server.store.ending import Endings
from tinker_nb.server.store.tables import CheckpointRow, SessionRow
from tinker_nb.wire import rest
from tinker_nb.wire.base import build_models
from tinker_nb.wire.rest import (
    CheckpointsListResponse,
    CheckpointTtlRequest,
    CopyWeightsRequest,
    CopyWeightsResponse,
    Cursor,
    WeightsInfoRequest,
)

build_models(rest)

router = APIRouter(prefix="/api/v1")
_ONE = "/training_runs/{model_id}/checkpoints/{kind}/{name}"
_MOST_NUMBER = 2**53


@router.get("/checkpoints")
async def checkpoints(listing: TheListing, page: LongPage) -> Response:
    """List the checkpoints of all runs, newest first."""
    rows, total = listing.checkpoints(page, time.time())
    cursor = Cursor(offset=page.offset, limit=page.limit, total_count=total)
    shown = [checkpoint(row) for row in rows]
    return answer(CheckpointsListResponse(checkpoints=shown, cursor=cursor))


@router.delete(_ONE)
async def delete_checkpoint(row: NamedCheckpoint, house: TheHouse) -> Response:
    """Delete a checkpoint for good; who samples from it hears so with the next request."""
    # The row first: a row without files would promise what is not there.
    removed = Endings(house.database).remove(row.path)
    if removed is not None:
        await asyncio.to_thread(discard, house.home.checkpoints, removed.directory)
    return JSONResponse({})


# To a repeat the hosted service says 409, which its own SDK takes for "try again" and does so for
# minutes; the protocol's other word for what makes no sense is 400.


@router.post(f"{_ONE}/publish")
async def publish(row: NamedCheckpoint, house: TheHouse) -> Response:
    """Mark a checkpoint as public; whoever has the key could read it before."""
    if row.public:
        raise InvalidInputError(f"{row.path} is public already.")
    return _changed(house, row, public=True)


@router.delete(f"{_ONE}/publish")
async def unpublish(row: NamedCheckpoint, house: TheHouse) -> Response:
    """Mark a checkpoint as not public."""
    if not row.public:
        raise InvalidInputError(f"{row.path} is not public.")
    return _changed(house, row, public=False)


@router.put(f"{_ONE}/ttl")
async def keep(body: CheckpointTtlRequest, row: NamedCheckpoint, house: TheHouse) -> Response:
    """Say how long a checkpoint is kept from now on."""
    return _changed(house, row, expires_at=expiry(body.ttl_seconds, time.time()))


@router.post("/weights_info")
async def info(body: WeightsInfoRequest, house: TheHouse, listing: TheListing) -> Response:
    """Say what must be known to load a checkpoint."""
    row = found_checkpoint(listing, body.tinker_path)
    return answer(weights_info(named_run(house, row.model_id)))


@router.post("/copy_weights")
async def copy_weights(
    body: CopyWeightsRequest,
    house: TheHouse,
    listing: TheListing,
    x_idempotency_key: Annotated[str | None, Header()] = None,
) -> Response:
    """Copy a checkpoint into a run of its own.

    The header with a token for somebody else's weights is not read: there is nobody else here.
    """
    source = found_checkpoint(listing, body.source_path)
    order = _order(house, source, body, x_idempotency_key)
    return answer(
        CopyWeightsResponse(tinker_path=await asyncio.to_thread(copy_checkpoint, house, order))
    )


def _order(house: House, source: CheckpointRow, body: CopyWeightsRequest, key: str | None) -> Order:
    """Read where a copy goes: into a session that is there, or into one of its own."""
    check_ttl(body.ttl_seconds)
    check_words("destination_project_id", body.destination_project_id)
    session = None
    if body.session_id is None:
        session = own_session(source, body.destination_project_id, key)
    session_id = body.session_id if session is None else session.session_id
    assert session_id is not None
    run = copied_run(named_run(house, source.model_id), source, session_id, _number(house, body))
    return Order(source, run, session, expiry(body.ttl_seconds, time.time()))


def _number(house: House, body: CopyWeightsRequest) -> int:
    if (body.session_id is None) is not (body.model_seq_id is None):
        raise InvalidInputError("Give session_id and model_seq_id together, or neither.")
    if body.session_id is None or body.model_seq_id is None:
        return 0
    if house.records.get(SessionRow, body.session_id) is None:
        raise UnknownNameError(f"There is no session {body.session_id!r}; create one first.")
    if not 0 <= body.model_seq_id <= _MOST_NUMBER:
        raise InvalidInputError(f"model_seq_id is {body.model_seq_id}; give 0 or more.")
    return body.model_seq_id


def _changed(house: House, row: CheckpointRow, **values: object) -> Response:
    if not house.records.change(CheckpointRow, row.path, **values):
        raise UnknownNameError(f"There is no checkpoint {row.path}.")
    return JSONResponse({})
