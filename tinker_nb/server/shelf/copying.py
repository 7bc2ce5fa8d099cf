"""Copies of checkpoints: files of their own, under a run of their own."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.server.house import House
from tinker_nb.server.shelf.trash import discard
from tinker_nb.server.store.tables import CheckpointRow, RunRow, SessionRow, Table
from tinker_nb.wire.paths import TinkerPath, parse_tinker_path

_SOURCE = "copied_from"


@dataclass(frozen=True)
class Order:
    """What is to be copied, and where to.

    Parameters
    ----------
    source
        The checkpoint.
    run
        The run the copy belongs to.
    session
        A session that is made for the copy; None where it goes into one that is there.
    expires_at
        When the copy ends.
    """

    source: CheckpointRow
    run: RunRow
    session: SessionRow | None
    expires_at: float | None

    @property
    def path(self) -> str:
        """The copy's path."""
        source = parse_tinker_path(self.source.path)
        return str(TinkerPath(self.run.model_id, source.kind, source.name))


def own_session(source: CheckpointRow, project_id: str | None, key: str | None) -> SessionRow:
    """Return the session that holds a copy for which no session was named.

    The same key for the same source gives the same id, so that a repeat makes no second copy.
    """
    text = f"{key}\n{source.path}\n{project_id}".encode()
    name = secrets.token_hex(8) if key is None else hashlib.sha256(text).hexdigest()[:16]
    now = time.time()
    return SessionRow(
        session_id=f"copy-{name}",
        created_at=now,
        heartbeat_at=now,
        finished_at=now,
        end="success",
        end_detail=f"It was made to hold a copy of {source.path}.",
        tags="",
        project_id=project_id,
        user_metadata={},
    )


def copied_run(of: RunRow, source: CheckpointRow, session_id: str, number: int) -> RunRow:
    """Return the run that holds a copy; it cannot be trained on."""
    return RunRow(
        model_id=f"{session_id}:train:{number}",
        session_id=session_id,
        base_model=of.base_model,
        rank=of.rank,
        alpha=of.alpha,
        groups=of.groups,
        seed=of.seed,
        state="unloaded",
        created_at=time.time(),
        user_metadata={_SOURCE: source.path},
    )


def copy_checkpoint(house: House, order: Order) -> str:
    """Copy a checkpoint and return the copy's path; a repeat copies nothing.

    Raises
    ------
    InvalidInputError
        The run is another one than this copy's.
    UnknownNameError
        The checkpoint was deleted meanwhile.
    """
    if _is_done(house, order):
        return order.path
    name = secrets.token_hex(12)
    size = _copy_folder(house.home.checkpoints, order.source.directory, name)
    _record(house.database.durable, order, name, size)
    kept = house.records.get(CheckpointRow, order.path)
    if kept is None or kept.directory != name:
        # The same request came twice at once, and the other one was the first.
        discard(house.home.checkpoints, name)
        _is_done(house, order)
    return order.path


def _is_done(house: House, order: Order) -> bool:
    """Say whether this copy is there; refuse when something else is in its place."""
    run = house.records.get(RunRow, order.run.model_id)
    if run is None:
        return False
    if run.user_metadata.get(_SOURCE) != order.source.path:
        raise InvalidInputError(
            f"There is already a model {run.model_id!r}; give another model_seq_id."
        )
    return house.records.get(CheckpointRow, order.path) is not None


def _record(database: Engine, order: Order, name: str, size: int) -> None:
    checkpoint = CheckpointRow(
        path=order.path,
        model_id=order.run.model_id,
        kind=order.source.kind,
        directory=name,
        size_bytes=size,
        created_at=time.time(),
        ephemeral=False,
        public=False,
        expires_at=order.expires_at,
        user_metadata=order.source.user_metadata,
    )
    rows: list[Table] = [order.run, checkpoint]
    if order.session is not None:
        rows.insert(0, order.session)
    with Session(database) as session, session.begin():
        for row in rows:
            values = {each.key: getattr(row, each.key) for each in row.__mapper__.column_attrs}
            session.execute(insert(type(row)).values(values).on_conflict_do_nothing())


def _copy_folder(checkpoints: Path, source: str, name: str) -> int:
    """Copy a folder under a hidden name, flush it, and give it its name; returns its bytes."""
    hidden = checkpoints / f".{name}"
    hidden.mkdir()
    try:
        size = sum(_copy_file(file, hidden) for file in _files(checkpoints / source))
        _flush(hidden)
        hidden.rename(checkpoints / name)
        _flush(checkpoints)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return size


def _files(folder: Path) -> list[Path]:
    try:
        return [file for file in folder.iterdir() if file.is_file() and not file.is_symlink()]
    except FileNotFoundError as error:
        raise UnknownNameError("The checkpoint's files are gone; use another one.") from error


def _copy_file(file: Path, folder: Path) -> int:
    target = folder / file.name
    try:
        shutil.copyfile(file, target)
    except FileNotFoundError as error:
        raise UnknownNameError("The checkpoint was deleted while it was copied.") from error
    _flush(target)
    return target.stat().st_size


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
