"""Whatever is sent, nothing but a sentence with a 4xx or a result comes back, and soon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies as st
from schemathesis import GenerationMode

from tests.server.conftest import (
    KEY,
    Served,
    collect,
    json_call,
    json_datum,
    new_model,
    new_session,
    serving,
    settings_for,
)
from tests.server.fuzzing import spoilt, spoilt_bytes, spoilt_messages
from tinker_nb.wire.protobuf import CONTENT_TYPE

pytestmark = pytest.mark.slow

FB = "/api/v1/forward_backward"
#: Seconds that any answer may take.
SOON = 10
#: One never ends; the other would leave nothing for the rest to work on.
LEFT_OUT = {"/api/v1/queue/events", "/api/v1/unload_model"}


def examples(count: int) -> settings:
    """Return settings under which a test does the same every time, in bounded time."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory, llama_dir: Path) -> Iterator[Served]:
    """A server of this module's own, whose polls come back soon."""
    directory = tmp_path_factory.mktemp("fuzz")
    with serving(settings_for(directory, model=str(llama_dir), poll_hold=0.2)) as served:
        yield served


@pytest.fixture(scope="module")
def client(target: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=target.url, headers={"X-API-Key": KEY}, timeout=SOON) as client:
        yield client


@pytest.fixture(scope="module")
def model(client: httpx.Client) -> str:
    return new_model(client, rank=2)


def check(status: int, content_type: str, body: bytes, told: object) -> None:
    """Fail unless an answer is a result or a "no" with its reason."""
    # The SDK repeats 409, 429 and 5xx for minutes.
    assert status < 500, (status, body[:300], told)
    assert status not in (409, 429), (status, body[:300], told)
    if content_type == "application/json" and body:
        json.loads(body)
    if status >= 400 and status != 408:
        assert isinstance(json.loads(body)["detail"], str), (body, told)


def alive(client: httpx.Client) -> None:
    """Fail unless the server does what it did before."""
    assert client.get("/healthz").json() == {"status": "ok"}
    model_id = new_model(client, rank=2)
    done = client.post(FB, json=json_call(model_id, 1, json_datum([1, 2, 3])))
    assert "loss:sum" in collect(client, done).json()["metrics"]


# The described interface -------------------------------------------------------------------------


def test_what_the_document_describes(target: Served, client: httpx.Client, model: str) -> None:
    names = {"model_id": model, "session_id": new_session(client), "base_model": "base"}
    document = client.get("/openapi.json").json()
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr]  # the document is valid
        if operation.path not in LEFT_OUT:
            for mode in GenerationMode:
                _probe(operation, mode, target.url, names)
    alive(client)


def _probe(operation: Any, mode: GenerationMode, url: str, names: dict[str, str]) -> None:
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
        return  # nothing can be wrong about it

    with requests.Session() as session:
        session.headers["X-API-Key"] = KEY

        @examples(4)
        @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
        def probe(case: Any, known: bool) -> None:
            for part in (case.body, case.path_parameters) if known else ():
                if isinstance(part, dict):
                    part.update({name: names[name] for name in names if name in part})
            answer = case.call(base_url=url, session=session, timeout=SOON, allow_redirects=False)
            kind = answer.headers.get("content-type", [""])[0]
            check(answer.status_code, kind, answer.content, case.as_curl_command())

        probe()


# Bodies that the document says nothing of --------------------------------------------------------


def bodies(model: str, session: str) -> list[tuple[str, dict[str, Any]]]:
    """Return a valid body for each path that reads its body by itself."""
    prompt = {"chunks": [{"type": "encoded_text", "tokens": [1, 2]}]}
    params = {"max_tokens": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "stop": ["x"]}
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    adam = {"learning_rate": 1e-4, "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.0}
    call = json_call(model, None, json_datum([1, 2, 3]))
    sample = {"base_model": "base", "prompt": prompt, "num_samples": 1, "sampling_params": params}
    scored = {"prompt_logprobs": True, "topk_prompt_logprobs": 1, "prompt_logprobs_last_n": 1}
    return [
        (FB, call),
        ("/api/v1/forward", {**call, "forward_input": call["forward_backward_input"]}),
        (FB, {"model_id": model, "data": [talk], "loss_fn": "cross_entropy"}),
        ("/api/v1/forward_async", {"model_id": model, "data": [talk]}),
        ("/api/v1/optim_step", {"model_id": model, "seq_id": None, "adam_params": adam}),
        ("/api/v1/optim_step_async", {"model_id": model, "adam_params": adam}),
        ("/api/v1/asample", {**sample, **scored}),
        ("/api/v1/sample", {"model_id": model, "prompts": ["a"], "sampling_params": params}),
        ("/api/v1/sample", {"messages": talk, "num_samples": 2, "sampling_params": params}),
        ("/api/v1/add_lora", {"base_model": "base", "rank": 2, "alpha": 4.0}),
        ("/api/v1/remove_lora_async", {"model_id": "none"}),
        ("/api/v1/telemetry", {"events": [{"event": "SESSION_START"}], "session_id": session}),
    ]


@pytest.mark.parametrize("number", range(12))
def test_spoilt_json(client: httpx.Client, model: str, number: int) -> None:
    path, valid = bodies(model, new_session(client))[number]
    headers = {"content-type": "application/json"}

    taken: list[httpx.Response] = []

    @examples(40)
    @given(spoilt(valid))
    def probe(body: dict[str, Any]) -> None:
        answer = client.post(path, content=json.dumps(body), headers=headers)
        check(answer.status_code, answer.headers["content-type"], answer.content, (path, body))
        if answer.status_code == 200 and "request_id" in answer.json():
            taken.append(answer)

    assert client.post(path, json=valid).status_code in (200, 404)
    probe()
    _check_ended(client, taken)
    alive(client)


# Protobuf ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [spoilt_messages, spoilt_bytes])
def test_spoilt_protobuf(client: httpx.Client, model: str, make: Any) -> None:
    taken: list[httpx.Response] = []

    @examples(300)
    @given(make(model))
    def probe(body: bytes) -> None:
        _probe_protobuf(client, body, taken)

    probe()
    assert taken, "nothing was accepted, so nothing but the reading was tried"
    _check_ended(client, taken)
    alive(client)


@examples(100)
@given(st.binary(max_size=200))
def test_random_bytes(client: httpx.Client, body: bytes) -> None:
    _probe_protobuf(client, body, [])


def _probe_protobuf(client: httpx.Client, body: bytes, taken: list[httpx.Response]) -> None:
    answer = client.post(FB, content=body, headers={"content-type": CONTENT_TYPE})
    check(answer.status_code, answer.headers["content-type"], answer.content, body)
    if answer.status_code == 200:
        taken.append(answer)


def _check_ended(client: httpx.Client, taken: list[httpx.Response]) -> None:
    """Fail unless what was accepted is done, or failed by the fault of who asked."""
    for accepted in taken:
        result = collect(client, accepted)
        assert result.status_code == 200
        assert result.json().get("category", "user") == "user", result.text
