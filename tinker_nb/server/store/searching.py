"""The search for sessions: what is wanted, as conditions on the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Engine,
    and_,
    cast,
    exists,
    false,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import Session

from tinker_nb.server.shelf.described import NO_PROJECT, OWNER
from tinker_nb.server.store.tables import SessionRow
from tinker_nb.wire.sessions import (
    ActiveSessionStatusQuery,
    ClientFinishedSessionStatusQuery,
    SessionSearchCursor,
    SessionSearchRequest,
    SessionStatusQuery,
    UserSearchOwner,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
#: When a session began, in the steps in which the protocol tells times: a page must begin exactly
#: where the one before ended.
_BEGAN = cast(func.round(SessionRow.created_at * 1e6), BigInteger)


def search(
    database: Engine, wanted: SessionSearchRequest
) -> tuple[list[SessionRow], SessionSearchCursor | None]:
    """Return one page of the sessions that fit, newest first, and where the next page begins."""
    page = (
        select(SessionRow, _BEGAN)
        .where(*_conditions(wanted))
        .order_by(_BEGAN.desc(), SessionRow.session_id.desc())
        .limit(wanted.limit + 1)
    )
    with Session(database, expire_on_commit=False) as session:
        _let_fold_case(session)
        found = session.execute(page).all()
    rows = [row for row, _ in found[: wanted.limit]]
    if len(found) <= wanted.limit:
        return rows, None
    last, began = found[wanted.limit - 1]
    cursor = SessionSearchCursor(
        last_created_at=_EPOCH + began * _MICROSECOND, last_session_id=last.session_id
    )
    return rows, cursor


def _let_fold_case(session: Session) -> None:
    # SQLite's own lower() knows no letters beyond ASCII.
    driver = session.connection().connection.driver_connection
    assert driver is not None
    driver.create_function("casefold", 1, _folded, deterministic=True)


def _folded(text: str | None) -> str | None:
    return None if text is None else text.casefold()


def _conditions(wanted: SessionSearchRequest) -> Iterator[ColumnElement[bool]]:
    if wanted.session_id is not None or wanted.display_name is not None:
        yield _named(wanted.session_id, wanted.display_name)
    if wanted.project_ids is not None:
        project = func.coalesce(SessionRow.project_id, NO_PROJECT)
        yield project.in_(wanted.project_ids)
    for key, value in wanted.user_metadata.items():
        yield _has(key, value)
    if isinstance(wanted.owner, UserSearchOwner) and OWNER not in wanted.owner.owner_urns:
        yield false()
    if wanted.statuses is not None:
        yield or_(*(_stands(status) for status in wanted.statuses))
    if wanted.cursor is not None:
        yield _after(wanted.cursor)


def _named(session_id: str | None, display_name: str | None) -> ColumnElement[bool]:
    """Return the condition that the id, or every word of the name, fits."""
    either: list[ColumnElement[bool]] = []
    if session_id is not None:
        either.append(SessionRow.session_id == session_id)
    if display_name is not None:
        either.append(_spelled(display_name.split()))
    return or_(*either)


def _spelled(words: Sequence[str]) -> ColumnElement[bool]:
    name = func.casefold(SessionRow.display_name)
    contained = (name.contains(_folded(word), autoescape=True) for word in words)
    return and_(SessionRow.display_name.is_not(None), *contained)


def _has(key: str, value: str) -> ColumnElement[bool]:
    pair = func.json_each(SessionRow.user_metadata).table_valued("key", "value")
    return exists(select(1).select_from(pair).where(pair.c.key == key, pair.c.value == value))


def _stands(status: SessionStatusQuery) -> ColumnElement[bool]:
    if isinstance(status, ActiveSessionStatusQuery):
        return SessionRow.finished_at.is_(None)
    if not isinstance(status, ClientFinishedSessionStatusQuery):
        return false()  # nobody cancels a session here, and what fails in one does not end it
    reasons = status.reasons or ["success", "errored", "interrupted"]
    end = func.coalesce(SessionRow.end, "success")
    return and_(SessionRow.finished_at.is_not(None), end.in_(reasons))


def _after(cursor: SessionSearchCursor) -> ColumnElement[bool]:
    began = (cursor.last_created_at - _EPOCH) // _MICROSECOND
    return tuple_(_BEGAN, SessionRow.session_id) < tuple_(began, cursor.last_session_id)
