"""Sessions, runs, checkpoints and samplers: rows in, rows out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Engine, Executable, delete, func, select, update
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
        with self._database.begin() as connection:
            connection.execute(adding(row))

    def change(self, table: type[Table], key: str, **values: Any) -> bool:
        """Change a row; says whether it is there."""
        with self._database.begin() as connection:
            return bool(connection.execute(changing(table, key, **values)).rowcount)

    def live_runs(self) -> Sequence[RunRow]:
        """Return the runs that live."""
        with Session(self._database, expire_on_commit=False) as session:
            return session.scalars(select(RunRow).where(RunRow.state == "live")).all()

    def last_checkpoint(self, model_id: str) -> CheckpointRow | None:
        """Return a run's newest checkpoint to train on from."""
        mine = select(CheckpointRow).where(
            CheckpointRow.model_id == model_id, CheckpointRow.kind == "weights"
        )
        with Session(self._database, expire_on_commit=False) as session:
            return session.scalars(mine.order_by(CheckpointRow.created_at.desc())).first()

    def folders(self) -> set[str]:
        """Return the names of all checkpoints' folders that something refers to."""
        with self._database.connect() as connection:
            checkpoints = connection.execute(select(CheckpointRow.directory)).scalars().all()
            samplers = connection.execute(select(SamplerRow.directory)).scalars().all()
        return {name for name in (*checkpoints, *samplers) if name is not None}

    def last_request(self, model_id: str) -> float | None:
        """Return when a model was last asked for anything."""
        newest = select(func.max(FutureRow.created_at)).where(FutureRow.model_id == model_id)
        with self._database.connect() as connection:
            return connection.execute(newest).scalar()


def adding(row: Table) -> Executable:
    """Return the write of a new row; a row that is there already under its key stays."""
    return insert(type(row)).values(_columns(row)).on_conflict_do_nothing()


def replacing(row: Table) -> Executable:
    """Return the write of a row in place of the one that may be there under its key."""
    values = _columns(row)
    primary = [column.name for column in row.__mapper__.primary_key]
    write = insert(type(row)).values(values)
    # What the new row does not set must not stay from the old one.
    every = {column.key: write.excluded[column.key] for column in row.__mapper__.column_attrs}
    return write.on_conflict_do_update(index_elements=primary, set_=every)


def changing(table: type[Table], key: str, **values: Any) -> Executable:
    """Return the write of a change of a row."""
    return update(table).where(table.__mapper__.primary_key[0] == key).values(**values)


def removing(table: type[Table], key: str) -> Executable:
    """Return the write of a row's end."""
    return delete(table).where(table.__mapper__.primary_key[0] == key)


def following(model_id: str, folder: str) -> Executable:
    """Let the samplers that follow a model draw from its newest save."""
    return update(SamplerRow).where(SamplerRow.follows == model_id).values(directory=folder)


def _columns(row: Table) -> dict[str, Any]:
    found = {column.key: getattr(row, column.key) for column in row.__mapper__.column_attrs}
    return {key: value for key, value in found.items() if value is not None}


def new_session(session_id: str, **values: Any) -> SessionRow:
    """Return a session that begins now."""
    now = time.time()
    return SessionRow(session_id=session_id, created_at=now, heartbeat_at=now, **values)


__all__ = ["CheckpointRow", "Records", "RunRow", "SamplerRow", "SessionRow", "new_session"]
