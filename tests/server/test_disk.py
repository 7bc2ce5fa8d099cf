"""A disk that is full, and files that are damaged: refused in words, and nothing is lost."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.conftest import (
    KEY,
    collect,
    json_call,
    json_datum,
    new_model,
    new_session,
    serving,
    settings_for,
)
from tests.server.killing import Nursery
from tinker_nb.errors import ConfigurationError
from tinker_nb.server.config import Settings
from tinker_nb.server.house import open_house

DATUM = json_datum(list(b"abcdefgh"))


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """Let a process write no file beyond its first bytes, as on a full disk."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def nursery(tmp_path: Path, llama_dir: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path / "data", llama_dir)
    nursery.start()
    yield nursery
    nursery.close()


def step(http: httpx.Client, model_id: str) -> Any:
    """Train one step, and return its figures or why it failed."""
    for path, body in (("forward_backward", json_call(model_id, None, DATUM)), ("optim_step", {})):
        body = {**body, "model_id": model_id, "type": path, "seq_id": next(NUMBERS)}
        answer = http.post(f"/api/v1/{path}", json=body)
        if answer.status_code != 200:
            return {"refused": answer.status_code, "error": answer.json()["detail"]}
        result = collect(http, answer).json()
        if "error" in result:
            return result
    return result["metrics"]


NUMBERS = iter(range(1, 10**6))


@pytest.mark.skipif(sys.platform != "linux", reason="limits a running process")
def test_a_full_disk_refuses_and_loses_nothing(nursery: Nursery) -> None:
    with httpx.Client(base_url=nursery.url, headers={"X-API-Key": KEY}, timeout=60) as http:
        model_id = new_model(http)
        assert step(http, model_id)["step"] == 1
        with full_disk(nursery.pid):
            refused = [step(http, model_id) for _ in range(3)]
            save = {"model_id": model_id, "seq_id": next(NUMBERS), "path": "full"}
            kept = http.post("/api/v1/save_weights", json=save)
            assert http.get("/healthz").status_code == 200
        assert all("error" in one for one in refused)
        assert all("disk" in one["error"] for one in refused), refused
        assert all(one.get("category", "server") == "server" for one in refused)
        # Nothing that makes clients repeat it for minutes.
        assert all(one.get("refused", 400) == 400 for one in refused)
        assert kept.status_code == 400 or "error" in collect(http, kept).json()
        assert step(http, model_id)["step"] == 2
        assert http.get("/api/v1/checkpoints").json()["checkpoints"] == []


def test_a_damaged_checkpoint_is_refused_and_the_model_stays(
    tmp_path: Path, llama_dir: Path
) -> None:
    with serving(settings_for(tmp_path, model=str(llama_dir))) as served, served.client() as http:
        model_id = new_model(http)
        save = {"model_id": model_id, "seq_id": next(NUMBERS), "path": "a"}
        path = collect(http, http.post("/api/v1/save_weights", json=save)).json()["path"]
        (weights,) = (tmp_path / "checkpoints").glob("*/adapter_model.safetensors")
        os.truncate(weights, weights.stat().st_size // 2)
        load = {"model_id": model_id, "seq_id": next(NUMBERS), "path": path, "optimizer": True}
        failed = collect(http, http.post("/api/v1/load_weights", json=load)).json()
        assert failed["category"] == "user"
        assert "damaged" in failed["error"]
        assert step(http, model_id)["step"] == 1
        new = {"session_id": new_session(http), "model_seq_id": 0, "path": path, "optimizer": False}
        failed = collect(http, http.post("/api/v1/load_weights", json=new)).json()
        assert "damaged" in failed["error"]
        gone = http.post("/api/v1/get_info", json={"model_id": f"{new['session_id']}:train:0"})
        assert gone.status_code == 404


def test_a_damaged_state_falls_back_to_the_checkpoint_and_says_so(
    tmp_path: Path, llama_dir: Path
) -> None:
    settings = settings_for(tmp_path, model=str(llama_dir))
    with serving(settings) as served, served.client() as http:
        saved, bare = new_model(http), new_model(http)
        assert step(http, saved)["step"] == 1
        body = {"model_id": saved, "seq_id": next(NUMBERS), "path": "a"}
        collect(http, http.post("/api/v1/save_weights", json=body))
        assert step(http, saved)["step"] == 2
    for file in (tmp_path / "living").iterdir():
        file.write_bytes(b"nonsense")
    with serving(settings) as served, served.client() as http:
        told = http.post("/api/v1/get_info", json={"model_id": saved}).json()
        assert "weights/a" in told["restored"]
        assert step(http, saved)["step"] == 2
        lost = http.post("/api/v1/get_info", json={"model_id": bare})
        assert (lost.status_code, "was lost" in lost.json()["detail"]) == (404, True)


def test_cheaper_durability_goes_back_to_the_checkpoint(tmp_path: Path, llama_dir: Path) -> None:
    settings = settings_for(tmp_path, model=str(llama_dir), durability="checkpoint")
    with serving(settings) as served, served.client() as http:
        model_id = new_model(http)
        step(http, model_id)
        body = {"model_id": model_id, "seq_id": next(NUMBERS), "path": "a"}
        collect(http, http.post("/api/v1/save_weights", json=body))
        assert step(http, model_id)["step"] == 2
        assert list((tmp_path / "living").iterdir()) == []
    with serving(settings) as served, served.client() as http:
        told = http.post("/api/v1/get_info", json={"model_id": model_id}).json()
        assert "weights/a" in told["restored"]
        assert step(http, model_id)["step"] == 2


@pytest.mark.parametrize("content", [b"no database" * 500, None])
def test_a_damaged_database_is_refused_and_left(
    tmp_path: Path, llama_dir: Path, content: bytes | None
) -> None:
    settings = Settings(data_dir=tmp_path, model=str(llama_dir))
    file = tmp_path / "tinker_nb.sqlite"
    if content is None:
        open_house(settings).close()
        content = file.read_bytes()
        # A page in the middle that makes no sense.
        content = content[:4096] + os.urandom(8192) + content[12288:]
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="Nothing in it was changed"):
        open_house(settings)
    assert file.read_bytes() == content


def test_data_of_a_later_version_is_refused(tmp_path: Path, llama_dir: Path) -> None:
    settings = Settings(data_dir=tmp_path, model=str(llama_dir))
    house = open_house(settings)
    with house.database.quick.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    house.close()
    with pytest.raises(ConfigurationError, match="later version"):
        open_house(settings)
