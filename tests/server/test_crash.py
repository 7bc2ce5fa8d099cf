"""Killed fifty times at random moments under load: nothing is lost, nothing is done twice."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.conftest import KEY, json_call, json_datum, new_session, serving, settings_for
from tests.server.killing import Nursery

KILLS = 50
MODELS = 3
#: Steps after which a model's weights and optimizer are saved.
SAVED_EVERY = 4
LEAST_STEPS = 12


@dataclass
class Trained:
    """What one model's trainer was told, and what it remembers of it."""

    model_id: str
    losses: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    saved: dict[str, int] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    resubmitted: int = 0


class Trainer:
    """Trains one model step by step, whatever happens to the server."""

    def __init__(self, url: str, number: int, enough: Callable[[int], bool]) -> None:
        self._http = httpx.Client(base_url=url, headers={"X-API-Key": KEY}, timeout=10)
        self._number = number
        self._enough = enough
        self._seq = 0
        self.told = Trained(self._create())

    def _create(self) -> str:
        session = self._insist(lambda: new_session(self._http))
        body = {
            "session_id": session,
            "model_seq_id": 0,
            "base_model": "base",
            "lora_config": {"rank": 4, "seed": self._number},
        }
        result = self._result("/api/v1/create_model", body)
        assert "error" not in result, result
        return f"{session}:train:0"

    def run(self) -> None:
        """Train until there are enough steps."""
        with contextlib.closing(self._http):
            self._train()

    def _train(self) -> None:
        told = self.told
        while not self._enough(len(told.steps)):
            step = len(told.steps)
            output = self._done("/api/v1/forward_backward", self._call(step))
            told.losses.append(output["metrics"]["loss:sum"])
            body = {"adam_params": {"learning_rate": 1e-2}}
            told.steps.append(self._done("/api/v1/optim_step", body)["metrics"]["step"])
            if step % SAVED_EVERY == 0:
                path = self._done("/api/v1/save_weights", {"path": f"s{step}"})["path"]
                told.saved[path] = step + 1

    def _call(self, step: int) -> dict[str, Any]:
        call = json_call("", None, json_datum(tokens_of(self._number, step)))
        del call["model_id"], call["seq_id"]
        return call

    def _done(self, path: str, body: dict[str, Any]) -> Any:
        """Do a request until it is done; one that the server says it cut off is sent anew."""
        while True:
            self._seq += 1
            named = {"model_id": self.told.model_id, "seq_id": self._seq, **body}
            result = self._result(path, named)
            if "error" not in result:
                return result
            assert result["category"] == "server", result
            assert "Submit it again" in result["error"], result
            self.told.resubmitted += 1

    def _result(self, path: str, body: dict[str, Any]) -> Any:
        """Return a request's result; a lost answer is asked for again."""
        request_id = self._insist(lambda: self._answer(path, body))["request_id"]
        result = self._insist(
            lambda: self._answer("/api/v1/retrieve_future", {"request_id": request_id})
        )
        if hasattr(self, "told"):
            self.told.answers[request_id] = result
        return result

    def _answer(self, path: str, body: dict[str, Any]) -> Any:
        answer = self._http.post(path, json=body)
        while answer.status_code == 408:
            answer = self._http.post(path, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _insist(self, call: Callable[[], Any]) -> Any:
        """Do a call until there is an answer: the server may be dead."""
        deadline = time.monotonic() + 60
        while True:
            try:
                return call()
            except httpx.TransportError:
                assert time.monotonic() < deadline, "the server stays away"
                time.sleep(0.01)  # nothing tells when a port is listened at again


def tokens_of(number: int, step: int) -> list[int]:
    rng = random.Random(1000 * number + step)
    return [rng.randrange(256) for _ in range(12)]


@pytest.fixture
def nursery(tmp_path: Path, llama_dir: Path) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path / "data", llama_dir)
    yield nursery
    nursery.close()


def test_killed_fifty_times(nursery: Nursery, tmp_path: Path, llama_dir: Path) -> None:
    nursery.start()
    kills = 0
    rng = random.Random(7)
    trainers = [
        Trainer(nursery.url, number, lambda steps: kills >= KILLS and steps >= LEAST_STEPS)
        for number in range(MODELS)
    ]
    threads = [threading.Thread(target=trainer.run) for trainer in trainers]
    for thread in threads:
        thread.start()
    while kills < KILLS:
        time.sleep(rng.uniform(0.01, 0.5))  # the moment is the test's random part
        nursery.kill()
        kills += 1
        nursery.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert all(len(trainer.told.steps) >= LEAST_STEPS for trainer in trainers)
    told = [trainer.told for trainer in trainers]
    nursery.kill()
    _check_nothing_twice(told)
    assert sum(one.resubmitted for one in told) > 0, "no kill hit anything"
    settings = settings_for(tmp_path / "data", model=str(llama_dir))
    with serving(settings) as served, served.client() as http:
        _check_nothing_lost(http, told)
    _check_undisturbed(tmp_path, llama_dir, told)


def _check_nothing_twice(told: list[Trained]) -> None:
    for one in told:
        assert one.steps == [float(step + 1) for step in range(len(one.steps))]


def _check_nothing_lost(http: httpx.Client, told: list[Trained]) -> None:
    listed = http.get("/api/v1/checkpoints", params={"limit": 1000}).json()["checkpoints"]
    paths = {checkpoint["tinker_path"] for checkpoint in listed}
    assert paths == {path for one in told for path in one.saved}
    runs = http.get("/api/v1/training_runs", params={"limit": 100}).json()["training_runs"]
    assert {run["training_run_id"] for run in runs} == {one.model_id for one in told}
    for one in told:
        for request_id, answer in one.answers.items():
            again = http.post("/api/v1/retrieve_future", json={"request_id": request_id})
            assert again.json() == answer
        _check_loads(http, *list(one.saved.items())[-1])


def _check_loads(http: httpx.Client, path: str, steps: int) -> None:
    body = {"path": path, "optimizer": True, "session_id": new_session(http), "model_seq_id": 0}
    made = http.post("/api/v1/load_weights", json=body).json()
    model_id = _collected(http, made)["model_id"]
    step = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 1}).json()
    assert _collected(http, step)["metrics"]["step"] == steps + 1


def _collected(http: httpx.Client, future: dict[str, Any]) -> Any:
    body = {"request_id": future["request_id"]}
    answer = http.post("/api/v1/retrieve_future", json=body)
    while answer.status_code == 408:
        answer = http.post("/api/v1/retrieve_future", json=body)
    return answer.json()


def _check_undisturbed(tmp_path: Path, llama_dir: Path, told: list[Trained]) -> None:
    """Train the same again without kills: a gradient lost or counted twice would show."""
    with serving(settings_for(tmp_path / "calm", model=str(llama_dir))) as served:
        for number, one in enumerate(told):
            calm = Trainer(served.url, number, len(one.steps).__le__)
            calm.run()
            assert one.losses == pytest.approx(calm.told.losses, rel=1e-4)
