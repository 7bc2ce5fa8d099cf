"""Sessions, runs, checkpoints and samplers: rows in, rows out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Engine, func, select, update
from sqlalchemy.dialects.sqlite import insert
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


class Records:
    """Everything that is kept besides the futures."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def get(self, table: type[Row], key: str) -> Row | None:
        """Return a row by its primary key."""
        with Session(self._database, expire_on_commit=False) as session:
            return session.get(table, key)

    def add(self, row: Table) -> None:
        """Keep a new row; a row that is there already under its key stays as it is."""
        values = {
            column.key: value
            for column in row.__mapper__.column_attrs
            if (value := getattr(row, column.key)) is not None
        }
        with self._database.begin() as connection:
            connection.execute(insert(type(row)).values(values).on_conflict_do_nothing())

    def change(self, table: type[Table], key: str, **values: Any) -> bool:
        """Change a row; says whether it is there."""
        primary = table.__mapper__.primary_key[0]
        with self._database.begin() as connection:
            statement = update(table).where(primary == key).values(**values)
            return bool(connection.execute(statement).rowcount)

    def runs(self, limit: int, offset: int) -> tuple[Sequence[RunRow], int]:
        """Return some runs, newest first, and how many there are."""
        page = select(RunRow).order_by(RunRow.created_at.desc()).limit(limit).offset(offset)
        with Session(self._database, expire_on_commit=False) as session:
            total = session.scalar(select(func.count()).select_from(RunRow)) or 0
            return session.scalars(page).all(), total

    def last_request(self, model_id: str) -> float | None:
        """Return when a model was last asked for anything."""
        newest = select(func.max(FutureRow.created_at)).where(FutureRow.model_id == model_id)
        with self._database.connect() as connection:
            return connection.execute(newest).scalar()

    def replace(self, row: Table) -> None:
        """Keep a row in place of the one that may be there under its key."""
        with Session(self._database) as session, session.begin():
            session.merge(row)

    def follow(self, model_id: str, directory: str) -> None:
        """Let the samplers that follow a model draw from its newest save."""
        statement = update(SamplerRow).where(SamplerRow.follows == model_id)
        with self._database.begin() as connection:
            connection.execute(statement.values(directory=directory))

    def lose_runs(self) -> None:
        """Mark the runs that were live when the server stopped as lost."""
        statement = update(RunRow).where(RunRow.state == "live")
        with self._database.begin() as connection:
            connection.execute(statement.values(state="lost"))


def new_session(session_id: str, **values: Any) -> SessionRow:
    """Return a session that begins now."""
    now = time.time()
    return SessionRow(session_id=session_id, created_at=now, heartbeat_at=now, **values)


__all__ = ["CheckpointRow", "Records", "RunRow", "SamplerRow", "SessionRow", "new_session"]
