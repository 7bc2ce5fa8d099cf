"""The whole client against servers of each family, and the ways of theirs it has to bear."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.client.protocol_stub import API
from tests.client.scripted import Say, Seen, scripted_server
from tests.client.stub_earlier import TOKENS, JsonStub, earlier_stub
from tests.client.stub_skyrl import SkyRLStub, skyrl_stub
from tests.client.stub_tinkerbell import TinkerbellStub, tinkerbell_stub
from tinker_nb import (
    AdamParams,
    Datum,
    ModelInput,
    SamplingParams,
    ServiceClient,
    TrainingClient,
)
from tinker_nb.client.dialects.earlier import SkyRL
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.dialects.recognition import listed_endpoints, recognise
from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import JSON, Reply, Request, json_payload
from tinker_nb.client.kinds import KINDS
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.client.sending import Sending
from tinker_nb.client.server import is_no_such_endpoint
from tinker_nb.client.transport import Transport, verdict
from tinker_nb.client.work import Work
from tinker_nb.errors import (
    APIConnectionError,
    APIResponseValidationError,
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    FutureLostError,
    InternalServerError,
    InvalidInputError,
    NotFoundError,
    NotSupportedByServer,
    RequestFailedError,
    TinkerError,
    UnprocessableEntityError,
)
from tinker_nb.wire.params import DimuonOptimizerConfig, DimuonParams

WAIT = 30
QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.02, patience=5.0, refused_patience=5.0)
WEIGHTS = np.array([0.0, 1.0, 1.0], np.float32)
DATUM = Datum(
    ModelInput.from_ints([1, 2, 3]),
    {"target_tokens": np.array([2, 3, 4]), "weights": WEIGHTS},
)
DATA = [DATUM, DATUM]
CHAT = [[{"role": "user", "content": "pig"}, {"role": "assistant", "content": "igpay"}]]
PROMPT = ModelInput.from_ints([5, 6, 7, 8])
PARAMS = SamplingParams(max_tokens=2)


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


def client_of(url: str, **options: Any) -> ServiceClient:
    return ServiceClient(base_url=url, retry=QUICK, **options)


@pytest.fixture
def sky_training(skyrl: SkyRLStub) -> Iterator[TrainingClient]:
    with client_of(skyrl.url) as service:
        yield service.create_lora_training_client("base", rank=8, seed=1)


@pytest.fixture
def bell_training(tinkerbell: TinkerbellStub) -> Iterator[TrainingClient]:
    with client_of(tinkerbell.url) as service:
        yield service.create_lora_training_client("base", rank=8)


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
    with client_of(tinkerbell.url, dialect="json") as service:
        # It sends what it was told to, and this server has no sessions.
        with pytest.raises(NotSupportedByServer, match=r"JSON generation .* create_session"):
            service.create_lora_training_client("base")
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


# The JSON generation -----------------------------------------------------------------------------


def test_the_json_generation_gets_json_alone(earlier: JsonStub) -> None:
    with client_of(earlier.url) as service:
        training = service.create_lora_training_client("base")
        training.forward_backward(DATA, "ppo", {"clip_low_threshold": 0.7}) if False else None
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
                call().result(WAIT)  # type: ignore[no-untyped-call]
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


# SkyRL -------------------------------------------------------------------------------------------


def test_skyrl_gets_what_its_models_take(sky_training: TrainingClient, skyrl: SkyRLStub) -> None:
    sky_training.forward_backward(DATA, "ppo_critic").exception(WAIT)
    sky_training.optim_step(AdamParams(learning_rate=0.1)).result(WAIT)
    assert {each.headers["accept"] for each in skyrl.seen} == {JSON}
    assert {each.headers["content-type"] for each in skyrl.seen} == {JSON}
    (made,) = skyrl.bodies("create_model")
    assert (made["lora_config"]["rank"], made["lora_config"]["seed"]) == (8, 1)
    assert skyrl.greetings[0].path in ("/", f"{API}/client/config", f"{API}/client/dynamic_config")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (None, {"loss:sum": 2.0}),
        ({}, {"loss:sum": 2.0}),
        ({"policy_lr:last": 0.1, "skyrl.ai/x": 1.0}, {"policy_lr:last": 0.1, "loss:sum": 2.0}),
        ({"loss:sum": 9.0}, {"loss:sum": 9.0}),
    ],
)
def test_skyrl_metrics(
    metrics: Any, expected: dict[str, float], sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.metrics = metrics
    for call in (sky_training.forward_backward, sky_training.forward):
        output = call(DATA, "cross_entropy").result(WAIT)
        assert output.metrics.items() >= expected.items()
        assert output.loss_fn_output_type == "scalar"
        assert output.loss_fn_outputs[0]["logprobs"].to_numpy().tolist() == [-0.5] * 3
    step = sky_training.optim_step().result(WAIT)
    assert (step.metrics is None) is (not metrics)


def test_skyrl_without_a_reason(sky_training: TrainingClient, skyrl: SkyRLStub) -> None:
    skyrl.failing = ["Unknown error"]
    with pytest.raises(RequestFailedError, match="Unknown error") as caught:
        sky_training.optim_step().result(WAIT)
    assert caught.value.category == "server"


def test_skyrl_holds_polls_for_minutes(sky_training: TrainingClient, skyrl: SkyRLStub) -> None:
    skyrl.not_yet = 2
    sky_training.optim_step().result(WAIT)
    assert len(skyrl.bodies("retrieve_future")) == 1 + 3
    assert SkyRL().poll(KINDS["OptimStep"], "1", "accepted", 0).timeout > 300
    assert Dialect().poll(KINDS["OptimStep"], "1", "accepted", 0).timeout < 100


def test_skyrl_ids(sky_training: TrainingClient, skyrl: SkyRLStub) -> None:
    future = sky_training.optim_step()
    future.result(WAIT)
    assert (future.request_id or "").isdecimal()
    assert sky_training.model_id.startswith("model_")
    assert future.snapshot.model_id == sky_training.model_id
    with client_of(skyrl.url) as other:
        assert other.rebuild_future(future.request_id or "", "OptimStep").result(WAIT) is not None
        with pytest.raises(FutureLostError):
            other.rebuild_future("999", "OptimStep").result(WAIT)


def test_skyrl_says_little_of_a_model(sky_training: TrainingClient) -> None:
    info = sky_training.get_info()
    assert (info.model_data.model_name, info.model_data.tokenizer_id) == ("base", None)
    assert (info.is_lora, info.lora_rank) == (None, None)


def test_skyrl_paths_of_two_parts(skyrl: SkyRLStub) -> None:
    with client_of(skyrl.url) as service:
        training = service.create_lora_training_client("base")
        path = training.save_weights_for_sampler("a-1").result(WAIT).path
        assert path == f"tinker://{training.model_id}/a-1"
        for made in (service.create_sampling_client(path), training.create_sampling_client(path)):
            assert made.sample(PROMPT, 1, PARAMS).result(WAIT).sequences[0].tokens == TOKENS
            assert made.get_base_model() == "base"


def test_skyrl_checkpoints_in_both_forms(skyrl: SkyRLStub, tmp_path: Path) -> None:
    with client_of(skyrl.url) as service:
        training = service.create_lora_training_client("base")
        saved = training.save_state("a").result(WAIT).path
        bare = training.save_weights_for_sampler("a").result(WAIT).path
        rest = service.create_rest_client()
        listed = rest.list_checkpoints(training.model_id).result(WAIT).checkpoints
        assert [each.checkpoint_id for each in listed] == ["a", "a"]
        for_training, for_sampling = (each.tinker_path for each in listed)
        asks = [
            rest.get_checkpoint_archive_url(training.model_id, "a"),
            rest.get_checkpoint_archive_url(training.model_id, "sampler_weights/a"),
            rest.get_checkpoint_archive_url_from_tinker_path(bare or ""),
            rest.get_checkpoint_archive_url_from_tinker_path(for_sampling),
        ]
        route = f"/api/v1/training_runs/{training.model_id}/checkpoints/a/download"
        assert {each.result(WAIT).url for each in asks} == {f"{skyrl.url}{route}"}
        for place, path in enumerate((bare, for_sampling)):
            (file,) = rest.download_checkpoint(path or "", tmp_path / str(place)).result(WAIT)
            assert file.read_text() == "{}"
        # The archive of that name is of other weights.
        for path in (for_training, saved):
            with pytest.raises(NotSupportedByServer, match="to sample from only"):
                rest.get_checkpoint_archive_url_from_tinker_path(path).result(WAIT)
        assert rest.get_weights_info_by_tinker_path(saved).result(WAIT).lora_rank == 8


def test_skyrl_a_name_that_is_taken(sky_training: TrainingClient, skyrl: SkyRLStub) -> None:
    sky_training.save_state("a").result(WAIT)
    with pytest.raises(ConflictError, match="already exists"):
        sky_training.save_state("a").result(WAIT)
    assert len(skyrl.bodies("save_weights")) == 2


def test_skyrl_a_checkpoint_that_is_still_being_saved(
    sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    path = sky_training.save_state("a").result(WAIT).path
    skyrl.still_saving = 2
    sky_training.load_state_with_optimizer(path).result(WAIT)
    assert (len(skyrl.bodies("load_weights")), skyrl.done["load_weights"]) == (3, 1)


def test_skyrl_names_are_stricter(sky_training: TrainingClient) -> None:
    with pytest.raises(UnprocessableEntityError, match="pattern"):
        sky_training.save_state("step.1").result(WAIT)


def test_skyrl_losses_and_their_settings(sky_training: TrainingClient) -> None:
    sky_training.forward_backward(DATA, "dppo", {"delta_low": 0.1}).result(WAIT)
    with pytest.raises(UnprocessableEntityError, match="Invalid loss_fn_config keys"):
        sky_training.forward_backward(DATA, "dppo", {"clip_low_threshold": 0.1}).result(WAIT)


def test_skyrl_prompt_scores_leave_out_the_first(skyrl: SkyRLStub) -> None:
    with client_of(skyrl.url) as service:
        sampler = service.create_sampling_client(base_model="base")
        assert sampler.compute_logprobs(PROMPT).result(WAIT) == [None, -0.5, -0.5, -0.5]
        drawn = sampler.sample(PROMPT, 1, PARAMS).result(WAIT)
        assert drawn.prompt_logprobs is None


def test_later_skyrl_gives_them_all() -> None:
    from tinker_nb.client.exchange import Accepted

    body = {"sequences": [], "prompt_logprobs": [None, -1.0]}
    reply = Reply(200, JSON, json.dumps(body).encode())
    assert SkyRL().samples(reply, Accepted("1")).prompt_logprobs == [None, -1.0]


def test_skyrl_sampling_parameters(skyrl: SkyRLStub) -> None:
    with client_of(skyrl.url) as service:
        sampler = service.create_sampling_client(base_model="base")
        with pytest.raises(NotSupportedByServer, match=r"SkyRL at .* sample without max_tokens"):
            sampler.sample(PROMPT, 1, SamplingParams()).result(WAIT)
        for stop in ("END", ["END"], [3, 4], []):
            params = SamplingParams(max_tokens=2, stop=stop)
            sampler.sample(PROMPT, 1, params).result(WAIT)
    sent = [each["sampling_params"]["stop"] for each in skyrl.bodies("asample")]
    assert sent == [["END"], ["END"], [3, 4], []]


UNREAD: dict[str, Callable[[ServiceClient, TrainingClient], Any]] = {
    "train_mlp": lambda s, _: s.create_lora_training_client("base", train_mlp=False),
    "another optimizer": lambda s, _: s.create_lora_training_client(
        "base", optimizer=DimuonOptimizerConfig()
    ),
    "grad_clip_norm": lambda _, t: t.optim_step(AdamParams(grad_clip_norm=1.0)),
    "ttl_seconds": lambda _, t: t.save_state("x", ttl_seconds=7200),
    "user_metadata": lambda _, t: t.save_weights_for_sampler("x", user_metadata={"a": "b"}),
    "kind": lambda _, t: t.save_weights_and_get_sampling_client(kind="inflight").created,
    "weights_access_token": lambda _, t: t.load_state_with_optimizer("tinker://a/weights/b", "s"),
    "topk_prompt_logprobs": lambda s, _: s.create_sampling_client(base_model="b").sample(
        PROMPT, 1, PARAMS, topk_prompt_logprobs=2
    ),
}


@pytest.mark.parametrize("what", UNREAD)
def test_skyrl_is_not_asked_what_it_would_leave_unread(
    what: str, sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    done = dict(skyrl.done)
    with pytest.raises(NotSupportedByServer, match=rf"SkyRL at http.* with {what}"):
        UNREAD[what](sky_training._service, sky_training).result(WAIT)
    assert skyrl.done == done


def test_skyrl_has_no_end_of_a_session(skyrl: SkyRLStub) -> None:
    with client_of(skyrl.url) as service:
        service.create_lora_training_client("base")
    assert skyrl.seen[-1].path.endswith("/finish")
    assert skyrl.count(f"{API}/telemetry") == 0


# Exactly once ------------------------------------------------------------------------------------

FORWARD_BACKWARD = f"{API}/forward_backward"


def is_under_way(skyrl: SkyRLStub) -> bool:
    return skyrl.done["forward_backward"] == 1


def is_done_once(skyrl: SkyRLStub) -> bool:
    return skyrl.done["forward_backward"] == skyrl.count(FORWARD_BACKWARD) == 1


async def test_waiting_right_after_the_call_sends_it_once(
    sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    future = await sky_training.forward_backward_async(DATA, "cross_entropy")
    future.result(WAIT)
    assert is_done_once(skyrl)


async def test_a_submission_in_flight_on_a_blocked_loop_is_sent_once(
    sky_training: TrainingClient, skyrl: SkyRLStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = Work.move

    def moved(self: Any, loop: asyncio.AbstractEventLoop) -> None:
        move(self, loop)
        skyrl.gate.set()  # only another carrier hears of the answer

    monkeypatch.setattr(Work, "move", moved)
    skyrl.gate.clear()
    future = await sky_training.forward_backward_async(DATA, "cross_entropy")
    await asyncio.to_thread(skyrl.wait_for, lambda: is_under_way(skyrl))
    assert future.request_id is None
    future.result(WAIT)
    assert is_done_once(skyrl)


def test_a_submission_in_flight_outlives_its_loop(
    sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    async def begin() -> Any:
        future = await sky_training.forward_backward_async(DATA, "cross_entropy")
        await asyncio.to_thread(skyrl.wait_for, lambda: is_under_way(skyrl))
        return future

    skyrl.gate.clear()
    future = asyncio.run(begin())
    assert not future.done()
    skyrl.gate.set()
    future.result(WAIT)
    assert is_done_once(skyrl)


def test_a_submission_that_just_began_outlives_its_loop(
    sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    future = asyncio.run(sky_training.forward_backward_async(DATA, "cross_entropy"))
    future.result(WAIT)
    assert is_done_once(skyrl)


async def test_cancelling_a_wait_leaves_the_submission_alone(
    sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.gate.clear()
    future = await sky_training.forward_backward_async(DATA, "cross_entropy")
    waiting = asyncio.ensure_future(future.result_async())
    await asyncio.to_thread(skyrl.wait_for, lambda: is_under_way(skyrl))
    waiting.cancel()
    skyrl.gate.set()
    await future
    assert is_done_once(skyrl)


def test_what_the_server_did_not_take_is_sent_again(
    sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.refuse_once = [(429, {"detail": "slow"}), (503, None), (425, None), (408, None)]
    sky_training.forward_backward(DATA, "cross_entropy").result(WAIT)
    assert (skyrl.count(FORWARD_BACKWARD), skyrl.done["forward_backward"]) == (5, 1)


@pytest.mark.parametrize("status", [500, 502, 504])
def test_what_the_server_may_have_taken_is_not(
    status: int, sky_training: TrainingClient, skyrl: SkyRLStub
) -> None:
    skyrl.refuse_once = [(status, {"detail": "x"})]
    with pytest.raises(InternalServerError, match="Nobody knows"):
        sky_training.forward_backward(DATA, "cross_entropy").result(WAIT)
    assert skyrl.count(FORWARD_BACKWARD) == 1
    sky_training.optim_step().result(WAIT)


def dropping(name: str, times: int) -> tuple[list[str], Callable[[Seen], Say | None]]:
    """Return a script of SkyRL that reads some requests and gives no answer to them."""
    left = [name] * times

    def script(seen: Seen) -> Say | None:
        if seen.path == "/":
            return Say(200, {"name": "Tinker API Mock"})
        if left and seen.path.endswith(f"/{name}"):
            left.pop()
            return Say(drop=True)
        if seen.path.endswith("/retrieve_future") and seen.body["request_id"] == "7":
            return Say(200, {"sequences": []})
        answers = {"asample": {"request_id": "7"}, "forward_backward": {"request_id": "8"}}
        answers["create_sampling_session"] = {"sampling_session_id": "sampling_1"}
        found = answers.get(seen.path.rpartition("/")[2])
        return Say(200, found) if found else None

    return left, script


def test_a_connection_that_broke_is_not_tried_again() -> None:
    left, script = dropping("optim_step", 1)
    with scripted_server(script) as server, client_of(server.url) as service:
        training = service.create_lora_training_client("m")
        with pytest.raises(APIConnectionError, match="Nobody knows whether the server") as caught:
            training.optim_step().result(WAIT)
        assert "broke" in caught.value.message
        assert server.count(f"{API}/optim_step") == 1
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


# Tinkerbell --------------------------------------------------------------------------------------


def test_tinkerbell_takes_conversations_as_they_are(
    bell_training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    output = bell_training.forward_backward(CHAT, "registered").result(WAIT)
    assert output.metrics["perplexity"] == 1.6
    assert output.loss_fn_outputs == []
    (body,) = (each.body for each in tinkerbell.seen if "forward_backward" in each.path)
    assert body == {"model_id": bell_training.model_id, "data": CHAT, "loss_fn": "registered"}
    with pytest.raises(RequestFailedError, match="Unknown loss function: unheard"):
        bell_training.forward_backward(CHAT, "unheard").result(WAIT)


def test_tinkerbell_takes_no_datums(
    bell_training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    before = len(tinkerbell.seen)
    for data in (DATA, [*CHAT, DATUM]):
        with pytest.raises(InvalidInputError, match="Tinkerbell takes conversations, not datums"):
            bell_training.forward_backward(data, "cross_entropy")
    assert len(tinkerbell.seen) == before


def test_others_take_no_conversations(sky_training: TrainingClient, skyrl: SkyRLStub) -> None:
    for data in (CHAT, [DATUM, *CHAT]):
        with pytest.raises(InvalidInputError, match="takes tokens, not conversations"):
            sky_training.forward_backward(data, "cross_entropy")  # type: ignore[arg-type]
    assert skyrl.count(FORWARD_BACKWARD) == 0


def test_tinkerbell_sees_only_what_it_knows(
    bell_training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    bell_training.forward_backward(CHAT, "cross_entropy").result(WAIT)
    step = bell_training.optim_step(AdamParams(learning_rate=0.25)).result(WAIT)
    assert (step.metrics or {})["learning_rate"] == 0.25
    bell_training.save_weights_and_get_sampling_client().sample(PROMPT, 1, PARAMS).result(WAIT)
    bodies = {each.path: each.body for each in tinkerbell.seen}
    assert bodies[f"{API}/add_lora_async"] == {"base_model": "base", "rank": 8}
    known = {"learning_rate", "beta1", "beta2", "eps", "weight_decay"}
    assert set(bodies[f"{API}/optim_step_async"]["adam_params"]) == known
    assert bodies[f"{API}/asample"] == {
        "model_id": bell_training.model_id,
        "prompt": {"chunks": [{"type": "encoded_text", "tokens": [5, 6, 7, 8]}]},
        "sampling_params": {"max_tokens": 2, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
    }
    assert set(bodies["/retrieve_future"]) == {"request_id"}
    for path in ("create_session", "create_sampling_session", "retrieve_future", "telemetry"):
        assert f"{API}/{path}" not in bodies


def test_tinkerbell_samples_the_base(tinkerbell: TinkerbellStub) -> None:
    with client_of(tinkerbell.url) as service:
        sampler = service.create_sampling_client(base_model="base")
        (drawn,) = sampler.sample(PROMPT, 1, PARAMS).result(WAIT).sequences
        assert (drawn.text, drawn.tokens, drawn.logprobs) == ("igpay atinlay", [], None)
        assert tinkerbell.seen[-2].body["base_model"] == "base"
        tinkerbell.has_engine = True
        (drawn,) = sampler.sample(PROMPT, 1, PARAMS).result(WAIT).sequences
        assert (drawn.text, drawn.tokens, drawn.stop_reason) == ("igpay", TOKENS, "length")


def test_tinkerbell_names_the_new_model_itself(bell_training: TrainingClient) -> None:
    future = bell_training.forward_backward(CHAT, "cross_entropy")
    future.result(WAIT)
    assert bell_training.model_id.startswith("base_lora_")
    # The answer of add_lora names the base, which is not what calls are for.
    assert bell_training.created.snapshot.model_id in (None, bell_training.model_id)
    assert future.snapshot.model_id in (None, bell_training.model_id)


def test_tinkerbell_pending(bell_training: TrainingClient, tinkerbell: TinkerbellStub) -> None:
    tinkerbell.pending = 3
    bell_training.forward_backward(CHAT, "cross_entropy").result(WAIT)
    assert [each.path for each in tinkerbell.seen].count("/retrieve_future") == 1 + 4


def test_tinkerbell_without_a_result(
    bell_training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    tinkerbell.answers_nothing = True
    bell_training.forward_backward(CHAT, "cross_entropy").exception(WAIT)
    assert bell_training.optim_step().result(WAIT).metrics is None
    with pytest.raises(APIResponseValidationError, match="ForwardBackward"):
        bell_training.forward_backward(CHAT, "cross_entropy").result(WAIT)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("400 Bad Request: it cannot be read", BadRequestError, "400: it cannot be read"),
        ("405 Method Not Allowed: POST", NotSupportedByServer, "optim_step"),
        ("'NoneType' object has no attribute 'get'", InternalServerError, "500: 'NoneType'"),
        ("500 Internal Server Error: full", InternalServerError, "500: full"),
    ],
)
def test_tinkerbell_says_500_for_everything(
    said: str,
    error: type[TinkerError],
    words: str,
    bell_training: TrainingClient,
    tinkerbell: TinkerbellStub,
) -> None:
    before = len(tinkerbell.seen)
    tinkerbell.refuse_once = [(500, {"detail": said})]
    with pytest.raises(error, match=words) as caught:
        bell_training.optim_step().result(WAIT)
    assert "Nobody knows" not in str(caught.value)
    assert len(tinkerbell.seen) == before + 1


def test_tinkerbell_polls_that_are_refused(
    bell_training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    with client_of(tinkerbell.url) as service:
        with pytest.raises(FutureLostError):
            service.rebuild_future("future_0", "OptimStep").result(WAIT)
        tinkerbell.refuse_once = [(500, {"detail": "400 Bad Request: request_id is required"})]
        with pytest.raises(BadRequestError, match="request_id is required"):
            service.rebuild_future("future_0", "OptimStep").result(WAIT)
        tinkerbell.refuse_once = [(503, None)]  # a proxy's: the work goes on
        with pytest.raises(FutureLostError):
            service.rebuild_future("future_0", "OptimStep").result(WAIT)


IGNORED: dict[str, Callable[[ServiceClient, TrainingClient], Any]] = {
    "seed": lambda s, _: s.create_lora_training_client("base", seed=0),
    "train_unembed": lambda s, _: s.create_lora_training_client("base", train_unembed=False),
    "another optimizer": lambda _, t: t.optim_step(DimuonParams(learning_rate=0.1)),
    "grad_clip_norm": lambda _, t: t.optim_step(AdamParams(grad_clip_norm=1.0)),
    "loss_fn_config": lambda _, t: t.forward_backward(CHAT, "ppo", {"clip_low_threshold": 0.1}),
    "num_samples": lambda _, t: t.save_weights_and_get_sampling_client().sample(PROMPT, 2, PARAMS),
    "prompt_logprobs": lambda _, t: t.save_weights_and_get_sampling_client().sample(
        PROMPT, 1, PARAMS, include_prompt_logprobs=True
    ),
    "stop": lambda _, t: t.save_weights_and_get_sampling_client().sample(
        PROMPT, 1, SamplingParams(max_tokens=2, stop=[])
    ),
}


@pytest.mark.parametrize("what", IGNORED)
def test_tinkerbell_is_not_asked_what_it_would_ignore(
    what: str, bell_training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    before = len(tinkerbell.seen)
    with pytest.raises(NotSupportedByServer, match=rf"Tinkerbell at http.* with {what}"):
        IGNORED[what](bell_training._service, bell_training).result(WAIT)
    assert len(tinkerbell.seen) == before
