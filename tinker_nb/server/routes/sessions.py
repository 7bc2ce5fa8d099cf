"""Sessions: beginning, living, ending, and finding them again."""

from __future__ import annotations

import secrets
import time

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.answers import answer
from tinker_nb.server.guards.limits import check_metadata, check_words
from tinker_nb.server.house import House
from tinker_nb.server.routes.asked import Scope, ShortPage, TheListing
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.shelf.described import metadata, session_summary
from tinker_nb.server.store.ending import Beat, Endings
from tinker_nb.server.store.listing import Holding
from tinker_nb.server.store.records import SessionRow, new_session
from tinker_nb.server.store.searching import search
from tinker_nb.wire import sessions
from tinker_nb.wire.base import build_models
from tinker_nb.wire.requests import (
    CreateSessionRequest,
    FinishSessionRequest,
    SessionHeartbeatRequest,
)
from tinker_nb.wire.responses import CreateSessionResponse
from tinker_nb.wire.sessions import (
    AssignProjectRequest,
    GetSessionResponse,
    ListSessionsResponse,
    SessionFinishReason,
    SessionSearchRequest,
    SessionSearchResponse,
)

build_models(sessions)

router = APIRouter(prefix="/api/v1")


@router.post("/create_session")
async def create_session(body: CreateSessionRequest, house: TheHouse) -> Response:
    """Begin a session."""
    check_words("tags", *body.tags)
    check_words("display_name", body.display_name)
    check_words("project_id", body.project_id)
    kept = {"tags": body.tags, "user_metadata": body.user_metadata}
    check_metadata("The session's metadata", kept, house.settings)
    row = new_session(
        secrets.token_urlsafe(16),
        tags=",".join(body.tags),
        display_name=body.display_name,
        project_id=body.project_id or None,
        user_metadata=body.user_metadata or {},
    )
    house.records.add(row)
    return answer(CreateSessionResponse(session_id=row.session_id))


@router.post("/session_heartbeat")
async def session_heartbeat(body: SessionHeartbeatRequest, house: TheHouse) -> Response:
    """Hear that a session's client lives; 410 lets one stop whose session it ended itself."""
    beat = Endings(house.database).beat(body.session_id, time.time())
    _check_known(body.session_id, beat)
    if beat == "finished":
        raise HTTPException(410, f"The session {body.session_id!r} has been finished.")
    return JSONResponse({"type": "session_heartbeat"})


@router.post("/sessions/{session_id}/finish")
async def finish_session(session_id: str, body: FinishSessionRequest, house: TheHouse) -> Response:
    """Hear that a session's client is done; the first reason stays."""
    reason = SessionFinishReason.model_validate(body.reason).type
    check_metadata("detail", body.detail, house.settings)
    beat = Endings(house.database).finish(session_id, reason, body.detail, time.time())
    _check_known(session_id, beat)
    return JSONResponse({})


@router.get("/sessions")
async def list_sessions(
    listing: TheListing, page: ShortPage, access_scope: Scope = "owned"
) -> Response:
    """List the sessions, newest first."""
    return answer(ListSessionsResponse(sessions=listing.session_ids(page)))


@router.post("/sessions/search")
async def search_sessions(
    body: SessionSearchRequest, house: TheHouse, listing: TheListing
) -> Response:
    """Find sessions, newest first."""
    rows, cursor = search(house.database.quick, body)
    held = listing.held_by_sessions([row.session_id for row in rows], time.time())
    found = [session_summary(row, held.get(row.session_id, Holding())) for row in rows]
    return answer(SessionSearchResponse(sessions=found, next_cursor=cursor))


@router.get("/sessions/{session_id}")
async def get_session(
    session_id: str, house: TheHouse, listing: TheListing, access_scope: Scope = "owned"
) -> Response:
    """Say what a session has made."""
    row = named_session(house, session_id)
    runs, samplers = listing.made_by(session_id)
    return answer(
        GetSessionResponse(
            training_run_ids=runs,
            sampler_ids=samplers,
            user_metadata=metadata(row.user_metadata),
            display_name=row.display_name,
        )
    )


@router.put("/sessions/{session_id}/project")
async def assign_project(session_id: str, body: AssignProjectRequest, house: TheHouse) -> Response:
    """Move a session, with its runs and samplers, into a project; any name is one here."""
    check_words("project_id", body.project_id)
    if not body.project_id.strip():
        raise InvalidInputError("project_id is empty; give the name of a project.")
    if not house.records.change(SessionRow, session_id, project_id=body.project_id):
        raise _unknown(session_id)
    return JSONResponse({})


def named_session(house: House, session_id: str) -> SessionRow:
    """Return a session by its id."""
    row = house.records.get(SessionRow, session_id)
    if row is None:
        raise _unknown(session_id)
    return row


def _check_known(session_id: str, beat: Beat) -> None:
    if beat == "unknown":
        raise _unknown(session_id)


def _unknown(session_id: str) -> UnknownNameError:
    return UnknownNameError(f"There is no session {session_id!r}.")
