"""Figures and logs: what they tell, and what they never do."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.server.conftest import (
    KEY,
    Served,
    collect,
    json_call,
    json_datum,
    new_model,
    serving,
    settings_for,
)
from tinker_nb.server.watch import logs
from tinker_nb.server.watch.metrics import Metrics, Standing

Figures = dict[tuple[str, tuple[str, ...]], float]


def read(text: str) -> Figures:
    """Return every figure under its name and its labels' values."""
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, llama_dir: Path) -> Iterator[Served]:
    """A server of this module's own: figures count what everybody does."""
    settings = settings_for(tmp_path_factory.mktemp("figures"), model=str(llama_dir))
    with serving(settings) as served:
        yield served


@pytest.fixture
def client(small: Served) -> Iterator[httpx.Client]:
    with small.client() as client:
        yield client


def figures(client: httpx.Client) -> Figures:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return read(answer.text)


def test_figures_need_the_key(small: Served) -> None:
    assert httpx.get(small.url + "/metrics").status_code == 401


def test_requests_are_counted_by_template(client: httpx.Client) -> None:
    before = figures(client)
    client.get("/api/v1/training_runs/some-name")
    client.get("/no/such/place")
    client.get("/", headers={"X-API-Key": "wrong"})
    client.request("PROPFIND", "/")
    after = figures(client)
    name = "tinker_nb_http_requests_total"
    for labels in (
        ("GET", "/api/v1/training_runs/{model_id}", "404"),
        ("GET", "(none)", "404"),
        ("GET", "(none)", "401"),
    ):
        assert after[name, labels] == before.get((name, labels), 0) + 1
    assert any(labels[:1] == ("other",) for _, labels in after)
    assert after["tinker_nb_http_request_seconds_count", ("GET", "/metrics")] >= 1


def test_no_label_is_a_users(small: Served, client: httpx.Client) -> None:
    model_id = new_model(client)
    future = client.post(
        "/api/v1/forward_backward", json=json_call(model_id, 1, json_datum([1, 2, 3]))
    )
    collect(client, future)
    client.get(f"/api/v1/training_runs/{model_id}?secret=word")
    text = client.get("/metrics").text
    for word in (model_id, model_id.split(":")[0], future.json()["request_id"], "word", KEY):
        assert word not in text


def test_memory(client: httpx.Client) -> None:
    if Path("/proc/self/stat").exists():
        assert figures(client)["process_resident_memory_bytes", ()] > 1e6


def test_futures_and_tokens() -> None:
    metrics = Metrics(Standing)
    metrics.observe_future("ForwardBackward", "done", 0.3, 7)
    metrics.observe_future("ForwardBackward", "user", 0.1, 100)
    metrics.observe_future("Sample", "done", 1.5, 20)
    metrics.observe_future("OptimStep", "done", 0.1, 1)
    told = read(metrics.text().decode())
    assert told["tinker_nb_futures_total", ("ForwardBackward", "done")] == 1
    assert told["tinker_nb_futures_total", ("ForwardBackward", "user")] == 1
    assert told["tinker_nb_tokens_total", ("trained",)] == 7
    assert told["tinker_nb_tokens_total", ("sampled",)] == 20
    assert told["tinker_nb_future_seconds_sum", ("Sample",)] == 1.5
    assert told["tinker_nb_future_seconds_bucket", ("Sample", "1.0")] == 0
    assert told["tinker_nb_future_seconds_bucket", ("Sample", "5.0")] == 1


def test_what_the_engine_did_and_has(client: httpx.Client) -> None:
    before, model_id = figures(client), new_model(client)
    call = json_call(model_id, 1, json_datum([1, 2, 3, 4]))
    collect(client, client.post("/api/v1/forward_backward", json=call))
    collect(client, client.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 2}))
    after = figures(client)
    for kind in ("CreateModel", "ForwardBackward", "OptimStep"):
        key = ("tinker_nb_futures_total", (kind, "done"))
        assert after[key] == before.get(key, 0) + 1
    trained = ("tinker_nb_tokens_total", ("trained",))
    assert after[trained] == before.get(trained, 0) + 3
    live = ("tinker_nb_live_models", ())
    assert after[live] == before[live] + 1


def test_what_is_to_do() -> None:
    standing = Standing(
        (("Sample", "queued"), ("Sample", "queued"), ("OptimStep", "running")), 3, 4
    )
    told = read(Metrics(lambda: standing).text().decode())
    assert told["tinker_nb_queue", ("Sample", "queued")] == 2
    assert told["tinker_nb_queue", ("OptimStep", "running")] == 1
    assert told["tinker_nb_live_models", ()] == 3
    assert told["tinker_nb_http_open_requests", ()] == 4
    unknown = read(Metrics(Standing).text().decode())
    assert not any(name in ("tinker_nb_queue", "tinker_nb_live_models") for name, _ in unknown)


# Logs --------------------------------------------------------------------------------------------


Logged = Callable[[], str]


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Logged]:
    """What went to stderr since the last look; afterwards logging is as it was."""
    root, own = logging.getLogger(), logging.getLogger("tinker_nb")
    kept = root.handlers[:], root.level, own.level
    yield lambda: capsys.readouterr().err
    root.handlers[:] = kept[0]
    root.setLevel(kept[1])
    own.setLevel(kept[2])


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_per_request(client: httpx.Client, logged: Logged) -> None:
    logs.setup_logging("json", "info")
    client.get("/api/v1/training_runs/a-name?word=secret")
    client.post("/api/v1/create_session", json={"tags": ["private"]})
    text = logged()
    first, second = [line for line in lines(text) if line["logger"] == logs.access.name]
    told = {"method": "GET", "path": "/api/v1/training_runs/{model_id}", "status": 404}
    assert told.items() <= first.items()
    assert first["level"] == "INFO"
    assert first["milliseconds"] >= 0
    assert re.match(r"\d{4}-\d\d-\d\dT", first["timestamp"])
    assert (second["path"], second["status"]) == ("/api/v1/create_session", 200)
    for word in ("secret", "private", "a-name", KEY):
        assert word not in text


def test_requests_are_not_logged_unless_asked_for(client: httpx.Client, logged: Logged) -> None:
    logs.setup_logging("text", "warning")
    client.get("/")
    assert logged() == ""


def test_libraries_stay_quiet(logged: Logged) -> None:
    logs.setup_logging("text", "debug")
    logging.getLogger("sqlalchemy.engine").info("INSERT secret")
    logging.getLogger("tinker_nb.server").debug("ours")
    text = logged()
    assert "secret" not in text
    assert "DEBUG tinker_nb.server: ours" in text


def test_an_error_nobody_foresaw(
    small: Served, client: httpx.Client, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a bug")

    logs.setup_logging("json", "warning")
    monkeypatch.setattr(small.house.models, "check_base", fails)
    answer = client.get("/api/v1/tokenizer")
    assert answer.status_code == 500
    assert answer.json() == {"detail": "The server failed on this request (RuntimeError)."}
    (line,) = lines(logged())
    assert (line["level"], line["path"]) == ("ERROR", "/api/v1/tokenizer")
    assert 'raise RuntimeError("a bug")' in line["exc_info"]
    labels = ("GET", "/api/v1/tokenizer", "500")
    assert figures(client)["tinker_nb_http_requests_total", labels] == 1
