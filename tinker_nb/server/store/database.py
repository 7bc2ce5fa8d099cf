"""The SQLite file and how it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event

from tinker_nb.server.store.tables import Table

_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=5000", "foreign_keys=ON")


def open_database(file: Path) -> Engine:
    """Open the file, making it and its tables where they are missing."""
    database = create_engine(f"sqlite:///{file}")
    event.listen(database, "connect", _prepare)
    Table.metadata.create_all(database)
    return database


def _prepare(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
