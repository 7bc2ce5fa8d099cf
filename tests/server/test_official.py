"""The official protocol, seen on the wire."""

from __future__ import annotations

import threading
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
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.protobuf import (
    CONTENT_TYPE,
    ForwardBackwardRequest,
    decode_output,
    encode_forward_backward,
)
from tinker_nb.wire.samples import decode_sample

TOKENS = list(b"the quick brown fox")


# Result forms ------------------------------------------------------------------------------------


def protobuf_call(model_id: str, seq_id: int | None) -> bytes:
    datum = Datum(ModelInput.from_ints(TOKENS[:-1]), {"target_tokens": TOKENS[1:]})
    return encode_forward_backward(
        ForwardBackwardRequest(model_id, [datum], "cross_entropy", seq_id=seq_id)
    )


def test_json_and_protobuf_say_the_same(http: httpx.Client, model_id: str) -> None:
    headers = {"content-type": CONTENT_TYPE}
    as_proto = http.post(
        "/api/v1/forward_backward", content=protobuf_call(model_id, 1), headers=headers
    )
    as_json = http.post("/api/v1/forward_backward", json=json_call(model_id, 2, json_datum(TOKENS)))
    one = decode_output(collect(http, as_proto, CONTENT_TYPE).content)
    two = collect(http, as_json).json()
    assert one.metrics == two["metrics"]
    ours = one.loss_fn_outputs[0]["logprobs"].tolist()
    assert two["loss_fn_outputs"][0]["logprobs"]["data"] == ours
    assert two["loss_fn_outputs"][0]["logprobs"]["shape"] == [len(TOKENS) - 1]
    assert collect(http, as_json, CONTENT_TYPE).headers["content-type"] == CONTENT_TYPE


def test_forward_path_leaves_no_gradient(http: httpx.Client, model_id: str) -> None:
    body = json_call(model_id, 1, json_datum(TOKENS))
    body["forward_input"] = body.pop("forward_backward_input")
    assert collect(http, http.post("/api/v1/forward", json=body)).json()["metrics"]
    step = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 2})
    assert collect(http, step).json()["metrics"]["grad_norm"] == 0.0


def test_results_can_be_read_again_and_in_both_places(http: httpx.Client, model_id: str) -> None:
    submitted = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 1})
    first, second = collect(http, submitted).json(), collect(http, submitted).json()
    root = http.post("/retrieve_future", json={"request_id": submitted.json()["request_id"]})
    assert first == second == root.json()


def sample_body(**changes: Any) -> dict[str, Any]:
    prompt = {"chunks": [{"type": "encoded_text", "tokens": TOKENS}]}
    params = {"max_tokens": 3, "temperature": 0.0}
    body = {"prompt": prompt, "sampling_params": params, "num_samples": 2, "type": "sample"}
    return {**body, **changes}


def test_sample_names_its_sequences(http: httpx.Client) -> None:
    submitted = http.post("/api/v1/asample", json=sample_body(base_model="base", num_samples=3))
    assert len(set(submitted.json()["sample_sequence_ids"])) == 3
    answer = decode_sample(collect(http, submitted, CONTENT_TYPE).content)
    assert len(answer.sequences) == 3
    assert collect(http, submitted).json()["sequences"][0]["tokens"] == answer.sequences[0].tokens


def test_chunks_may_lack_their_type(http: httpx.Client) -> None:
    body = sample_body(base_model="base", prompt={"chunks": [{"tokens": TOKENS}]})
    assert collect(http, http.post("/api/v1/asample", json=body)).json()["type"] == "sample"


# Repeats -----------------------------------------------------------------------------------------


def test_a_repeated_training_call_is_done_once(http: httpx.Client, model_id: str) -> None:
    body = json_call(model_id, 1, json_datum(TOKENS))
    submitted = [http.post("/api/v1/forward_backward", json=body) for _ in range(3)]
    assert len({answer.json()["request_id"] for answer in submitted}) == 1
    step = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 2})
    once = collect(http, step).json()["metrics"]["grad_norm"]
    other = new_model(http)
    collect(
        http, http.post("/api/v1/forward_backward", json=json_call(other, 1, json_datum(TOKENS)))
    )
    step = http.post("/api/v1/optim_step", json={"model_id": other, "seq_id": 2})
    assert collect(http, step).json()["metrics"]["grad_norm"] == pytest.approx(once, rel=1e-4)


def test_repeats_at_the_same_moment_are_one(
    served: Served, http: httpx.Client, model_id: str
) -> None:
    ids: list[str] = []
    barrier = threading.Barrier(8)

    def submit() -> None:
        with served.client() as client:
            barrier.wait()
            headers = {"content-type": CONTENT_TYPE}
            body = protobuf_call(model_id, 1)
            answer = client.post("/api/v1/forward_backward", content=body, headers=headers)
            ids.append(answer.json()["request_id"])

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


def test_gaps_in_the_numbers_do_not_block(http: httpx.Client, model_id: str) -> None:
    for seq_id in (7, 3, 12):
        step = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": seq_id})
        assert collect(http, step).json()["metrics"]["step_completed"] == 1.0


def test_repeated_creations_give_the_same(http: httpx.Client) -> None:
    session = new_session(http)
    model = {"session_id": session, "model_seq_id": 0, "base_model": "base"}
    twice = [http.post("/api/v1/create_model", json=model).json() for _ in range(2)]
    assert twice[0] == twice[1]
    assert twice[0]["model_id"] == f"{session}:train:0"
    sampler = {"session_id": session, "sampling_session_seq_id": 0, "base_model": "base"}
    again = [http.post("/api/v1/create_sampling_session", json=sampler).json() for _ in range(2)]
    assert again[0] == again[1]
    body = sample_body(sampling_session_id=again[0]["sampling_session_id"], seq_id=10**18)
    drawn = [http.post("/api/v1/asample", json=body).json() for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_repeated_ephemeral_saves_give_the_same(http: httpx.Client, model_id: str) -> None:
    body = {"model_id": model_id, "seq_id": 1, "sampling_session_seq_id": 0}
    twice = [http.post("/api/v1/save_weights_for_sampler", json=body) for _ in range(2)]
    assert twice[0].json() == twice[1].json()
    result = collect(http, twice[0]).json()
    assert result["path"] is None
    described = http.get(f"/api/v1/samplers/{result['sampling_session_id']}").json()
    assert described["base_model"] == "tiny-chat"


# Waiting -----------------------------------------------------------------------------------------


def step_of(http: httpx.Client, model_id: str, seq_id: int) -> str:
    answer = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": seq_id})
    return str(answer.json()["request_id"])


def poll(http: httpx.Client, request_id: str, known: str | None) -> httpx.Response:
    body = {"request_id": request_id, "known_state": known}
    return http.post("/api/v1/retrieve_future", json=body)


def test_a_poll_with_a_known_state_comes_back_on_change(
    served: Served, http: httpx.Client, model_id: str, gate: Gate
) -> None:
    first, second = step_of(http, model_id, 1), step_of(http, model_id, 2)
    seen = poll(http, first, "queued").json()
    assert (seen["type"], seen["future_state"]) == ("try_again", "running")
    waiting = poll(http, second, "running")
    assert waiting.status_code == 408
    told = waiting.json()
    assert (told["future_state"], told["place"]) == ("queued", 1)
    assert told["queue_state_reason"] == "waiting behind 1 request of this model"
    answers: list[int] = []

    def watch() -> None:
        with served.client() as client:
            reply = poll(client, second, "queued")
            while reply.status_code == 408:
                reply = poll(client, second, reply.json()["future_state"])
            answers.append(reply.status_code)

    watcher = threading.Thread(target=watch)
    watcher.start()
    gate.open()
    watcher.join(30)
    assert answers == [200]


def test_a_poll_is_held_until_the_result_and_others_are_served_meanwhile(
    served: Served, http: httpx.Client, model_id: str, gate: Gate
) -> None:
    request_id = step_of(http, model_id, 1)
    order: list[str] = []

    def wait() -> None:
        with served.client() as client:
            assert poll(client, request_id, None).status_code == 200
            order.append("result")

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert http.get("/api/v1/healthz").status_code == 200
    order.append("health")
    gate.open()
    waiter.join(30)
    assert order == ["health", "result"]


def test_unknown_requests(http: httpx.Client) -> None:
    answer = poll(http, "never-heard-of", None)
    assert (answer.status_code, answer.json()) == (
        404,
        {"detail": "There is no request 'never-heard-of'."},
    )


# Models and samplers -----------------------------------------------------------------------------


def test_get_info_and_runs(http: httpx.Client, model_id: str, served: Served) -> None:
    info = http.post("/api/v1/get_info", json={"model_id": model_id}).json()
    assert info["model_data"] == {
        "arch": "llama",
        "model_name": "tiny-chat",
        "tokenizer_id": str(served.house.facts.directory),
    }
    assert (info["is_lora"], info["lora_rank"]) == (True, 4)
    listed = http.get("/api/v1/training_runs", params={"limit": 1}).json()
    assert listed["training_runs"][0]["training_run_id"] == model_id
    assert listed["cursor"]["limit"] == 1
    assert http.get(f"/api/v1/training_runs/{model_id}").json() == listed["training_runs"][0]


def test_an_unloaded_model_is_gone_once_its_work_is_done(http: httpx.Client, model_id: str) -> None:
    last = http.post("/api/v1/optim_step", json={"model_id": model_id, "seq_id": 1})
    unload = http.post("/api/v1/unload_model", json={"model_id": model_id})
    assert collect(http, unload).json()["model_id"] == model_id
    assert "metrics" in collect(http, last).json()
    answer = http.post("/api/v1/get_info", json={"model_id": model_id})
    assert (answer.status_code, "was removed" in answer.json()["detail"]) == (404, True)


def save(http: httpx.Client, model_id: str, seq_id: int, number: int, kind: str) -> str:
    body = {
        "model_id": model_id,
        "seq_id": seq_id,
        "sampling_session_seq_id": number,
        "kind": kind,
    }
    answer = collect(http, http.post("/api/v1/save_weights_for_sampler", json=body))
    return str(answer.json()["sampling_session_id"])


def score(http: httpx.Client, sampler: str, seq_id: int) -> list[float]:
    body = sample_body(sampling_session_id=sampler, seq_id=seq_id, prompt_logprobs=True)
    return list(
        collect(http, http.post("/api/v1/asample", json=body)).json()["prompt_logprobs"][1:]
    )


def test_snapshots_stay_and_inflight_sessions_follow(http: httpx.Client, model_id: str) -> None:
    snapshot = save(http, model_id, 1, 0, "snapshot")
    inflight = save(http, model_id, 2, 1, "inflight")
    before = score(http, snapshot, 0)
    assert score(http, inflight, 0) == pytest.approx(before, abs=1e-4)
    call = json_call(model_id, 3, json_datum(TOKENS))
    collect(http, http.post("/api/v1/forward_backward", json=call))
    step = {"model_id": model_id, "seq_id": 4, "adam_params": {"learning_rate": 1e-2}}
    collect(http, http.post("/api/v1/optim_step", json=step))
    assert score(http, inflight, 1) == pytest.approx(before, abs=1e-4)
    save(http, model_id, 5, 2, "inflight")
    assert score(http, snapshot, 2) == pytest.approx(before, abs=1e-4)
    assert sum(score(http, inflight, 3)) > sum(before)


def test_session_life(http: httpx.Client) -> None:
    session = new_session(http)
    beat = http.post("/api/v1/session_heartbeat", json={"session_id": session})
    end = http.post(f"/api/v1/sessions/{session}/finish", json={"reason": {"type": "success"}})
    assert (beat.status_code, end.status_code) == (200, 200)
    assert http.post("/api/v1/session_heartbeat", json={"session_id": "x"}).status_code == 404


def test_tokenizer_files(http: httpx.Client) -> None:
    from tinker_nb.data.chat import ChatTokenizer

    files = http.get("/api/v1/tokenizer", params={"model": "tiny-chat"}).json()
    assert ChatTokenizer.from_files(files).encode("abc") == [97, 98, 99]
    assert http.get("/api/v1/tokenizer", params={"model": "x"}).status_code == 404
