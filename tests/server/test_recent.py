"""The newest results are in memory, within bounds."""

from __future__ import annotations

from tinker_nb.server.intake.recent import Recent
from tinker_nb.server.store.futures import Stored


def test_the_oldest_go_by_number_and_by_size() -> None:
    recent = Recent(most_results=3, most_bytes=100)
    for name in "abcd":
        recent.add(name, Stored("json", b"{}"))
    assert recent.get("a") is None
    assert recent.get("d") == Stored("json", b"{}")
    recent.add("large", Stored("sample", bytes(99)))
    assert recent.get("d") is None
    assert recent.get("large") is not None
    recent.add("too large", Stored("sample", bytes(101)))
    assert [recent.get(name) for name in ("large", "too large")] == [None, None]
