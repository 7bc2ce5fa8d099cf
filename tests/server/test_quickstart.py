"""The quick-start dialect by plain HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.server.conftest import Gate, json_call, json_datum

CHAT = [[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "world"}]]


def call(model_id: str, data: Any = CHAT, **changes: Any) -> dict[str, Any]:
    return {"model_id": model_id, "data": data, "loss_fn": "cross_entropy", **changes}


@pytest.fixture
def lora(http: httpx.Client) -> str:
    answer = http.post("/api/v1/add_lora", json={"base_model": "tiny-chat", "rank": 8})
    assert answer.status_code == 200
    return str(answer.json()["model_id"])


def wait(http: httpx.Client, submitted: httpx.Response) -> httpx.Response:
    """Ask until a future of this dialect is not pending any more."""
    body = {"request_id": submitted.json()["request_id"]}
    # The official path waits for us, so that the test need not ask in a loop.
    http.post("/api/v1/retrieve_future", json=body)
    return http.post("/retrieve_future", json=body)


def test_train_and_sample_waiting(http: httpx.Client, lora: str) -> None:
    losses = []
    # The adapter's beginning is random, so there are steps to spare.
    for _ in range(20):
        result = http.post("/api/v1/forward_backward", json=call(lora)).json()
        losses.append(result["loss"])
        step = http.post(
            "/api/v1/optim_step",
            json={"model_id": lora, "adam_params": {"learning_rate": 5e-3}},
        ).json()
        assert step["metrics"]["step_completed"] == 1.0
        assert step["metrics"]["learning_rate"] == 5e-3
        assert step["model_id"] == lora
    assert losses[-1] < losses[0] * 0.1
    assert result["num_samples"] == 1
    assert result["model_id"] == lora
    # "world" and the end of the turn.
    assert result["metrics"]["num_tokens"] == 6
    assert result["loss"] == pytest.approx(result["metrics"]["loss:sum"] / 6)
    body = {"model_id": lora, "prompts": ["hello"], "sampling_params": {"temperature": 0.0}}
    drawn = http.post("/api/v1/sample", json=body).json()
    assert drawn["generated_text"] == "world"
    assert drawn["completions"] == ["world"]
    assert drawn["sequences"][0]["stop_reason"] == "stop"
    assert len(drawn["sequences"][0]["logprobs"]) == 6


def test_five_batches_at_once(http: httpx.Client, lora: str, gate: Gate) -> None:
    data = [[[{"role": "user", "content": f"number {i}"}]] for i in range(5)]
    submitted = [http.post("/api/v1/forward_backward_async", json=call(lora, d)) for d in data]
    assert [answer.json()["model_id"] for answer in submitted] == [lora] * 5
    pending = [
        http.post("/retrieve_future", json={"request_id": answer.json()["request_id"]})
        for answer in submitted
    ]
    assert [(a.status_code, a.json()) for a in pending] == [(202, {"status": "pending"})] * 5
    gate.open()
    results = [wait(http, answer) for answer in submitted]
    assert [answer.status_code for answer in results] == [200] * 5
    assert all(answer.json()["metrics"]["num_tokens"] > 5 for answer in results)
    step = http.post("/api/v1/optim_step_async", json={"model_id": lora})
    assert wait(http, step).json()["metrics"]["grad_norm"] > 0


def test_a_conversation_without_an_assistant_is_trained_whole(
    http: httpx.Client, lora: str
) -> None:
    data = [[{"role": "user", "content": "test"}]]
    result = http.post("/api/v1/forward_backward", json=call(lora, data)).json()
    # All but the first of: the role's mark, four letters, the end of the turn.
    assert result["metrics"]["num_tokens"] == 5


def test_forward_leaves_no_gradient_and_a_step_without_one_fails(
    http: httpx.Client, lora: str
) -> None:
    assert http.post("/api/v1/forward", json=call(lora)).json()["loss"] > 0
    step = http.post("/api/v1/optim_step", json={"model_id": lora})
    assert (step.status_code, "forward_backward first" in step.json()["detail"]) == (400, True)
    failed = http.post("/api/v1/optim_step_async", json={"model_id": lora})
    assert wait(http, failed).status_code == 400


def test_async_life_of_a_model(http: httpx.Client) -> None:
    added = wait(http, http.post("/api/v1/add_lora_async", json={"base_model": "base"}))
    model_id = added.json()["model_id"]
    drawn = http.post("/api/v1/asample", json={"model_id": model_id, "prompts": ["hello"]})
    assert "generated_text" in wait(http, drawn).json()
    forward = http.post("/api/v1/forward_async", json=call(model_id))
    assert wait(http, forward).json()["loss"] > 0
    removed = http.post("/api/v1/remove_lora_async", json={"model_id": model_id})
    assert wait(http, removed).json()["status"] == "deleted"
    gone = http.post("/api/v1/forward_backward", json=call(model_id))
    assert (gone.status_code, "was removed" in gone.json()["detail"]) == (404, True)


def test_remove_lora_knows_the_older_name(http: httpx.Client, lora: str) -> None:
    answer = http.post("/api/v1/remove_lora", json={"adapter_id": lora})
    assert answer.json()["status"] == "deleted"


def test_every_form_of_a_prompt(http: httpx.Client) -> None:
    asked = {"role": "user", "content": "Reverse: cat"}
    chunks = {"chunks": [{"tokens": [104, 105]}]}
    for prompt in (
        {"prompts": ["one", "two"], "num_samples": 2},
        {"prompt": "one"},
        {"messages": [asked]},
        {"prompt": chunks},
    ):
        body = {"base_model": "base", "sampling_params": {"max_tokens": 4}, **prompt}
        answer = http.post("/api/v1/sample", json=body)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["completions"]) == (4 if "prompts" in prompt else 1)
        assert all(len(s["tokens"]) <= 4 for s in answer.json()["sequences"])


def test_unknown_and_missing_ids(http: httpx.Client) -> None:
    unknown = http.post("/retrieve_future", json={"request_id": "future_00000000"})
    assert unknown.status_code == 404
    missing = http.post("/retrieve_future", json={})
    assert (missing.status_code, missing.json()) == (422, {"detail": "request_id: Field required."})


# The same path, two dialects ---------------------------------------------------------------------

TOKENS = [1, 2, 3, 4]
STEP = {"adam_params": {"learning_rate": 1e-3}}
CHUNKS = {"chunks": [{"type": "encoded_text", "tokens": TOKENS}]}


@pytest.mark.parametrize(
    ("path", "body", "official"),
    [
        ("forward_backward", call(""), False),
        ("forward_backward", json_call("", None, json_datum(TOKENS)), True),
        ("forward_backward", json_call("", 5, json_datum(TOKENS)), True),
        ("forward", call(""), False),
        ("optim_step", {"model_id": "", "seq_id": 9, **STEP}, True),
        ("optim_step", {"model_id": "", **STEP}, False),
        ("asample", {"model_id": "", "prompts": ["x"]}, False),
        ("asample", {"base_model": "base", "prompts": ["x"]}, False),
        ("asample", {"base_model": "base", "prompt": CHUNKS}, True),
    ],
)
def test_the_body_decides(
    http: httpx.Client, lora: str, path: str, body: dict[str, Any], official: bool
) -> None:
    http.post("/api/v1/forward_backward", json=call(lora))
    body = {**body, "model_id": lora} if "model_id" in body else body
    answer = http.post(f"/api/v1/{path}", json=body).json()
    if path == "asample":
        assert ("sample_sequence_ids" in answer) is official
    else:
        assert ("request_id" in answer) is official
        assert ("backend" in answer) is not official
