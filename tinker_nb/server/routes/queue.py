"""What the server is at: every unfinished request, once or as it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from tinker_nb.server.answers import answer
from tinker_nb.server.house import House
from tinker_nb.server.intake.tickets import Entry
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.routes.futures import words
from tinker_nb.wire.queue import QueuedRequest, QueueResponse

router = APIRouter(prefix="/api/v1")

#: Seconds between two looks: a busy server changes hundreds of times a second.
_PACE = 0.1
#: Seconds without news after which a look is sent anyway: what is foreseen gets less.
_BEAT = 5.0


@router.get("/queue")
async def queue(house: TheHouse) -> Response:
    """Say where every unfinished request is."""
    return answer(_look(house))


@router.get("/queue/events")
async def events(house: TheHouse) -> EventSourceResponse:
    """Send the queue as it is, and again whenever it changes, as server-sent events."""
    return EventSourceResponse(_looks(house))


async def _looks(house: House) -> AsyncIterator[ServerSentEvent]:
    news = house.desk.news
    while not news.closed:
        known, body = news.number, _look(house).model_dump(exclude_none=True)
        yield ServerSentEvent(json.dumps(body), event="queue", id=str(known))
        await asyncio.sleep(_PACE)
        await news.wait(known, _BEAT)


def _look(house: House) -> QueueResponse:
    entries = [_described(entry) for entry in house.desk.overview()]
    return QueueResponse(requests=entries, live_models=len(house.workshop.living))


def _described(entry: Entry) -> QueuedRequest:
    told: dict[str, Any] = {}
    if entry.view is not None:
        eta = entry.view.eta_seconds
        told = {
            "place": entry.view.place,
            "eta_seconds": None if eta is None else round(eta, 3),
            "reason": words(entry.view),
        }
    return QueuedRequest(
        request_id=entry.request_id,
        kind=entry.kind,
        model_id=entry.model_id,
        state="running" if entry.state == "running" else "queued",
        waited_seconds=round(entry.waited_seconds, 3),
        **told,
    )
