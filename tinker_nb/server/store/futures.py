"""Requests and their results."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, delete, insert, select, update

from tinker_nb.server.store.tables import FutureRow

#: How a result's body reads: JSON, protobuf of two kinds, or JSON that says why it failed.
Form = Literal["json", "forward_backward", "sample", "failed"]


@dataclass(frozen=True)
class Stored:
    """A result as it is kept."""

    form: Form
    body: bytes


def json_result(body: object) -> Stored:
    """Return a JSON result."""
    return Stored("json", json.dumps(body).encode())


def failure(message: str, category: Literal["user", "server"]) -> Stored:
    """Return a result that says why there is none."""
    return Stored("failed", json.dumps({"error": message, "category": category}).encode())


class FutureStore:
    """The futures' table."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def add(self, request_id: str, kind: str, model_id: str | None, dedup_key: str | None) -> None:
        """Record a request that was accepted."""
        values = {
            "request_id": request_id,
            "dedup_key": dedup_key,
            "kind": kind,
            "model_id": model_id,
            "created_at": time.time(),
        }
        with self._database.begin() as connection:
            connection.execute(insert(FutureRow), values)

    def finish(self, request_id: str, stored: Stored) -> None:
        """Record a request's result."""
        change = update(FutureRow).where(FutureRow.request_id == request_id)
        values = {"form": stored.form, "body": stored.body, "finished_at": time.time()}
        with self._database.begin() as connection:
            connection.execute(change.values(values))

    def result(self, request_id: str) -> Stored | None:
        """Return a request's result; None when there is none, or no such request."""
        columns = select(FutureRow.form, FutureRow.body)
        with self._database.connect() as connection:
            row = connection.execute(columns.where(FutureRow.request_id == request_id)).first()
        return None if row is None or row.form is None else Stored(row.form, row.body)

    def keys(self) -> dict[str, str]:
        """Return the ids of all requests that were accepted under a key, by key."""
        columns = select(FutureRow.dedup_key, FutureRow.request_id)
        with self._database.connect() as connection:
            rows = connection.execute(columns.where(FutureRow.dedup_key.is_not(None)))
            return {row.dedup_key: row.request_id for row in rows}

    def fail_unfinished(self, message: str) -> int:
        """Fail every request that has no result; returns how many there were."""
        stored = failure(message, "server")
        change = update(FutureRow).where(FutureRow.form.is_(None))
        values = {"form": stored.form, "body": stored.body, "finished_at": time.time()}
        with self._database.begin() as connection:
            return int(connection.execute(change.values(values)).rowcount)

    def forget(self, before: float) -> int:
        """Drop the requests that finished before a moment; returns how many there were."""
        old = delete(FutureRow).where(FutureRow.finished_at < before)
        with self._database.begin() as connection:
            return int(connection.execute(old).rowcount)
