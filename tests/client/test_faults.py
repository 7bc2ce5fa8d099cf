"""What the client makes of a server and a network that fail."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from tests.client.scripted import Say, Seen, scripted_server
from tinker_nb import FutureSnapshot, FutureState, ServiceClient
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    FutureCancelledError,
    FutureLostError,
    FutureTimeoutError,
    InternalServerError,
    RequestFailedError,
    TinkerError,
)

QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.05, patience=1.0, refused_patience=0.2)


def optim_once(url: str, retry: RetryPolicy = QUICK) -> object:
    with ServiceClient(base_url=url, retry=retry) as service:
        training = service.create_lora_training_client("m")
        return training.optim_step().result(timeout=20)


def first(path: str, *says: Say) -> tuple[list[Say], object]:
    """Return a script that gives these answers to a path first, each once."""
    left = list(says)
    lock = threading.Lock()

    def script(seen: Seen) -> Say | None:
        with lock:
            return left.pop(0) if left and seen.path.endswith(path) else None

    return left, script


@pytest.mark.parametrize(
    "fault",
    [
        Say(503, {"detail": "x"}),
        Say(429, {}, {"Retry-After": "0"}),
        Say(drop=True),
        Say(408),
        Say(409),
    ],
    ids=["503", "429", "dropped", "408", "409"],
)
@pytest.mark.parametrize("path", ["optim_step", "retrieve_future", "create_session"])
def test_passing_trouble_is_gone_through(fault: Say, path: str) -> None:
    left, script = first(path, fault, fault)
    with scripted_server(script) as server:  # type: ignore[arg-type]
        assert optim_once(server.url) is not None
    assert not left


def test_retries_of_one_call_keep_one_idempotency_key() -> None:
    _, script = first("optim_step", Say(503), Say(drop=True))
    with scripted_server(script) as server:  # type: ignore[arg-type]
        optim_once(server.url)
        sent = [each for each in server.seen if each.path.endswith("optim_step")]
    assert len(sent) == 3
    assert len({each.headers["x-idempotency-key"] for each in sent}) == 1
    assert len({each.body["seq_id"] for each in sent}) == 1


def test_lasting_trouble_ends_in_a_typed_error() -> None:
    with scripted_server(lambda seen: Say(503) if "optim_step" in seen.path else None) as server:
        with pytest.raises(InternalServerError, match="503"):
            optim_once(server.url)
        assert server.count("/api/v1/optim_step") > 3


def test_a_refusal_is_not_tried_again() -> None:
    refuse = Say(400, {"detail": "no such thing"})
    with scripted_server(lambda seen: refuse if "optim_step" in seen.path else None) as server:
        with pytest.raises(APIStatusError, match="no such thing"):
            optim_once(server.url)
        assert server.count("/api/v1/optim_step") == 1


def test_a_wrong_key_says_so() -> None:
    with (
        scripted_server(lambda _: Say(401, {"detail": "wrong key"})) as server,
        pytest.raises(AuthenticationError, match="wrong key"),
    ):
        optim_once(server.url)


@pytest.mark.parametrize("body", [b"<html>busy</html>", {}, [1]], ids=["html", "no id", "list"])
def test_an_answer_that_breaks_the_protocol_is_named(body: object) -> None:
    with (
        scripted_server(lambda seen: Say(200, body) if "optim" in seen.path else None) as server,
        pytest.raises(APIResponseValidationError),
    ):
        optim_once(server.url)


def test_a_failed_future_says_whose_fault_it_is() -> None:
    def script(seen: Seen) -> Say | None:
        if seen.path.endswith("retrieve_future") and seen.body["request_id"].startswith("optim"):
            return Say(200, {"error": "no gradients", "category": "user"})
        return None

    with scripted_server(script) as server, pytest.raises(RequestFailedError) as caught:
        optim_once(server.url)
    assert (caught.value.fault, caught.value.request_id) == ("user", "optim-1")


def test_a_lost_request_says_what_to_do() -> None:
    def script(seen: Seen) -> Say | None:
        lost = seen.path.endswith("retrieve_future") and seen.body["request_id"] != "create"
        return Say(410, {}) if lost else None

    with (
        scripted_server(script) as server,
        pytest.raises(FutureLostError, match="Submit the call again"),
    ):
        optim_once(server.url)


def test_a_refused_connection_fails_soon_and_says_what_to_start() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    began = time.monotonic()
    with pytest.raises(APIConnectionError, match="tinker-nb serve"):
        optim_once(url, RetryPolicy())
    assert time.monotonic() - began < 5


def test_the_queue_is_told_and_followed() -> None:
    states: list[FutureState] = []
    polls = [
        Say(408, {"future_state": "queued", "queue_state_reason": "behind 2", "place": 2}),
        Say(408, {"future_state": "running"}),
    ]

    def script(seen: Seen) -> Say | None:
        mine = seen.path.endswith("retrieve_future") and seen.body["request_id"] != "create"
        return polls.pop(0) if mine and polls else None

    with scripted_server(script) as server, ServiceClient(base_url=server.url) as service:
        future = service.create_lora_training_client("m").optim_step()
        reasons: list[str | None] = []

        def listen(shown: FutureSnapshot) -> None:
            states.append(shown.state)
            reasons.append(shown.queue.reason if shown.queue else None)

        future.subscribe(listen)
        future.result(timeout=20)
    assert states[-3:] == [FutureState.QUEUED, FutureState.RUNNING, FutureState.DONE]
    assert "behind 2" in reasons


def test_a_timeout_ends_the_wait_and_not_the_request() -> None:
    release = threading.Event()

    def script(seen: Seen) -> Say | None:
        mine = seen.path.endswith("retrieve_future") and seen.body["request_id"] != "create"
        return Say(408) if mine and not release.is_set() else None

    with scripted_server(script) as server, ServiceClient(base_url=server.url) as service:
        future = service.create_lora_training_client("m").optim_step()
        with pytest.raises(FutureTimeoutError):
            future.result(timeout=0.05)
        release.set()
        assert future.result(timeout=20).metrics == {"step": 1.0}


def test_closing_gives_up_what_is_under_way() -> None:
    def script(seen: Seen) -> Say | None:
        mine = seen.path.endswith("retrieve_future") and seen.body["request_id"] != "create"
        return Say(408) if mine else None

    with scripted_server(script) as server:
        service = ServiceClient(base_url=server.url)
        training = service.create_lora_training_client("m")
        future = training.optim_step()
        service.close()
        with pytest.raises(FutureCancelledError, match="client was closed"):
            future.result(timeout=20)
        with pytest.raises(ConfigurationError, match="client is closed"):
            training.optim_step().result(timeout=20)


def test_a_failed_creation_fails_the_calls_behind_it() -> None:
    def script(seen: Seen) -> Say | None:
        return Say(404, {"detail": "unknown model"}) if "create_model" in seen.path else None

    with scripted_server(script) as server, ServiceClient(base_url=server.url) as service:
        from tinker_nb.client.calls import at_hand
        from tinker_nb.client.loops import loop_thread
        from tinker_nb.wire.params import LoraConfig

        training = service.start_training(at_hand("m"), LoraConfig(), None, loop_thread().loop)
        with pytest.raises(TinkerError, match=r"its creation failed.*unknown model"):
            training.optim_step().result(timeout=20)
        assert server.count("/api/v1/optim_step") == 0


def test_the_key_is_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    key = "tml-sentinel-4711"
    caplog.set_level("DEBUG")
    with scripted_server(lambda _: Say(401, {"detail": "no"})) as server:
        service = ServiceClient(base_url=server.url, api_key=key)
        with pytest.raises(AuthenticationError) as caught:
            service.create_lora_training_client("m")
        service.close()
        assert server.seen[0].headers["x-api-key"] == key
    endpoint = service.server.transport.endpoint
    texts = [repr(service), repr(endpoint), repr(caught.value), caplog.text]
    assert not any("4711" in text for text in texts)


def test_closing_does_not_wait_for_a_server_that_cannot_end_a_session() -> None:
    def script(seen: Seen) -> Say | None:
        return Say(503) if seen.path.endswith("finish") else None

    with scripted_server(script) as server:
        service = ServiceClient(base_url=server.url)  # with the patience that it has for work
        service.create_lora_training_client("m")
        began = time.monotonic()
        service.close()
        assert time.monotonic() - began < 15
        assert server.count("/api/v1/sessions/S/finish") > 1
