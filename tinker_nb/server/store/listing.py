"""What is asked about many rows at once: pages of runs, checkpoints and sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from tinker_nb.server.store.tables import (
    CheckpointRow,
    FutureRow,
    RunRow,
    SamplerRow,
    SessionRow,
    Table,
)

Row = TypeVar("Row", bound=Table)


@dataclass(frozen=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    offset: int


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run besides its row."""

    last_request: float | None = None
    newest: dict[str, CheckpointRow] = field(default_factory=dict)  # by kind


@dataclass(frozen=True)
class Holding:
    """How many checkpoints something holds, and how large they are together."""

    count: int = 0
    size_bytes: int = 0


def listed(now: float) -> ColumnElement[bool]:
    """Return the condition that a checkpoint is one a user may see."""
    lasts = or_(CheckpointRow.expires_at.is_(None), CheckpointRow.expires_at > now)
    return and_(CheckpointRow.ephemeral.is_(False), lasts)


class Listing:
    """Reads pages; every method is one or two queries, however long the page is."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def runs(self, page: Page, project_id: str | None = None) -> tuple[Sequence[RunRow], int]:
        """Return some runs, newest first, and how many there are."""
        wanted = select(RunRow)
        if project_id is not None:
            in_project = select(SessionRow.session_id).where(SessionRow.project_id == project_id)
            wanted = wanted.where(RunRow.session_id.in_(in_project))
        return self._page(wanted, page, RunRow.created_at.desc(), RunRow.model_id)

    def facts(self, model_ids: Sequence[str], now: float) -> dict[str, RunFacts]:
        """Return what is known of some runs besides their rows, by run."""
        newest = {model_id: RunFacts(None, {}) for model_id in model_ids}
        for row in self._newest(model_ids, now):
            newest[row.model_id].newest[row.kind] = row
        asked = self._last_requests(model_ids)
        return {key: RunFacts(asked.get(key), each.newest) for key, each in newest.items()}

    def checkpoints(
        self, page: Page, now: float, model_id: str | None = None
    ) -> tuple[Sequence[CheckpointRow], int]:
        """Return some checkpoints, newest first, and how many there are."""
        wanted = select(CheckpointRow).where(listed(now))
        if model_id is not None:
            wanted = wanted.where(CheckpointRow.model_id == model_id)
        return self._page(wanted, page, CheckpointRow.created_at.desc(), CheckpointRow.path)

    def checkpoints_of_run(self, model_id: str, now: float) -> Sequence[CheckpointRow]:
        """Return all checkpoints of a run, newest first."""
        wanted = select(CheckpointRow).where(listed(now), CheckpointRow.model_id == model_id)
        return self._rows(wanted.order_by(CheckpointRow.created_at.desc(), CheckpointRow.path))

    def checkpoint(self, path: str, now: float) -> CheckpointRow | None:
        """Return a checkpoint that a user may see."""
        rows = self._rows(select(CheckpointRow).where(CheckpointRow.path == path, listed(now)))
        return next(iter(rows), None)

    def session_ids(self, page: Page) -> list[str]:
        """Return the ids of some sessions, newest first."""
        rows, _ = self._page(
            select(SessionRow), page, SessionRow.created_at.desc(), SessionRow.session_id
        )
        return [row.session_id for row in rows]

    def made_by(self, session_id: str) -> tuple[list[str], list[str]]:
        """Return the ids of a session's runs and of its samplers, oldest first."""
        runs = select(RunRow.model_id).where(RunRow.session_id == session_id)
        samplers = select(SamplerRow.sampler_id).where(SamplerRow.session_id == session_id)
        with Session(self._database) as session:
            return (
                list(session.scalars(runs.order_by(RunRow.created_at, RunRow.model_id))),
                list(session.scalars(samplers.order_by(SamplerRow.created_at))),
            )

    def held_by_sessions(self, session_ids: Sequence[str], now: float) -> dict[str, Holding]:
        """Return what some sessions hold in checkpoints, by session."""
        return self._held(RunRow.session_id, now, RunRow.session_id.in_(session_ids))

    def held_by_projects(self, now: float, project_id: str | None) -> dict[str | None, Holding]:
        """Return what every project holds in checkpoints, or only one."""
        wanted = [] if project_id is None else [SessionRow.project_id == project_id]
        return self._held(SessionRow.project_id, now, *wanted)

    def _held(self, owner: Any, now: float, *conditions: ColumnElement[bool]) -> dict[Any, Holding]:
        size = func.coalesce(func.sum(CheckpointRow.size_bytes), 0)
        wanted = (
            select(owner, func.count(), size)
            .select_from(CheckpointRow)
            .join(RunRow, RunRow.model_id == CheckpointRow.model_id)
            .outerjoin(SessionRow, SessionRow.session_id == RunRow.session_id)
            .where(listed(now), *conditions)
            .group_by(owner)
        )
        with self._database.connect() as connection:
            return {row[0]: Holding(row[1], row[2]) for row in connection.execute(wanted)}

    def _newest(self, model_ids: Sequence[str], now: float) -> Iterable[CheckpointRow]:
        """Return the newest checkpoint of every kind of every run."""
        age = func.row_number().over(
            partition_by=(CheckpointRow.model_id, CheckpointRow.kind),
            order_by=(CheckpointRow.created_at.desc(), CheckpointRow.path),
        )
        ranked = select(CheckpointRow.path, age.label("age")).where(
            listed(now), CheckpointRow.model_id.in_(model_ids)
        )
        inner = ranked.subquery()
        newest = select(inner.c.path).where(inner.c.age == 1)
        return self._rows(select(CheckpointRow).where(CheckpointRow.path.in_(newest)))

    def _last_requests(self, model_ids: Sequence[str]) -> dict[str, float]:
        wanted = (
            select(FutureRow.model_id, func.max(FutureRow.created_at))
            .where(FutureRow.model_id.in_(model_ids))
            .group_by(FutureRow.model_id)
        )
        with self._database.connect() as connection:
            return {str(row[0]): row[1] for row in connection.execute(wanted)}

    def _page(self, wanted: Select[Row], page: Page, *order: Any) -> tuple[Sequence[Row], int]:
        count = select(func.count()).select_from(wanted.subquery())
        rows = wanted.order_by(*order).limit(page.limit).offset(page.offset)
        with Session(self._database, expire_on_commit=False) as session:
            return session.scalars(rows).all(), session.scalar(count) or 0

    def _rows(self, wanted: Select[Row]) -> Sequence[Row]:
        with Session(self._database, expire_on_commit=False) as session:
            return session.scalars(wanted).all()
