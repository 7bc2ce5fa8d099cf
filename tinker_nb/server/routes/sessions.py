"""Sessions."""

from __future__ import annotations

import secrets
import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from tinker_nb.errors import UnknownNameError
from tinker_nb.server.answers import answer
from tinker_nb.server.house import House
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.store.records import SessionRow, new_session
from tinker_nb.wire.requests import (
    CreateSessionRequest,
    FinishSessionRequest,
    SessionHeartbeatRequest,
)
from tinker_nb.wire.responses import CreateSessionResponse

router = APIRouter(prefix="/api/v1")


@router.post("/create_session")
async def create_session(body: CreateSessionRequest, house: TheHouse) -> Response:
    """Begin a session."""
    row = new_session(
        secrets.token_urlsafe(16),
        tags=",".join(body.tags),
        display_name=body.display_name,
        user_metadata=body.user_metadata or {},
    )
    house.records.add(row)
    return answer(CreateSessionResponse(session_id=row.session_id))


@router.post("/session_heartbeat")
async def session_heartbeat(body: SessionHeartbeatRequest, house: TheHouse) -> Response:
    """Hear that a session's client lives."""
    _change(house, body.session_id, "heartbeat_at")
    return JSONResponse({"type": "session_heartbeat"})


@router.post("/sessions/{session_id}/finish")
async def finish_session(session_id: str, _: FinishSessionRequest, house: TheHouse) -> Response:
    """Hear that a session's client is done."""
    _change(house, session_id, "finished_at")
    return JSONResponse({})


def _change(house: House, session_id: str, column: str) -> None:
    if not house.records.change(SessionRow, session_id, **{column: time.time()}):
        raise UnknownNameError(f"There is no session {session_id!r}.")
