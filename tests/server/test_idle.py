"""A server that nobody uses stops by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from tests.server.conftest import Served, serving, settings_for
from tinker_nb.server.app import standing
from tinker_nb.server.watch.idle import Activity, should_stop, watch


@pytest.mark.parametrize(
    ("now", "last", "busy", "expected"),
    [(10, 0, False, True), (9.9, 0, False, False), (99, 0, True, False), (99, 95, False, False)],
)
def test_should_stop(now: float, last: float, busy: bool, expected: bool) -> None:
    assert should_stop(now, last, busy, limit=10) is expected


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


_moments = st.lists(st.tuples(st.sampled_from(["ask", "work", "watch", "none"]), st.integers(1, 9)))


@settings(derandomize=True, database=None)
@given(_moments, st.integers(1, 30))
def test_it_stays_for_the_limit_after_its_last_use(
    moments: list[tuple[str, int]], limit: int
) -> None:
    clock = Clock()
    activity, used = Activity(clock), 0.0
    for what, seconds in moments:
        clock.now += seconds
        if what in ("ask", "watch"):
            with activity.request("/x" if what == "ask" else "/healthz"):
                assert activity.is_over(False, limit) is (
                    what == "watch" and due(used, clock, limit)
                )
        used = clock.now if what in ("ask", "work") else used
        assert activity.is_over(what == "work", limit) is due(used, clock, limit)


def due(used: float, clock: Clock, limit: float) -> bool:
    return clock.now - used >= limit


async def test_watching_ends_in_a_stop() -> None:
    works, stopped = [True, True], asyncio.Event()
    await watch(Activity(), lambda: bool(works) and works.pop(), 0.01, stopped.set)
    assert stopped.is_set()
    assert not works


def test_unfinished_requests_are_work() -> None:
    requests = [
        SimpleNamespace(kind="Sample", state=state) for state in ("queued", "running", "done")
    ]
    desk, workshop = SimpleNamespace(overview=lambda: requests), SimpleNamespace(living=[])
    house: Any = SimpleNamespace(desk=desk, workshop=workshop)
    assert standing(house).futures == (("Sample", "queued"), ("Sample", "running"))


def test_a_server_stops_by_itself(tmp_path: Path, llama_dir: Path) -> None:
    limits = settings_for(tmp_path, model=str(llama_dir), idle_stop=0.5)
    with serving(limits) as served, served.client() as http:
        assert http.get("/").status_code == 200
        gone(served)


def gone(served: Served) -> None:
    """Wait until nobody answers; asking after its health must not keep it alive."""
    while True:
        try:
            httpx.get(served.url + "/healthz")
        except httpx.TransportError:
            return
