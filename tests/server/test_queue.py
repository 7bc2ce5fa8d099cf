"""The queue to be seen, at once and as it changes; giving requests up; many polled at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server.conftest import (
    Gate,
    Served,
    collect,
    json_call,
    json_datum,
    new_model,
    new_session,
)

DATUM = json_datum(list(b"abcdef"))


@pytest.fixture
def held(served: Served, http: httpx.Client, gate: Gate) -> Iterator[tuple[str, list[str]]]:
    """Three requests of one model, the first of them held in the engine."""
    gate.open()
    model_id = new_model(http)
    gate.remove()
    closed = Gate(served.house)
    ids = []
    for number in (1, 2, 3):
        path = "forward_backward" if number == 2 else "optim_step"
        body = json_call(model_id, number, DATUM) if number == 2 else {"type": "optim_step"}
        answer = http.post(f"/api/v1/{path}", json={**body, "model_id": model_id, "seq_id": number})
        ids.append(answer.json()["request_id"])
        assert closed.holding.wait(60)
    yield model_id, ids
    closed.remove()


def mine(queue: Any, model_id: str) -> list[dict[str, Any]]:
    return [one for one in queue["requests"] if one.get("model_id") == model_id]


def test_the_queue_says_where_each_request_is(
    http: httpx.Client, held: tuple[str, list[str]]
) -> None:
    model_id, ids = held
    told = mine(http.get("/api/v1/queue").json(), model_id)
    assert [one["request_id"] for one in told] == ids
    assert [one["state"] for one in told] == ["running", "queued", "queued"]
    assert [one["place"] for one in told] == [0, 1, 2]
    assert "waiting behind 2 requests" in told[2]["reason"]
    assert all(one["waited_seconds"] >= 0 for one in told)
    waiting = {"request_id": ids[2], "known_state": "accepted"}
    poll = http.post("/api/v1/retrieve_future", json=waiting)
    assert poll.status_code == 408
    assert poll.json()["place"] == 2


def test_changes_are_sent_as_they_come(http: httpx.Client, held: tuple[str, list[str]]) -> None:
    model_id, ids = held
    with http.stream("GET", "/api/v1/queue/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        looks = (
            mine(json.loads(line.removeprefix("data: ")), model_id)
            for line in stream.iter_lines()
            if line.startswith("data: ")
        )
        assert len(next(looks)) == 3
        http.post("/api/v1/cancel_future", json={"request_id": ids[2]})
        # What waits is taken out at once, and told of at the engine's next turn.
        third = next(look[2] for look in looks if "place" not in look[2])
        assert third["request_id"] == ids[2]


def test_a_request_that_waits_is_given_up(
    served: Served, http: httpx.Client, held: tuple[str, list[str]]
) -> None:
    _, ids = held
    assert http.post("/api/v1/cancel_future", json={"request_id": ids[1]}).status_code == 200
    assert http.post("/api/v1/cancel_future", json={"request_id": "unknown"}).status_code == 200
    served.house.workshop.train.__self__.open()  # type: ignore[attr-defined]  # the gate
    results = [
        collect(http, httpx.Response(200, json={"request_id": request_id})).json()
        for request_id in ids
    ]
    assert results[0]["metrics"]["step"] == 1
    assert results[1] == {"error": "The request was cancelled.", "category": "user"}
    # The gradients that were given up are in no step.
    assert results[2]["metrics"]["grad_norm"] == 0


def test_what_has_ended_since_a_cursor(http: httpx.Client) -> None:
    body = {"session_id": new_session(http), "sampling_session_seq_id": 0, "base_model": "base"}
    sampler = http.post("/api/v1/create_sampling_session", json=body).json()["sampling_session_id"]
    target = {"type": "sampling_session", "sampling_session_id": sampler, "cloned_sampler_id": 0}
    poll = {"target": target, "prev_cursor": 0, "timeout": 0}
    empty = http.post("/api/v1/retrieve_futures", json=poll).json()
    assert empty == {"completions": [], "cursor": 0}
    ids = []
    for number in (0, 1, 10**9):
        request = {
            "sampling_session_id": sampler,
            "seq_id": number,
            "prompt": {"chunks": [{"tokens": [1, 2, 3]}]},
            "sampling_params": {"max_tokens": 2},
        }
        answer = http.post("/api/v1/asample", json=request)
        ids.append(answer.json()["request_id"])
        collect(http, answer)
    found = http.post("/api/v1/retrieve_futures", json=poll).json()
    assert [one["request_id"] for one in found["completions"]] == ids[:2]
    assert all(one["state"] == "finished" for one in found["completions"])
    later = {**poll, "prev_cursor": found["cursor"]}
    assert http.post("/api/v1/retrieve_futures", json=later).json()["completions"] == []
    clone = {**poll, "target": {**target, "cloned_sampler_id": 1}}
    (other,) = http.post("/api/v1/retrieve_futures", json=clone).json()["completions"]
    assert other["request_id"] == ids[2]
