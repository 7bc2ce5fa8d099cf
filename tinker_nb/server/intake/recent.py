"""The newest results in memory: most are fetched a moment after they are there, and once."""

from __future__ import annotations

from collections import OrderedDict

from tinker_nb.server.store.futures import Stored

_MOST_RESULTS, _MOST_BYTES = 1000, 16 * 2**20


class Recent:
    """Results by request id; the oldest go when there are too many."""

    def __init__(self, most_results: int = _MOST_RESULTS, most_bytes: int = _MOST_BYTES) -> None:
        self._results: OrderedDict[str, Stored] = OrderedDict()
        self._most_results, self._most_bytes = most_results, most_bytes
        self._bytes = 0

    def add(self, request_id: str, stored: Stored) -> None:
        """Keep a result, which is in the table already."""
        self._results[request_id] = stored
        self._bytes += len(stored.body)
        while len(self._results) > self._most_results or self._bytes > self._most_bytes:
            _, oldest = self._results.popitem(last=False)
            self._bytes -= len(oldest.body)

    def get(self, request_id: str) -> Stored | None:
        """Return a result, if it is still here."""
        return self._results.get(request_id)
