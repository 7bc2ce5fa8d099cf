"""Requests and their results."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, Executable, delete, func, insert, select, update

from tinker_nb.server.store.tables import FutureRow

#: How a result's body reads: JSON, protobuf of two kinds, or JSON that says why it failed.
Form = Literal["json", "forward_backward", "sample", "failed"]


@dataclass(frozen=True)
class Stored:
    """A result as it is kept."""

    form: Form
    body: bytes


@dataclass(frozen=True)
class Kept:
    """A result, and what else is written together with it or not at all."""

    stored: Stored
    writes: tuple[Executable, ...] = ()


def json_result(body: object) -> Stored:
    """Return a JSON result."""
    return Stored("json", json.dumps(body).encode())


def failure(message: str, category: Literal["user", "server"]) -> Stored:
    """Return a result that says why there is none."""
    return Stored("failed", json.dumps({"error": message, "category": category}).encode())


def outcome_of(stored: Stored) -> Literal["done", "user", "server"]:
    """Say what became of a request: done, or whose fault it is that it is not."""
    if stored.form != "failed":
        return "done"
    return "user" if json.loads(stored.body)["category"] == "user" else "server"


class FutureStore:
    """The futures' table.

    Parameters
    ----------
    database
        For what may be repeated after a power cut.
    durable
        For what may not: its transactions are on the disk when they end.
    """

    def __init__(self, database: Engine, durable: Engine) -> None:
        self._database = database
        self._durable = durable

    def add(
        self,
        request_id: str,
        kind: str,
        model_id: str | None,
        dedup_key: str | None,
        writes: Sequence[Executable] = (),
    ) -> None:
        """Record a request that was accepted, and what is written with it."""
        values = {
            "request_id": request_id,
            "dedup_key": dedup_key,
            "kind": kind,
            "model_id": model_id,
            "created_at": time.time(),
        }
        with self._database.begin() as connection:
            for write in writes:
                connection.execute(write)
            connection.execute(insert(FutureRow), values)

    def finish(
        self,
        results: Mapping[str, Stored],
        writes: Sequence[Executable] = (),
        *,
        lasting: bool = False,
    ) -> None:
        """Record the results of requests, and what is written with them, all or nothing.

        What is ``lasting`` is on the disk then, where a power cut does not take it.
        """
        database = self._durable if lasting else self._database
        with database.begin() as connection:
            for write in writes:
                connection.execute(write)
            for request_id, stored in results.items():
                change = update(FutureRow).where(FutureRow.request_id == request_id)
                connection.execute(change.values(_values(stored)))

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

    def fail_unfinished(self, words: Callable[[str], str]) -> int:
        """Fail every request that has no result, in words for its kind; returns how many."""
        unfinished = select(FutureRow.request_id, FutureRow.kind).where(FutureRow.form.is_(None))
        with self._durable.begin() as connection:
            rows = connection.execute(unfinished).all()
            for row in rows:
                change = update(FutureRow).where(FutureRow.request_id == row.request_id)
                stored = failure(words(row.kind), "server")
                connection.execute(change.values(_values(stored)))
            return len(rows)

    def finished_samples(self, prefix: str) -> list[tuple[str, str, bool, int]]:
        """Return the requests under keys with this prefix in the order in which they ended.

        Returns
        -------
        list
            Of key, request id, whether it failed, and the size of its result.
        """
        size = func.length(FutureRow.body).label("size")
        columns = select(FutureRow.dedup_key, FutureRow.request_id, FutureRow.form, size)
        ended = columns.where(
            FutureRow.dedup_key.startswith(prefix, autoescape=True), FutureRow.form.is_not(None)
        )
        with self._database.connect() as connection:
            rows = connection.execute(ended.order_by(FutureRow.finished_at)).all()
        return [(row.dedup_key, row.request_id, row.form == "failed", row.size) for row in rows]

    def forget(self, before: float) -> int:
        """Drop the requests that finished before a moment; returns how many there were."""
        old = delete(FutureRow).where(FutureRow.finished_at < before)
        with self._database.begin() as connection:
            return int(connection.execute(old).rowcount)


def _values(stored: Stored) -> dict[str, object]:
    return {"form": stored.form, "body": stored.body, "finished_at": time.time()}
