"""A submission to a server that does what comes twice twice: it comes once, or nobody knows."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.protocol_stub import API
from tests.client.scripted import Say, Seen, scripted_server
from tests.client.small_cases import DATA, PARAMS, PROMPT, QUICK, WAIT, client_of
from tests.client.stub_skyrl import SkyRLStub, skyrl_stub
from tinker_nb import (
    TrainingClient,
)
from tinker_nb.client.dialects.earlier import SkyRL
from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import Request, json_payload
from tinker_nb.client.sending import Sending
from tinker_nb.client.transport import Transport
from tinker_nb.client.work import Work
from tinker_nb.errors import (
    APIConnectionError,
    InternalServerError,
)


@pytest.fixture
def skyrl() -> Iterator[SkyRLStub]:
    with skyrl_stub() as stub:
        yield stub


@pytest.fixture
def training(skyrl: SkyRLStub) -> Iterator[TrainingClient]:
    with client_of(skyrl.url) as service:
        yield service.create_lora_training_client("base", rank=8, seed=1)


FORWARD_BACKWARD = f"{API}/forward_backward"


def is_under_way(skyrl: SkyRLStub) -> bool:
    return skyrl.done["forward_backward"] == 1


def is_done_once(skyrl: SkyRLStub) -> bool:
    return skyrl.done["forward_backward"] == skyrl.count(FORWARD_BACKWARD) == 1


async def test_waiting_right_after_the_call_sends_it_once(
    training: TrainingClient, skyrl: SkyRLStub
) -> None:
    future = await training.forward_backward_async(DATA, "cross_entropy")
    future.result(WAIT)
    assert is_done_once(skyrl)


async def test_a_submission_in_flight_on_a_blocked_loop_is_sent_once(
    training: TrainingClient, skyrl: SkyRLStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Work.move

    def moved(self: Any, loop: asyncio.AbstractEventLoop) -> None:
        move(self, loop)
        skyrl.gate.set()  # only another carrier hears of the answer

    monkeypatch.setattr(Work, "move", moved)
    skyrl.gate.clear()
    future = await training.forward_backward_async(DATA, "cross_entropy")
    await asyncio.to_thread(skyrl.wait_for, lambda: is_under_way(skyrl))
    assert future.request_id is None
    future.result(WAIT)
    assert is_done_once(skyrl)


def test_a_submission_in_flight_outlives_its_loop(
    training: TrainingClient, skyrl: SkyRLStub
) -> None:
    async def begin() -> Any:
        future = await training.forward_backward_async(DATA, "cross_entropy")
        await asyncio.to_thread(skyrl.wait_for, lambda: is_under_way(skyrl))
        return future

    skyrl.gate.clear()
    future = asyncio.run(begin())
    assert not future.done()
    skyrl.gate.set()
    future.result(WAIT)
    assert is_done_once(skyrl)


def test_a_submission_that_just_began_outlives_its_loop(
    training: TrainingClient, skyrl: SkyRLStub
) -> None:
    future = asyncio.run(training.forward_backward_async(DATA, "cross_entropy"))
    future.result(WAIT)
    assert is_done_once(skyrl)


async def test_cancelling_a_wait_leaves_the_submission_alone(
    training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.gate.clear()
    future = await training.forward_backward_async(DATA, "cross_entropy")
    waiting = asyncio.ensure_future(future.result_async())
    await asyncio.to_thread(skyrl.wait_for, lambda: is_under_way(skyrl))
    waiting.cancel()
    skyrl.gate.set()
    await future
    assert is_done_once(skyrl)


def test_what_the_server_did_not_take_is_sent_again(
    training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.refuse_once = [(429, {"detail": "slow"}), (503, None), (425, None), (408, None)]
    training.forward_backward(DATA, "cross_entropy").result(WAIT)
    assert (skyrl.count(FORWARD_BACKWARD), skyrl.done["forward_backward"]) == (5, 1)


def test_what_was_given_up_is_not_sent_again(training: TrainingClient, skyrl: SkyRLStub) -> None:
    skyrl.refusal = (503, {"detail": "full"})
    future = training.forward_backward(DATA, "cross_entropy")
    skyrl.wait_for(lambda: skyrl.count(FORWARD_BACKWARD) > 1)
    (sending,) = (part._sending for part in future._carrier._journey._parts)  # type: ignore[union-attr]
    future.cancel()
    assert sending._sent.cancelled()
    skyrl.refusal = None
    training.optim_step().result(WAIT)
    assert skyrl.done["forward_backward"] == 0


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_the_server_may_have_taken_is_not(
    status: int, training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.refuse_once = [(status, {"detail": "x"})]
    with pytest.raises(InternalServerError, match="Nobody knows"):
        training.forward_backward(DATA, "cross_entropy").result(WAIT)
    assert skyrl.count(FORWARD_BACKWARD) == 1
    training.optim_step().result(WAIT)


ANSWERS = {
    "asample": {"request_id": "7"},
    "create_sampling_session": {"sampling_session_id": "sampling_1"},
    "add_lora_async": {"request_id": "future_1"},
    "optim_step_async": {"request_id": "future_2"},
}


def dropping(
    name: str, times: int, server: str = "Tinker API Mock"
) -> tuple[list[str], Callable[[Seen], Say | None]]:
    """Return a script of a server that reads some requests and gives no answer to them."""
    left = [name] * times

    def script(seen: Seen) -> Say | None:
        if seen.path == "/":
            return Say(200, {"name": server})
        if left and seen.path.endswith(f"/{name}"):
            left.pop()
            return Say(drop=True)
        if seen.path.endswith("/retrieve_future"):
            return Say(200, {"model_id": "m_1", "sequences": []})
        found = ANSWERS.get(seen.path.rpartition("/")[2])
        return Say(200, found) if found else None

    return left, script


@pytest.mark.parametrize(
    ("name", "path"), [("Tinker API Mock", "optim_step"), ("Tinkerbell", "optim_step_async")]
)
def test_a_connection_that_broke_is_not_tried_again(name: str, path: str) -> None:
    left, script = dropping(path, 1, name)
    with scripted_server(script) as server, client_of(server.url) as service:
        training = service.create_lora_training_client("m")
        with pytest.raises(APIConnectionError, match="Nobody knows whether the server") as caught:
            training.optim_step().result(WAIT)
        assert "broke" in caught.value.message
        assert server.count(f"{API}/{path}") == 1
        assert not left
        training.optim_step().result(WAIT)


def test_what_changes_nothing_is_tried_again() -> None:
    left, script = dropping("asample", 2)
    with scripted_server(script) as server, client_of(server.url) as service:
        sampler = service.create_sampling_client(base_model="m")
        assert sampler.sample(PROMPT, 1, PARAMS).result(WAIT).sequences == []
        assert server.count(f"{API}/asample") == 3
        assert not left


async def test_a_refused_connection_is_tried_again() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

        thread = threading.Thread(target=answer)
        told: list[str] = []

        def on_retry(_: int, note: str) -> None:
            if not told:
                listener.listen()
                thread.start()
            told.append(note)

        transport = Transport(Endpoint(url, retry=QUICK))
        request = Request("POST", "/x", json_payload({}))
        reply = await Sending(request, transport, SkyRL()).reply(on_retry)
        await transport.aclose()
        thread.join(WAIT)
    assert (reply.status, reply.content) == (200, b"{}")
    assert "nothing answers" in told[0]
