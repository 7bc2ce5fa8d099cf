"""What ended of a sampling session's requests, in order: the server's side of a batch poll."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinker_nb.server.intake.news import News
from tinker_nb.server.store.futures import FutureStore, Stored
from tinker_nb.wire.responses import FutureCompletion

#: Numbers of requests of a session are handed to its clones in blocks (protocol, section 2.6).
_BLOCK = 10**9
_KEY = "sample:"


def sample_key(sampling_session_id: str, seq_id: int) -> str:
    """Return the key under which a repeat of a sampling request is known."""
    return f"{_KEY}{sampling_session_id}:{seq_id}"


@dataclass
class _Log:
    """The ends in one session of one clone; a cursor is a number of them."""

    ends: list[FutureCompletion] = field(default_factory=list)
    news: News = field(default_factory=News)


class Completions:
    """The ends of sampling requests, by session and clone."""

    def __init__(self, futures: FutureStore) -> None:
        self._futures = futures
        self._logs: dict[tuple[str, int], _Log] = {}

    def add(self, dedup_key: str | None, request_id: str, stored: Stored) -> None:
        """Take in the end of a request, if it is one of a session that is being polled."""
        where = _where(dedup_key)
        log = None if where is None else self._logs.get(where)
        if log is not None:
            failed = stored.form == "failed"
            log.ends.append(_completion(request_id, failed, len(stored.body)))
            log.news.spread()

    async def wait(
        self, session_id: str, clone: int, cursor: int, hold: float
    ) -> tuple[list[FutureCompletion], int]:
        """Return the ends after a cursor, and the cursor after them; waits when there are none."""
        log = self._log(session_id, clone)
        if len(log.ends) <= cursor:
            await log.news.wait(log.news.number, hold)
        # A cursor from before a restart may be beyond what is known: nothing is skipped.
        start = cursor if cursor <= len(log.ends) else 0
        return log.ends[start:], len(log.ends)

    def close(self) -> None:
        """Wake everybody who waits."""
        for log in self._logs.values():
            log.news.close()

    def _log(self, session_id: str, clone: int) -> _Log:
        where = (session_id, clone)
        if where not in self._logs:
            self._logs[where] = _Log(self._known(where))
        return self._logs[where]

    def _known(self, where: tuple[str, int]) -> list[FutureCompletion]:
        found = self._futures.finished_samples(f"{_KEY}{where[0]}:")
        return [
            _completion(request_id, failed, size)
            for key, request_id, failed, size in found
            if _where(key) == where
        ]


def _where(dedup_key: str | None) -> tuple[str, int] | None:
    if dedup_key is None or not dedup_key.startswith(_KEY):
        return None
    session_id, _, number = dedup_key.removeprefix(_KEY).rpartition(":")
    return session_id, int(number) // _BLOCK


def _completion(request_id: str, failed: bool, size: int) -> FutureCompletion:
    if failed:
        return FutureCompletion(state="failed", request_id=request_id)
    return FutureCompletion(
        state="finished", request_id=request_id, response_payload_uncompressed_size=size
    )
