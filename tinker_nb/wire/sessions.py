"""JSON bodies of the endpoints for sessions, and what a search for them says (section 2.8)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from tinker_nb.wire.base import WireModel

FinishReason = Literal["success", "errored", "interrupted"]


class ListSessionsResponse(WireModel):
    """The ids of sessions."""

    sessions: list[str]


class GetSessionResponse(WireModel):
    """What a session has made."""

    training_run_ids: list[str]
    sampler_ids: list[str]
    user_metadata: dict[str, Any] | None = None
    display_name: str | None = None


class AssignProjectRequest(WireModel):
    """``PUT /api/v1/sessions/ID/project``."""

    project_id: str


class SessionTraceResponse(WireModel):
    """How far the export of a session's trace is."""

    status: Literal["pending", "ready", "failed"]
    url: str | None = None
    error: str | None = None


class SessionActive(WireModel):
    """The session is running."""

    type: Literal["active"] = "active"


class SessionCancelled(WireModel):
    """Somebody cancelled the session."""

    type: Literal["cancelled"] = "cancelled"
    detail: str | None = None


class SessionFinishReason(WireModel):
    """Why a client said it was done."""

    type: FinishReason


class ClientSessionFinished(WireModel):
    """The session's client said it was done."""

    type: Literal["client_finished"] = "client_finished"
    reason: SessionFinishReason
    detail: str | None = None


class SessionFailedReason(WireModel):
    """What made a session fail; the id that fits ``type`` is set."""

    type: Literal["request", "training_run", "sampling_session"]
    request_id: str | None = None
    request_type: str | None = None
    training_run_id: str | None = None
    sampling_session_id: str | None = None


class SessionFailed(WireModel):
    """The session failed."""

    type: Literal["failed"] = "failed"
    category: Literal["user", "internal"]
    reason: SessionFailedReason
    message: str


class OtherSessionStatus(WireModel):
    """A status this version of the client does not know: one of them must not hide the others."""

    model_config = ConfigDict(extra="allow")
    type: str


SessionStatus = Annotated[
    SessionActive | SessionCancelled | ClientSessionFinished | SessionFailed | OtherSessionStatus,
    Field(union_mode="left_to_right"),
]


class SessionSummary(WireModel):
    """One session that was found; without ``status`` it neither ended nor is known to run."""

    session_id: str
    created_at: datetime
    owner: str
    project_id: str
    checkpoints_count: int
    status: SessionStatus | None = None
    display_name: str | None = None
    user_metadata: dict[str, Any] | None = None
    checkpoint_storage_bytes: int | None = None


class SessionSearchCursor(WireModel):
    """Where the next page begins; give it back as it came."""

    last_created_at: AwareDatetime
    last_session_id: str


class SessionSearchResponse(WireModel):
    """One page of sessions, newest first; without ``next_cursor`` it is the last."""

    sessions: list[SessionSummary]
    next_cursor: SessionSearchCursor | None = None


class _Wanted(WireModel):
    """What a user writes: a misspelt field must not widen the search in silence."""

    model_config = ConfigDict(extra="forbid")


class OwnSearchOwner(_Wanted):
    """The caller's own sessions."""

    type: Literal["own"] = "own"


class AccessibleSearchOwner(_Wanted):
    """Everybody's sessions that the caller may see."""

    type: Literal["accessible"] = "accessible"


class UserSearchOwner(_Wanted):
    """The sessions of the users named, one to ten."""

    type: Literal["user"] = "user"
    owner_urns: list[str] = Field(min_length=1, max_length=10)


class ActiveSessionStatusQuery(_Wanted):
    """Sessions that are running."""

    type: Literal["active"] = "active"


class CancelledSessionStatusQuery(_Wanted):
    """Sessions that somebody cancelled."""

    type: Literal["cancelled"] = "cancelled"


class FailedSessionStatusQuery(_Wanted):
    """Sessions that failed."""

    type: Literal["failed"] = "failed"


class ClientFinishedSessionStatusQuery(_Wanted):
    """Sessions whose client said it was done, for any of the reasons given."""

    type: Literal["client_finished"] = "client_finished"
    reasons: list[FinishReason] | None = Field(default=None, min_length=1)


SearchOwner = Annotated[
    OwnSearchOwner | AccessibleSearchOwner | UserSearchOwner, Field(discriminator="type")
]
SessionStatusQuery = Annotated[
    ActiveSessionStatusQuery
    | CancelledSessionStatusQuery
    | FailedSessionStatusQuery
    | ClientFinishedSessionStatusQuery,
    Field(discriminator="type"),
]


class SessionSearchRequest(_Wanted):
    """``POST /api/v1/sessions/search``: which sessions to find.

    Parameters
    ----------
    session_id, display_name
        The id, or words of the name; a session that fits either is found.
    project_ids
        The projects to look in; every one the caller may list when not given.
    user_metadata
        Pairs that must all be there.
    owner
        Whose sessions.
    statuses
        Any of these.
    limit
        Sessions per page, 1 to 200.
    cursor
        ``next_cursor`` of the page before.
    """

    session_id: str | None = None
    project_ids: list[str] | None = None
    user_metadata: dict[str, str] = Field(default_factory=dict)
    display_name: str | None = Field(default=None, min_length=1)
    owner: SearchOwner = Field(default_factory=OwnSearchOwner)
    statuses: list[SessionStatusQuery] | None = Field(default=None, min_length=1)
    limit: int = Field(default=50, ge=1, le=200)
    cursor: SessionSearchCursor | None = None
