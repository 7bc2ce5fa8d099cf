"""How sessions live and end, and what goes when its time is over: single statements, all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import (
    ColumnElement,
    Update,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)

from tinker_nb.server.store.database import Database
from tinker_nb.server.store.tables import (
    SILENT,
    CheckpointRow,
    FutureRow,
    RunRow,
    SamplerRow,
    SessionRow,
)
from tinker_nb.wire.sessions import FinishReason

Beat = Literal["alive", "finished", "unknown"]


@dataclass(frozen=True)
class Removed:
    """A checkpoint that is no more; its folder is still to be deleted."""

    path: str
    directory: str


class Endings:
    """Changes of sessions and checkpoints that end them."""

    def __init__(self, database: Database) -> None:
        self._database = database.quick
        self._durable = database.durable

    def beat(self, session_id: str, now: float) -> Beat:
        """Hear that a session's client lives.

        One that had fallen silent runs again: the lid of its laptop was closed, or its network
        gone, and the kernel that now goes on must not lose its work to that.
        """
        open_or_silent = or_(SessionRow.finished_at.is_(None), SessionRow.end == SILENT)
        alive = {"heartbeat_at": now, "finished_at": None, "end": None, "end_detail": None}
        change = update(SessionRow).where(SessionRow.session_id == session_id, open_or_silent)
        return "alive" if self._done(change.values(alive)) else self._known(session_id)

    def finish(self, session_id: str, reason: FinishReason, detail: str | None, now: float) -> Beat:
        """Hear that a session's client is done; the first reason it gives stays."""
        open_or_silent = or_(SessionRow.finished_at.is_(None), SessionRow.end == SILENT)
        done = {"finished_at": now, "end": reason, "end_detail": detail}
        change = update(SessionRow).where(SessionRow.session_id == session_id, open_or_silent)
        return "finished" if self._done(change.values(done)) else self._known(session_id)

    def end_silent(self, heard_before: float, now: float, detail: str) -> int:
        """End the sessions that were not heard of since; returns how many."""
        silent = and_(SessionRow.finished_at.is_(None), SessionRow.heartbeat_at < heard_before)
        end = {"finished_at": now, "end": SILENT, "end_detail": detail}
        return self._done(update(SessionRow).where(silent).values(end))

    def let_go(self, finished_before: float, silent_before: float, now: float) -> int:
        """Let the ephemeral checkpoints expire now that nobody can want any more.

        Those are the ones that no sampler draws from, because a newer save took their place, and
        those of sessions that ended some time ago.
        """
        drawn = exists().where(SamplerRow.directory == CheckpointRow.directory)
        ended = or_(
            and_(SessionRow.end == SILENT, SessionRow.finished_at < silent_before),
            and_(SessionRow.end.is_distinct_from(SILENT), SessionRow.finished_at < finished_before),
        )
        owned = exists().where(
            RunRow.model_id == CheckpointRow.model_id,
            SessionRow.session_id == RunRow.session_id,
            ended,
        )
        unwanted = and_(
            CheckpointRow.ephemeral, CheckpointRow.expires_at.is_(None), or_(~drawn, owned)
        )
        return self._done(update(CheckpointRow).where(unwanted).values(expires_at=now))

    def oldest_open(self) -> float | None:
        """Return when the oldest request came in that has no result yet."""
        oldest = select(func.min(FutureRow.created_at)).where(FutureRow.finished_at.is_(None))
        with self._database.connect() as connection:
            return connection.execute(oldest).scalar()

    def remove_expired(self, before: float) -> Sequence[Removed]:
        """Remove the checkpoints that expired before a moment."""
        return self._remove(CheckpointRow.expires_at < before)

    def remove(self, path: str) -> Removed | None:
        """Remove a checkpoint; None when there is none."""
        return next(iter(self._remove(CheckpointRow.path == path)), None)

    def _remove(self, condition: ColumnElement[bool]) -> Sequence[Removed]:
        gone = delete(CheckpointRow).where(condition)
        columns = gone.returning(CheckpointRow.path, CheckpointRow.directory)
        # Its files go next, and a row that a power cut brought back would promise them.
        with self._durable.begin() as connection:
            return [Removed(row.path, row.directory) for row in connection.execute(columns)]

    def _done(self, change: Update) -> int:
        with self._database.begin() as connection:
            return int(connection.execute(change).rowcount)

    def _known(self, session_id: str) -> Beat:
        columns = select(SessionRow.session_id).where(SessionRow.session_id == session_id)
        with self._database.connect() as connection:
            return "unknown" if connection.execute(columns).first() is None else "finished"
