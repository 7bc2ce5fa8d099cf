"""What a poll's answer means, and when to ask again. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from tinker_nb.client.exchange import Reply, status_error
from tinker_nb.client.retry import Failure, is_transient
from tinker_nb.client.states import FutureState, QueueNote
from tinker_nb.errors import FutureLostError, RequestFailedError, TinkerError
from tinker_nb.wire.protobuf import CONTENT_TYPE
from tinker_nb.wire.responses import RequestFailedResponse, TryAgainResponse


@dataclass(frozen=True)
class Finished:
    """The result is in the reply."""

    reply: Reply


@dataclass(frozen=True)
class NotYet:
    """The server holds it still.

    ``state`` is None when the server does not say where it is.
    """

    state: FutureState | None = None
    queue: QueueNote | None = None


@dataclass(frozen=True)
class Broken:
    """An answer that says nothing about the request; ask again after a pause."""

    failure: Failure


@dataclass(frozen=True)
class Over:
    """It will never be done."""

    state: FutureState
    error: TinkerError


Outcome = Finished | NotYet | Broken | Over


def read_poll(reply: Reply, request_id: str) -> Outcome:
    """Return what an answer of ``retrieve_future`` means (sections 3.2 and 3.3 of the protocol)."""
    if reply.status in (202, 408):
        return _not_yet(reply)
    if reply.status in (404, 410):
        error = FutureLostError("The server no longer knows this request.", request_id=request_id)
        return Over(FutureState.LOST, error)
    if reply.status >= 300:
        failure = Failure(reply.status, reply.headers)
        if is_transient(failure):
            return Broken(failure)
        return Over(FutureState.FAILED, status_error(reply, request_id=request_id))
    if reply.content_type == CONTENT_TYPE:
        return Finished(reply)
    return _read_json(reply, request_id)


def _read_json(reply: Reply, request_id: str) -> Outcome:
    body = reply.json_object()
    if body.get("type") == "try_again":
        return _not_yet(reply)
    if "error" in body:
        return Over(FutureState.FAILED, _failed(body, request_id))
    return Finished(reply)


def _failed(body: dict[str, object], request_id: str) -> RequestFailedError:
    try:
        failed = RequestFailedResponse.model_validate(body)
    except ValidationError:
        # A missing or unheard-of category must not hide the message.
        failed = RequestFailedResponse(error=str(body["error"]))
    return RequestFailedError(failed.error, request_id=request_id, category=failed.category)


def _not_yet(reply: Reply) -> NotYet:
    try:
        said = TryAgainResponse.model_validate_json(reply.content or b"{}")
    except ValidationError:
        return NotYet()
    state = FutureState(said.future_state) if said.future_state else None
    if state is None and said.queue_state in ("paused_capacity", "paused_rate_limit"):
        state = FutureState.QUEUED
    reason = said.queue_state_reason or _STATE_WORDS.get(said.queue_state or "")
    return NotYet(state, QueueNote(reason, said.place, said.eta_seconds))


_STATE_WORDS = {
    "paused_capacity": "the server has no room right now",
    "paused_rate_limit": "the server holds this account back (rate limit)",
}


def pause_before_next(held: float, streak: int, *, news: bool) -> float:
    """Return the seconds to wait before the next poll.

    A server that holds its polls is asked again at once; one that answers "not ready" at once
    would otherwise be asked in a busy loop.

    Parameters
    ----------
    held
        Seconds the server held the last poll.
    streak
        How many quick answers came in a row.
    news
        Whether the answer told something new.
    """
    if news or held >= 1.0:
        return 0.0
    return min(0.05 * 2.0 ** min(streak, 10), 2.0)
