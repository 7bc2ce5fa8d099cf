"""The whole client against servers of each family: which it is, all the way, what is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tests.client.small_cases import CHAT, DATA, DATUM, PARAMS, PROMPT, WAIT, client_of
from tests.client.stub_earlier import TOKENS, JsonStub, earlier_stub
from tests.client.stub_skyrl import SkyRLStub, skyrl_stub
from tests.client.stub_tinkerbell import TinkerbellStub, tinkerbell_stub
from tinker_nb import (
    AdamParams,
    ServiceClient,
    TrainingClient,
)
from tinker_nb.client.dialects.recognition import listed_endpoints, recognise
from tinker_nb.client.exchange import JSON, Reply
from tinker_nb.client.server import is_no_such_endpoint
from tinker_nb.client.transport import verdict
from tinker_nb.errors import (
    APIStatusError,
    ConfigurationError,
    InvalidInputError,
    NotFoundError,
    NotSupportedByServer,
    RequestFailedError,
)
from tinker_nb.wire.params import DimuonParams


@pytest.fixture
def earlier() -> Iterator[JsonStub]:
    with earlier_stub() as stub:
        yield stub


@pytest.fixture
def skyrl() -> Iterator[SkyRLStub]:
    with skyrl_stub() as stub:
        yield stub


@pytest.fixture
def tinkerbell() -> Iterator[TinkerbellStub]:
    with tinkerbell_stub() as stub:
        yield stub


# Which server it is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "has_config", "key"),
    [
        (None, True, "official"),
        ({"name": "tinker_nb"}, True, "official"),
        (None, False, "json"),
        ({"name": "something"}, False, "json"),
        ({"name": "Tinker API Mock"}, True, "skyrl"),
        ({"name": "Tinker API Mock"}, False, "skyrl"),
        ({"name": "Tinkerbell API Server"}, False, "tinkerbell"),
        ({"name": None}, True, "official"),
    ],
)
def test_a_server_is_known_by_how_it_presents_itself(
    root: dict[str, Any] | None, has_config: bool, key: str
) -> None:
    assert recognise(root, has_config).key == key


def test_only_our_own_servers_list_is_taken_for_complete() -> None:
    endpoints = {"/api/v1/optim_step": ["POST"], "/r/{run}/c/{kind}/{name}": ["GET", "DELETE"]}
    listed = listed_endpoints({"name": "tinker_nb", "endpoints": endpoints})
    assert sorted(map(str, listed or ())) == [
        "DELETE /r/{}/c/{}",
        "GET /r/{}/c/{}",
        "POST /api/v1/optim_step",
    ]
    assert listed_endpoints({"name": "another", "endpoints": endpoints}) is None
    assert listed_endpoints({"name": "tinker_nb", "endpoints": ["/"]}) is None
    assert listed_endpoints(None) is None


def test_each_stub_is_recognised(
    earlier: JsonStub, skyrl: SkyRLStub, tinkerbell: TinkerbellStub
) -> None:
    for stub, name in (
        (earlier, "A Tinker server of the JSON generation"),
        (skyrl, "SkyRL"),
        (tinkerbell, "Tinkerbell"),
    ):
        with client_of(stub.url) as service:
            assert service.capabilities().server == f"{name} at {stub.url}"
            assert stub.seen == []


def test_a_user_may_say_what_the_server_is(earlier: JsonStub, tinkerbell: TinkerbellStub) -> None:
    with client_of(earlier.url, dialect="skyrl") as service:
        assert service.capabilities().server.startswith("SkyRL at ")
        service.create_lora_training_client("base").forward(DATA, "cross_entropy").result(WAIT)
    told = client_of(tinkerbell.url, dialect="json")  # it sends what it is told to
    with told, pytest.raises(NotSupportedByServer, match=r"JSON generation .* create_session"):
        told.create_lora_training_client("base")
    with pytest.raises(ConfigurationError, match="skyrl"):
        client_of(earlier.url, dialect="skyrll")


# All the way, in both forms ----------------------------------------------------------------------


def go_all_the_way(service: ServiceClient, data: Any) -> list[Any]:
    training = service.create_lora_training_client("base", rank=8)
    learnt = training.forward_backward(data, "cross_entropy").result(WAIT)
    training.optim_step(AdamParams(learning_rate=0.1)).result(WAIT)
    if service.capabilities().lacks("save_state"):
        sampler = training.save_weights_and_get_sampling_client()
    else:
        assert training.save_state("final").result(WAIT).path.endswith("/weights/final")
        path = training.save_weights_for_sampler("final").result(WAIT).path
        sampler = service.create_sampling_client(path)
    return [learnt, sampler.sample(PROMPT, 1, PARAMS).result(WAIT)]


async def go_all_the_way_async(service: ServiceClient, data: Any) -> list[Any]:
    training = await service.create_lora_training_client_async("base", rank=8)
    learnt = await (await training.forward_backward_async(data, "cross_entropy"))
    await (await training.optim_step_async(AdamParams(learning_rate=0.1)))
    if (await service.capabilities_async()).lacks("save_state"):
        sampler = await training.save_weights_and_get_sampling_client_async()
    else:
        assert (await (await training.save_state_async("final"))).path.endswith("/weights/final")
        path = (await (await training.save_weights_for_sampler_async("final"))).path
        sampler = await service.create_sampling_client_async(path)
    return [learnt, await sampler.sample_async(PROMPT, 1, PARAMS)]


def test_all_the_way_blocking(
    earlier: JsonStub, skyrl: SkyRLStub, tinkerbell: TinkerbellStub
) -> None:
    for stub, data, loss in ((earlier, DATA, 3.0), (skyrl, DATA, 2.0), (tinkerbell, CHAT, 1.5)):
        with client_of(stub.url) as service:
            learnt, drawn = go_all_the_way(service, data)
        assert learnt.metrics["loss:sum"] == loss
        assert len(drawn.sequences) == 1


async def test_all_the_way_async(
    earlier: JsonStub, skyrl: SkyRLStub, tinkerbell: TinkerbellStub
) -> None:
    for stub, data, loss in ((earlier, DATA, 3.0), (skyrl, DATA, 2.0), (tinkerbell, CHAT, 1.5)):
        async with client_of(stub.url) as service:
            learnt, drawn = await go_all_the_way_async(service, data)
        assert learnt.metrics["loss:sum"] == loss
        assert len(drawn.sequences) == 1


def test_a_sampler_of_the_weights_in_training(earlier: JsonStub, skyrl: SkyRLStub) -> None:
    for stub in (earlier, skyrl):
        with client_of(stub.url) as service:
            training = service.create_lora_training_client("base")
            sampler = training.save_weights_and_get_sampling_client()
            assert sampler.sample(PROMPT, 2, PARAMS).result(WAIT).sequences[1].tokens == TOKENS
            assert len(sampler.compute_logprobs(PROMPT).result(WAIT)) == PROMPT.length


def test_a_loss_of_ones_own(earlier: JsonStub, skyrl: SkyRLStub) -> None:
    def loss(_: Any, logprobs: list[Any]) -> Any:
        return sum(each.sum() for each in logprobs), [np.ones(3)] * 2, {"mine": 1.0}

    for stub in (earlier, skyrl):
        with client_of(stub.url) as service:
            training = service.create_lora_training_client("base")
            future = training.forward_backward_custom(DATA, loss, with_gradients=True)
            assert future.result(WAIT).metrics["mine"] == 1.0
            assert (stub.done["forward"], stub.done["forward_backward"]) == (1, 1)


@pytest.mark.parametrize("sort", ["earlier", "skyrl", "tinkerbell"])
def test_a_failed_future_is_no_broken_server(sort: str, request: pytest.FixtureRequest) -> None:
    stub = request.getfixturevalue(sort)
    with client_of(stub.url) as service:
        training = service.create_lora_training_client("base")
        if sort == "tinkerbell":
            future: Any = training.optim_step()
        else:
            stub.failing = ["No gradients accumulated."]
            future = training.optim_step()
        with pytest.raises(RequestFailedError, match=r"^No gradients accumulated") as caught:
            future.result(WAIT)
        assert caught.value.request_id == future.request_id
        # What came before does not hold up what comes after.
        data: Any = CHAT if sort == "tinkerbell" else DATA
        training.forward_backward(data, "cross_entropy").result(WAIT)


def test_who_takes_tokens_takes_no_conversations(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        mixed: Any = [DATUM, *CHAT]
        for data in (CHAT, mixed):
            with pytest.raises(InvalidInputError, match="takes tokens, not conversations"):
                training.forward_backward(data, "cross_entropy")
    assert earlier.bodies("forward_backward") == []


# The JSON generation -----------------------------------------------------------------------------


def test_the_json_generation_gets_json_alone(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        training.forward_backward(DATA, "cross_entropy").result(WAIT)
        training.forward(DATA, "cross_entropy").result(WAIT)
    assert {each.headers.get("content-type") for each in earlier.seen} == {JSON}
    assert {each.headers["accept"] for each in earlier.seen} == {JSON}
    (body,) = earlier.bodies("forward_backward")
    assert set(body) == {"model_id", "seq_id", "forward_backward_input"}
    (body,) = earlier.bodies("forward")
    assert set(body) == {"model_id", "seq_id", "forward_input"}
    assert body["forward_input"]["loss_fn_config"] is None


def test_not_yet_is_asked_again(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        earlier.not_yet = 2
        training.optim_step().result(WAIT)
        assert len(earlier.bodies("retrieve_future")) == 1 + 3


def test_the_json_generation_does_a_repeated_submission_once(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        earlier.refuse_once = [(500, {"detail": "x"}), (503, None)]
        training.optim_step().result(WAIT)
        assert (len(earlier.bodies("optim_step")), earlier.done["optim_step"]) == (3, 1)


NEWER: dict[str, Callable[[ServiceClient, TrainingClient], Any]] = {
    "topk_sample_logprobs": lambda s, _: s.create_sampling_client(base_model="b").sample(
        PROMPT, 1, PARAMS, topk_sample_logprobs=2
    ),
    "prompt_alt_tokens_k": lambda s, _: s.create_sampling_client(base_model="b").sample(
        PROMPT, 1, PARAMS, prompt_alt_tokens_k=1
    ),
    "record_stability_info": lambda s, _: s.create_sampling_client(
        base_model="b", record_stability_info=True
    ).sample(PROMPT, 1, PARAMS),
    "another optimizer": lambda _, t: t.optim_step(DimuonParams(learning_rate=0.1)),
}


@pytest.mark.parametrize("what", NEWER)
def test_what_came_later_is_refused_and_not_dropped(what: str, earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        with pytest.raises(NotSupportedByServer, match=rf"JSON generation at .* with {what}"):
            NEWER[what](service, training).result(WAIT)
    assert earlier.done == {}


# What is not there -------------------------------------------------------------------------------


def test_an_endpoint_that_is_not_there_is_told_from_a_thing(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        rest = service.create_rest_client()
        with pytest.raises(
            NotSupportedByServer, match=r"JSON generation at .* list_sessions"
        ) as no:
            rest.list_sessions().result(WAIT)
        assert (no.value.operation, no.value.reason) == ("list_sessions", "")
        with pytest.raises(NotFoundError, match="There is no run x"):
            rest.get_training_run("x").result(WAIT)


def test_a_call_whose_endpoint_is_not_there_is_named(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        for name, call in (
            (
                "load_state_with_optimizer",
                lambda: training.load_state_with_optimizer("tinker://a/b"),
            ),
            ("optim_step", training.optim_step),
        ):
            earlier.refuse_once = [(404, {"detail": "Not Found"})]
            with pytest.raises(NotSupportedByServer) as caught:
                call().result(WAIT)
            assert caught.value.operation == name
            assert earlier.url in caught.value.server
        with pytest.raises(NotFoundError, match="There is no checkpoint"):
            training.load_state("tinker://a/weights/b").result(WAIT)
        with pytest.raises(NotFoundError, match="There is no checkpoint"):
            service.create_sampling_client("tinker://a/sampler_weights/b")


@pytest.mark.parametrize(
    ("status", "content", "missing"),
    [
        (404, b'{"detail":"Not Found"}', True),
        (404, b"", True),
        (404, b"{}", True),
        (404, b"404 page not found\n", True),
        (404, b"<!DOCTYPE html><title>404 Not Found</title>", True),
        (404, b"<html><body>nginx</body></html>", True),
        (405, b'{"detail":"Method Not Allowed"}', True),
        (501, b"", True),
        (404, b'{"detail":"There is no run x."}', False),
        (404, b'{"error":"no such model"}', False),
        (404, b'{"code":17}', False),
        (404, b'{"detail":[{"msg":"x"}]}', False),
        (404, b"no such model", False),
        (400, b'{"detail":"Not Found"}', False),
        (500, b"", False),
    ],
)
def test_the_bare_404_of_frameworks(status: int, content: bytes, missing: bool) -> None:
    error = verdict(Reply(status, JSON, content))[1]
    assert isinstance(error, APIStatusError)
    assert is_no_such_endpoint(error) is missing
