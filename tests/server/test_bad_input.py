"""Whatever is sent: one clear sentence with a 4xx, nothing half done, and the server goes on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.server.conftest import Served, collect, json_call, json_datum, new_session
from tinker_nb.wire.protobuf import CONTENT_TYPE

TOKENS = [10, 20, 30, 40]
FB = "/api/v1/forward_backward"


def wrong(field: str, values: list[float]) -> dict[str, Any]:
    """Return a datum with one input replaced."""
    datum = json_datum(TOKENS)
    dtype = "int64" if field == "target_tokens" else "float32"
    datum["loss_fn_inputs"][field] = {"data": values, "dtype": dtype, "shape": [len(values)]}
    return datum


def sparse(crow: list[int]) -> dict[str, Any]:
    datum = json_datum(TOKENS)
    for name in ("weights", "target_tokens"):
        datum["loss_fn_inputs"][name] |= {
            "data": [1],
            "shape": [3, 1],
            "sparse_crow_indices": crow,
            "sparse_col_indices": [0],
        }
    return datum


def sample(**changes: Any) -> dict[str, Any]:
    prompt = {"chunks": [{"type": "encoded_text", "tokens": TOKENS}]}
    return {"base_model": "base", "prompt": prompt, "sampling_params": {}, **changes}


def chunks(*tokens: Any) -> dict[str, Any]:
    return {"chunks": [{"type": "encoded_text", "tokens": list(tokens)}]}


CHAT = [[{"role": "user", "content": "x"}]]

# M stands for a model that is there, S for a session.
CASES: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("unknown model", FB, json_call("nobody", 1, json_datum(TOKENS)), 404, "no model 'nobody'"),
    ("unknown loss", FB, json_call("M", 1, json_datum(TOKENS), loss_fn="x"), 400, "Unknown loss"),
    ("wrong length", FB, json_call("M", 1, wrong("weights", [1.0])), 400, "has 1 rows"),
    ("empty data", FB, json_call("M", 1), 400, "no data"),
    ("no tokens", FB, json_call("M", 1, json_datum([5])), 400, "no tokens"),
    ("target out of vocab", FB, json_call("M", 1, wrong("target_tokens", [1, 2, 999])), 400, "999"),
    ("token out of vocab", FB, json_call("M", 1, json_datum([1, 261, 3])), 400, "token 261"),
    ("negative token", FB, json_call("M", 1, json_datum([1, -4, 3])), 400, "token -4"),
    ("huge token", FB, json_call("M", 1, json_datum([1, 2**70, 3])), 400, "too large"),
    ("too long", FB, json_call("M", 1, json_datum([1] * 600)), 400, "512 at most"),
    ("unknown input", FB, json_call("M", 1, wrong("mask", [1, 1, 1])), 400, "'mask'"),
    ("missing input", FB, json_call("M", 1, json_datum(TOKENS), loss_fn="ppo"), 400, "lacks"),
    ("broken sparse", FB, json_call("M", 1, sparse([0, 9, 1, 1])), 400, "sparse"),
    ("no input", FB, {"model_id": "M", "seq_id": 1}, 400, "lacks forward_backward_input"),
    ("a field of a wrong type", FB, {"model_id": "M", "seq_id": "x"}, 400, "seq_id"),
    ("chat: unknown model", FB, {"model_id": "nobody", "data": CHAT}, 404, "no model"),
    ("chat: unknown loss", FB, {"model_id": "M", "data": CHAT, "loss_fn": "x"}, 400, "Unknown"),
    ("chat: no data", FB, {"model_id": "M", "data": []}, 422, "data"),
    ("chat: nothing said", FB, {"model_id": "M", "data": [[]]}, 422, "no messages"),
    ("chat: role", FB, {"model_id": "M", "data": [[{"role": "x", "content": ""}]]}, 422, "role"),
    ("chat: policy loss", FB, {"model_id": "M", "data": CHAT, "loss_fn": "ppo"}, 400, "lacks"),
    ("optim: unknown", "/api/v1/optim_step", {"model_id": "x", "seq_id": 1}, 404, "no model"),
    (
        "optim: beta",
        "/api/v1/optim_step",
        {"model_id": "M", "seq_id": 1, "adam_params": {"beta1": 1.5}},
        422,
        "beta1",
    ),
    (
        "optim: another optimizer",
        "/api/v1/optim_step",
        {"model_id": "M", "seq_id": 1, "optimizer_params": {"type": "dimuon", "learning_rate": 1}},
        400,
        "AdamW only",
    ),
    (
        "unknown session",
        "/api/v1/create_model",
        {"session_id": "x", "model_seq_id": 0, "base_model": "base"},
        404,
        "no session",
    ),
    (
        "unknown base",
        "/api/v1/create_model",
        {"session_id": "S", "model_seq_id": 0, "base_model": "gpt"},
        404,
        "no base model",
    ),
    (
        "rank",
        "/api/v1/create_model",
        {
            "session_id": "S",
            "model_seq_id": 0,
            "base_model": "base",
            "lora_config": {"rank": 10_000},
        },
        400,
        "rank is 10000",
    ),
    (
        "nothing to train",
        "/api/v1/create_model",
        {
            "session_id": "S",
            "model_seq_id": 0,
            "base_model": "base",
            "lora_config": {"rank": 2, "train_attn": False, "train_mlp": False},
        },
        400,
        "Nothing would be trained",
    ),
    ("add_lora: base", "/api/v1/add_lora", {"base_model": "gpt"}, 404, "no base model"),
    ("add_lora: rank", "/api/v1/add_lora", {"rank": 0}, 422, "rank"),
    ("remove_lora", "/api/v1/remove_lora", {"model_id": "x"}, 404, "no model"),
    ("remove_lora: nothing", "/api/v1/remove_lora", {}, 422, "model_id"),
    ("sample: no base", "/api/v1/asample", sample(base_model="gpt"), 404, "no base model"),
    ("sample: empty", "/api/v1/asample", sample(prompt=chunks()), 400, "prompt is empty"),
    ("sample: vocab", "/api/v1/asample", sample(prompt=chunks(261)), 400, "token 261"),
    ("sample: long", "/api/v1/asample", sample(prompt=chunks(*[1] * 513)), 400, "513 tokens"),
    ("sample: none", "/api/v1/asample", sample(num_samples=0), 422, "num_samples"),
    (
        "sample: top_p",
        "/api/v1/asample",
        sample(sampling_params={"top_p": 0}),
        422,
        "top_p",
    ),
    (
        "sample: session",
        "/api/v1/asample",
        sample(sampling_session_id="x", seq_id=0),
        404,
        "no sampling session",
    ),
    (
        "sample: path",
        "/api/v1/asample",
        sample(base_model=None, model_path="tinker://a/sampler_weights/b"),
        404,
        "no checkpoint",
    ),
    (
        "sample: path escapes",
        "/api/v1/asample",
        sample(base_model=None, model_path="tinker://a/sampler_weights/../../b"),
        400,
        "no checkpoint path",
    ),
    ("chat sample: nothing", "/api/v1/sample", {"base_model": "base"}, 400, "prompts"),
    (
        "chat sample: chunks",
        "/api/v1/sample",
        {"prompt": {"chunks": [{"tokens": ["a"]}]}},
        400,
        "integer",
    ),
    ("chat sample: long", "/api/v1/sample", {"prompts": ["x" * 600]}, 400, "603 tokens"),
    (
        "save: name",
        "/api/v1/save_weights_for_sampler",
        {"model_id": "M", "seq_id": 1, "path": "../x"},
        400,
        "no checkpoint name",
    ),
    (
        "save: neither",
        "/api/v1/save_weights_for_sampler",
        {"model_id": "M", "seq_id": 1},
        400,
        "Give either",
    ),
    ("half a character", "/api/v1/get_info", {"model_id": "\ud800"}, 400, "not Unicode"),
    ("retrieve: nothing", "/api/v1/retrieve_future", {}, 422, "request_id"),
    ("unknown path", "/api/v1/teleport", {}, 404, "/api/v1/teleport"),
]


def filled(value: Any, names: dict[str, str]) -> Any:
    """Put the ids of what is there in place of M and S."""
    if isinstance(value, dict):
        return {key: filled(entry, names) for key, entry in value.items()}
    return names.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def bystander(http: httpx.Client, model_id: str) -> Iterator[str]:
    """A model with gradients; afterwards they must be there still, and be the same."""

    def norm(model: str, seq_id: int) -> float:
        step = http.post("/api/v1/optim_step", json={"model_id": model, "seq_id": seq_id})
        return float(collect(http, step).json()["metrics"]["grad_norm"])

    def forward(seq_id: int) -> None:
        collect(http, http.post(FB, json=json_call(model_id, seq_id, json_datum(TOKENS))))

    freeze = {"learning_rate": 0.0}
    forward(1000)
    step = {"model_id": model_id, "seq_id": 1001, "adam_params": freeze}
    before = collect(http, http.post("/api/v1/optim_step", json=step)).json()["metrics"]
    forward(1002)
    yield model_id
    assert norm(model_id, 1003) == pytest.approx(before["grad_norm"], rel=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_refused(
    http: httpx.Client, bystander: str, path: str, body: Any, status: int, words: str
) -> None:
    content = json.dumps(filled(body, {"M": bystander, "S": new_session(http)}))
    answer = http.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["detail"]
    assert words in answer.json()["detail"]


def test_infinite_loss_is_a_failed_future(http: httpx.Client, bystander: str) -> None:
    columns = {"logprobs": [-1e30] * 3, "advantages": [1.0] * 3}
    call = json_call(bystander, 1, json_datum(TOKENS, **columns), loss_fn="importance_sampling")
    failed = collect(http, http.post(FB, json=call))
    assert failed.status_code == 200
    assert failed.json()["category"] == "user"
    assert "not finite" in failed.json()["error"]


@pytest.mark.parametrize(
    ("content", "content_type", "words"),
    [
        (b"{not json", "application/json", "not JSON"),
        (b"", "application/json", "not JSON"),
        (b"[1]", "application/json", "JSON object"),
        (b"[" * 100_000, "application/json", "not JSON"),
        (b"\xff\xfe\x00", "application/json", "not JSON"),
        (b"\xff\xff\xff", CONTENT_TYPE, "protobuf body cannot be read"),
    ],
)
def test_bodies_that_cannot_be_read(
    http: httpx.Client, content: bytes, content_type: str, words: str
) -> None:
    answer = http.post(FB, content=content, headers={"content-type": content_type})
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]


def test_a_plain_route_says_not_json_too(http: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    answer = http.post("/api/v1/create_session", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()) == (400, {"detail": "The body is not JSON."})


def test_protobuf_where_it_does_not_belong(http: httpx.Client) -> None:
    headers = {"content-type": CONTENT_TYPE}
    for path in ("/api/v1/create_session", "/api/v1/optim_step", "/api/v1/asample"):
        answer = http.post(path, content=b"\x0a\x03abc", headers=headers)
        assert 400 <= answer.status_code < 500
        assert isinstance(answer.json()["detail"], str)


def test_too_much_for_a_plain_route(http: httpx.Client) -> None:
    block = b" " * 1_000_000
    headers = {"content-type": "application/json"}
    answer = http.post(
        "/api/v1/create_session", content=(block for _ in range(80)), headers=headers
    )
    assert (answer.status_code, "larger than" in answer.json()["detail"]) == (413, True)


def test_a_seed_of_any_size(http: httpx.Client) -> None:
    model = {"session_id": new_session(http), "model_seq_id": 0, "base_model": "base"}
    config = {"rank": 2, "seed": -(2**80)}
    answer = http.post("/api/v1/create_model", json={**model, "lora_config": config})
    assert "model_id" in collect(http, answer).json()
    assert http.get("/api/v1/training_runs", params={"offset": 2**80}).status_code == 422


def test_compressed_bodies_are_refused(http: httpx.Client) -> None:
    headers = {"content-type": CONTENT_TYPE, "content-encoding": "zstd"}
    answer = http.post(FB, content=b"abc", headers=headers)
    assert (answer.status_code, "zstd" in answer.json()["detail"]) == (400, True)


def test_200_mb_announced(http: httpx.Client) -> None:
    block = bytes(1_000_000)
    answer = http.post(
        FB,
        content=(block for _ in range(200)),
        headers={"content-type": "application/json", "content-length": "200000000"},
    )
    assert answer.status_code == 413
    assert "larger than" in answer.json()["detail"]
    assert http.get("/healthz").status_code == 200


def test_200_mb_unannounced(http: httpx.Client) -> None:
    block = bytes(1_000_000)
    answer = http.post(
        FB,
        content=(block for _ in range(200)),
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 413
    assert "larger than" in answer.json()["detail"]
    assert http.get("/healthz").status_code == 200


def test_a_client_that_hangs_up_in_the_middle(served: Served, http: httpx.Client) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(b"POST /api/v1/optim_step HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{")
    assert http.get("/healthz").status_code == 200
