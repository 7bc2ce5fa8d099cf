"""What goes by itself, what stays, and what must not be touched."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import Gate, Served, new_model, serving, settings_for
from tests.server.shelf import (
    folder_of,
    kept,
    put_checkpoint,
    put_run,
    put_sampler,
    put_session,
    route_of,
)
from tinker_nb.errors import InvalidInputError
from tinker_nb.server.shelf import expiry
from tinker_nb.server.shelf.expiry import (
    FINISHED_GRACE,
    LONGEST_TTL,
    SHORTEST_TTL,
    SILENT_GRACE,
    Wakefulness,
    heard_before,
    removable_before,
    sweep_forever,
    sweep_once,
)
from tinker_nb.server.shelf.trash import discard
from tinker_nb.server.store.records import SessionRow

HOUR = 3600.0


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of its own: a sweep concerns everything there is."""
    with serving(settings_for(tmp_path_factory.mktemp("data"))) as running:
        yield running


def sweep(served: Served, now: float) -> int:
    return sweep_once(served.house, now)


# Decisions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "oldest_open", "before"),
    [(1000.0, None, 995.0), (1000.0, 400.0, 395.0), (1000.0, 2000.0, 995.0)],
    ids=["nothing is open", "an old request is open", "a clock went back"],
)
def test_when_an_expired_checkpoint_may_go(
    now: float, oldest_open: float | None, before: float
) -> None:
    assert removable_before(now, oldest_open) == before


@pytest.mark.parametrize(
    ("awake_since", "before"),
    [(0.0, 700.0), (699.0, 700.0), (700.0, None), (990.0, None)],
)
def test_when_a_session_counts_as_silent(awake_since: float, before: float | None) -> None:
    assert heard_before(1000.0, awake_since, 300.0) == before


def test_a_sleep_is_noticed() -> None:
    awake = Wakefulness(since=0.0, seen=0.0)
    awake.round(60.0, every=60.0)
    awake.round(121.0, every=60.0)
    assert awake.since == 0.0
    awake.round(3721.0, every=60.0)
    assert awake.since == 3721.0
    awake.round(3781.0, every=60.0)
    assert awake.since == 3721.0
    awake.round(100.0, every=60.0)
    assert awake.since == 100.0


@pytest.mark.parametrize("ttl", [SHORTEST_TTL, LONGEST_TTL])
def test_the_ends_of_a_ttl_are_in(ttl: int) -> None:
    assert expiry.expiry(ttl, 10.0) == ttl + 10.0
    assert expiry.expiry(None, 10.0) is None
    for wrong in (SHORTEST_TTL - 1, LONGEST_TTL + 1, 0, -5):
        with pytest.raises(InvalidInputError, match="ttl_seconds"):
            expiry.check_ttl(wrong)


# Checkpoints -------------------------------------------------------------------------------------


def test_expired_checkpoints_go_with_their_files(served: Served) -> None:
    now = time.time()
    run = put_run(served)
    gone = put_checkpoint(served, run, "gone", expires_at=now - 60)
    stays = put_checkpoint(served, run, "stays", expires_at=now + 60)
    ever = put_checkpoint(served, run, "ever")
    folder = folder_of(served, gone)
    assert sweep(served, now) >= 1
    assert kept(served, gone) is None
    assert not folder.exists()
    for path in (stays, ever):
        assert folder_of(served, path).is_dir()
    assert not list(served.house.home.checkpoints.glob(".*"))
    assert sweep(served, now) == 0
    sweep(served, now + 120)
    assert kept(served, stays) is None
    assert folder_of(served, ever).is_dir()


def test_an_expired_checkpoint_is_not_listed_before_it_is_swept(served: Served) -> None:
    run = put_run(served)
    path = put_checkpoint(served, run, expires_at=time.time() - 1)
    with served.client() as http:
        assert http.get(f"/api/v1/training_runs/{run}/checkpoints").json() == {"checkpoints": []}
        assert "last_checkpoint" not in http.get(f"/api/v1/training_runs/{run}").json()
        asked = http.post("/api/v1/weights_info", json={"tinker_path": path})
        assert asked.status_code == 404
        assert http.put(route_of(path, "ttl"), json={"ttl_seconds": None}).status_code == 404


def test_what_is_asked_for_earlier_is_read_first(served: Served) -> None:
    """A request in the queue may still read what expired after it came in."""
    gate = Gate(served.house)
    try:
        with served.client() as http:
            sample = {
                "base_model": "base",
                "prompt": {"chunks": [{"type": "encoded_text", "tokens": [1, 2]}]},
                "sampling_params": {"max_tokens": 1},
            }
            asked = http.post("/api/v1/asample", json=sample).json()["request_id"]
            assert gate.holding.wait(60)
            soon = time.time() + 1
            path = put_checkpoint(served, put_run(served), expires_at=soon)
            sweep(served, soon + HOUR)
            assert folder_of(served, path).is_dir()
            gate.open()
            body = {"request_id": asked}
            while http.post("/api/v1/retrieve_future", json=body).status_code == 408:
                pass
        sweep(served, soon + HOUR)
        assert kept(served, path) is None
    finally:
        gate.remove()


def test_ephemeral_weights_go_when_a_newer_save_took_their_place(served: Served) -> None:
    now = time.time()
    session = put_session(served)
    run = put_run(served, session)
    old, new = (
        put_checkpoint(
            served, run, f"e{age}", "sampler_weights", ephemeral=True, created_at=now - age
        )
        for age in (600, 300)
    )
    row = kept(served, new)
    assert row is not None
    put_sampler(served, session, directory=row.directory, follows=run)
    sweep(served, now)
    assert folder_of(served, old).is_dir()
    sweep(served, now + 10)
    assert kept(served, old) is None
    assert folder_of(served, new).is_dir()


@pytest.mark.parametrize(
    ("end", "grace"),
    [("success", FINISHED_GRACE), ("errored", FINISHED_GRACE), ("silent", SILENT_GRACE)],
)
def test_ephemeral_weights_outlive_their_session_for_a_while(
    served: Served, end: str, grace: float
) -> None:
    ended = time.time() - 10 * SILENT_GRACE
    session = put_session(served, finished_at=ended, heartbeat_at=ended, end=end)
    run = put_run(served, session)
    path = put_checkpoint(served, run, "e", "sampler_weights", ephemeral=True)
    named = put_checkpoint(served, run, "n", "sampler_weights")
    row = kept(served, path)
    assert row is not None
    put_sampler(served, session, directory=row.directory)
    for moment in (ended + grace - 1, ended + grace + 11):
        sweep(served, moment)
        assert folder_of(served, path).is_dir()
    sweep(served, ended + grace + 22)
    assert kept(served, path) is None
    assert kept(served, named) is not None


def test_ephemeral_weights_of_a_running_session_stay(served: Served) -> None:
    now = time.time()
    session = put_session(served, heartbeat_at=now + 100 * HOUR)
    path = put_checkpoint(served, put_run(served, session), "e", "sampler_weights", ephemeral=True)
    row = kept(served, path)
    assert row is not None
    put_sampler(served, session, directory=row.directory)
    for hours in (0, 30, 90):
        sweep(served, now + hours * HOUR)
    assert folder_of(served, path).is_dir()


def test_other_folders_are_left_alone(served: Served) -> None:
    """What is being written has a hidden name, and what nothing names may be named soon."""
    place = served.house.home.checkpoints
    others = [place / name for name in (".being-written", "0" * 24)]
    for each in others:
        each.mkdir()
    sweep(served, time.time() + 1000 * HOUR)
    assert all(each.is_dir() for each in others)
    for each in others:
        each.rmdir()


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "../outside", "/outside", ""])
def test_only_folders_of_checkpoints_are_discarded(tmp_path: Path, name: str) -> None:
    place = tmp_path / "checkpoints"
    for each in (place, tmp_path / "outside", place / ".hidden"):
        each.mkdir(exist_ok=True)
    discard(place, name)
    discard(place, "never-there")
    assert {each.name for each in tmp_path.iterdir()} == {"checkpoints", "outside"}
    assert [each.name for each in place.iterdir()] == [".hidden"]


def test_sampling_from_what_expired_fails_with_a_sentence(served: Served) -> None:
    with served.client() as http:
        run = new_model(http)
        path = put_checkpoint(served, run, "gone", "sampler_weights")
        http.delete(route_of(path))
        asked = http.post(
            "/api/v1/create_sampling_session",
            json={
                "session_id": put_session(served),
                "sampling_session_seq_id": 0,
                "model_path": path,
            },
        )
        assert asked.status_code == 404
        assert asked.json()["detail"].startswith("There is no checkpoint")


# The loop ----------------------------------------------------------------------------------------


async def test_it_sweeps_until_cancelled_whatever_happens(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = asyncio.Semaphore(0)
    loop = asyncio.get_running_loop()
    awake: list[float] = []

    def failing(_: Any, now: float, awake_since: float) -> int:
        awake.append(awake_since)
        loop.call_soon_threadsafe(rounds.release)
        raise OSError("the disk is gone")

    monkeypatch.setattr(expiry, "sweep_once", failing)
    began = time.time()
    task = asyncio.create_task(sweep_forever(served.house, 0.01))
    for _ in range(3):
        await asyncio.wait_for(rounds.acquire(), 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert min(awake) >= began


def test_a_server_that_slept_hears_its_clients_first(served: Served) -> None:
    now = time.time() + 50 * HOUR
    session = put_session(served, heartbeat_at=now - 30 * HOUR)
    sweep_once(served.house, now, awake_since=now - 10)
    row = served.house.records.get(SessionRow, session)
    assert row is not None
    assert row.finished_at is None
    sweep_once(served.house, now, awake_since=now - 301)
    row = served.house.records.get(SessionRow, session)
    assert row is not None
    assert row.end == "silent"


def test_deleting_takes_the_files_at_once(served: Served) -> None:
    path = put_checkpoint(served, put_run(served))
    folder = folder_of(served, path)
    with served.client() as http:
        assert http.delete(route_of(path)).status_code == 200
        assert not folder.exists()
        again = http.delete(route_of(path))
    assert again.status_code == 404
    assert again.json()["detail"] == f"There is no checkpoint {path}."
