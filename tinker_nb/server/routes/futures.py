"""Collecting results, in both dialects."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from tinker_nb.errors import UnknownNameError
from tinker_nb.server.answers import answer, result_response, waited_response
from tinker_nb.server.engine.queue import QueueView
from tinker_nb.server.intake.tickets import Waiting
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.wire.quickstart import RetrieveRequest
from tinker_nb.wire.requests import (
    CancelFutureRequest,
    RetrieveFutureRequest,
    RetrieveFuturesRequest,
)
from tinker_nb.wire.responses import RetrieveFuturesResponse, TryAgainResponse

router = APIRouter()


@router.post("/api/v1/retrieve_future")
async def retrieve(body: RetrieveFutureRequest, request: Request, house: TheHouse) -> Response:
    """Give a result, held back until it is there or the hold is over."""
    hold = house.settings.poll_hold
    outcome = await house.desk.wait(body.request_id, hold, body.known_state)
    if outcome is None:
        raise _unknown(body.request_id)
    if isinstance(outcome, Waiting):
        return answer(not_yet(body.request_id, outcome.view), 408)
    return result_response(outcome, request.headers.get("accept", ""))


@router.post("/api/v1/retrieve_futures")
async def retrieve_many(body: RetrieveFuturesRequest, house: TheHouse) -> Response:
    """Say which of a sampling session's requests have ended since a cursor."""
    target = body.target
    house.models.sampler(target.sampling_session_id)
    hold = house.settings.poll_hold if body.timeout is None else body.timeout
    hold = min(max(hold, 0.0), house.settings.poll_hold)
    ends, cursor = await house.desk.completions.wait(
        target.sampling_session_id, target.cloned_sampler_id, body.prev_cursor, hold
    )
    return answer(RetrieveFuturesResponse(completions=ends, cursor=cursor))


@router.post("/api/v1/cancel_future")
async def cancel(body: CancelFutureRequest, house: TheHouse) -> Response:
    """Give a request up; one that has ended, or is being trained, stays as it is."""
    house.desk.cancel(body.request_id)
    return JSONResponse({})


@router.post("/retrieve_future")
async def retrieve_now(body: RetrieveRequest, house: TheHouse) -> Response:
    """Give a result, or say at once that it is pending."""
    outcome = await house.desk.wait(body.request_id, hold=0)
    if outcome is None:
        raise _unknown(body.request_id)
    if isinstance(outcome, Waiting):
        return JSONResponse({"status": "pending"}, 202)
    return waited_response(outcome)


def _unknown(request_id: str) -> UnknownNameError:
    return UnknownNameError(f"There is no request {request_id!r}.")


def not_yet(request_id: str, view: QueueView) -> TryAgainResponse:
    """Return a poll's "not yet" with where the request is, in words and figures."""
    return TryAgainResponse(
        request_id=request_id,
        queue_state="active",
        queue_state_reason=words(view),
        future_state=view.state,
        place=view.place,
        eta_seconds=None if view.eta_seconds is None else round(view.eta_seconds, 3),
    )


def words(view: QueueView) -> str:
    """Say where a request is."""
    if view.state == "running":
        return "running"
    if view.place == 0:
        return "next of its model, waiting for its turn among others"
    requests = "request" if view.place == 1 else "requests"
    return f"waiting behind {view.place} {requests} of this model"
