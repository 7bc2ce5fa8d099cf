"""Five batches over the quick-start dialect: one after another, and all at once."""

from __future__ import annotations

import time
from typing import Any

import httpx

from benchmarks.report import Row, median, spread
from benchmarks.serving import running_server
from tinker_nb.data import toy

BATCHES = 5
ROUNDS = 9
_POLL = 0.02  # each question costs the server time too


def bodies(model_id: str) -> list[dict[str, Any]]:
    """Return the requests' bodies: different words, 16 conversations each."""
    data = [toy.pig_latin_conversations(16, seed=seed, split="train") for seed in range(BATCHES)]
    return [{"model_id": model_id, "data": each, "loss_fn": "cross_entropy"} for each in data]


def post(http: httpx.Client, path: str, body: dict[str, Any]) -> httpx.Response:
    """Send a body; an error of the server is raised."""
    return http.post(path, json=body).raise_for_status()


def in_turn(http: httpx.Client, requests: list[dict[str, Any]]) -> float:
    """Return the seconds for all when each waits for the one before."""
    began = time.perf_counter()
    for body in requests:
        post(http, "/api/v1/forward_backward", body)
    return time.perf_counter() - began


def at_once(http: httpx.Client, requests: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the seconds until all are accepted, and until all results are here."""
    began = time.perf_counter()
    answers = [post(http, "/api/v1/forward_backward_async", body).json() for body in requests]
    accepted = time.perf_counter() - began
    for answer in answers:
        _collect(http, {"request_id": answer["request_id"]})
    return accepted, time.perf_counter() - began


def _collect(http: httpx.Client, body: dict[str, Any]) -> None:
    while post(http, "/retrieve_future", body).status_code == 202:
        time.sleep(_POLL)


def rows() -> list[Row]:
    """Do both in turns on one server."""
    with running_server() as server:
        headers = {"X-API-Key": server.api_key.get_secret_value()}
        with httpx.Client(base_url=server.base_url, headers=headers, timeout=120) as http:
            made = post(http, "/api/v1/add_lora", {"base_model": "tiny-chat", "rank": 32}).json()
            requests = bodies(made["model_id"])
            in_turn(http, requests)  # warm
            pairs = [(in_turn(http, requests), at_once(http, requests)) for _ in range(ROUNDS)]
    return _lines([sync for sync, _ in pairs], [together for _, together in pairs])


def _lines(sync: list[float], together: list[tuple[float, float]]) -> list[Row]:
    accepted = [1000 * first for first, _ in together]
    series = {
        "5 batches, sync, one after another": [1000 * value for value in sync],
        "5 batches, async, all submitted at once": [1000 * last for _, last in together],
    }
    lines = [
        Row(name, f"{median(found):.0f} ms", f"{spread(found, 'ms')}; 16 conversations a batch")
        for name, found in series.items()
    ]
    name = "the same, until all five were accepted"
    return [*lines, Row(name, f"{median(accepted):.0f} ms", spread(accepted, "ms"))]
