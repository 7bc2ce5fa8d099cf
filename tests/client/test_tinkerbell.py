"""Tinkerbell's own ways, one by one (section 8 of the protocol)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.protocol_stub import API
from tests.client.small_cases import CHAT, DATA, DATUM, PARAMS, PROMPT, WAIT, client_of
from tests.client.stub_earlier import TOKENS
from tests.client.stub_tinkerbell import TinkerbellStub, tinkerbell_stub
from tinker_nb import (
    AdamParams,
    SamplingParams,
    ServiceClient,
    TrainingClient,
)
from tinker_nb.errors import (
    APIResponseValidationError,
    BadRequestError,
    FutureLostError,
    InternalServerError,
    InvalidInputError,
    NotSupportedByServer,
    RequestFailedError,
    TinkerError,
)
from tinker_nb.wire.params import DimuonParams


@pytest.fixture
def tinkerbell() -> Iterator[TinkerbellStub]:
    with tinkerbell_stub() as stub:
        yield stub


@pytest.fixture
def training(tinkerbell: TinkerbellStub) -> Iterator[TrainingClient]:
    with client_of(tinkerbell.url) as service:
        yield service.create_lora_training_client("base", rank=8)


def test_takes_conversations_as_they_are(
    training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    output = training.forward_backward(CHAT, "registered").result(WAIT)
    assert output.metrics["perplexity"] == 1.6
    assert output.loss_fn_outputs == []
    (body,) = (each.body for each in tinkerbell.seen if "forward_backward" in each.path)
    assert body == {"model_id": training.model_id, "data": CHAT, "loss_fn": "registered"}
    with pytest.raises(RequestFailedError, match="Unknown loss function: unheard"):
        training.forward_backward(CHAT, "unheard").result(WAIT)


def test_takes_no_datums(training: TrainingClient, tinkerbell: TinkerbellStub) -> None:
    before = len(tinkerbell.seen)
    mixed: Any = [*CHAT, DATUM]
    for data in (DATA, mixed):
        with pytest.raises(InvalidInputError, match="Tinkerbell takes conversations, not datums"):
            training.forward_backward(data, "cross_entropy")
    assert len(tinkerbell.seen) == before


def test_sees_only_what_it_knows(training: TrainingClient, tinkerbell: TinkerbellStub) -> None:
    training.forward_backward(CHAT, "cross_entropy").result(WAIT)
    step = training.optim_step(AdamParams(learning_rate=0.25)).result(WAIT)
    assert (step.metrics or {})["learning_rate"] == 0.25
    training.save_weights_and_get_sampling_client().sample(PROMPT, 1, PARAMS).result(WAIT)
    bodies = {each.path: each.body for each in tinkerbell.seen}
    assert bodies[f"{API}/add_lora_async"] == {"base_model": "base", "rank": 8}
    known = {"learning_rate", "beta1", "beta2", "eps", "weight_decay"}
    assert set(bodies[f"{API}/optim_step_async"]["adam_params"]) == known
    assert bodies[f"{API}/asample"] == {
        "model_id": training.model_id,
        "prompt": {"chunks": [{"type": "encoded_text", "tokens": [5, 6, 7, 8]}]},
        "sampling_params": {"max_tokens": 2, "temperature": 1.0, "top_k": 0, "top_p": 1.0},
    }
    assert set(bodies["/retrieve_future"]) == {"request_id"}
    for path in ("create_session", "create_sampling_session", "retrieve_future", "telemetry"):
        assert f"{API}/{path}" not in bodies


def test_samples_the_base(tinkerbell: TinkerbellStub) -> None:
    with client_of(tinkerbell.url) as service:
        sampler = service.create_sampling_client(base_model="base")
        (drawn,) = sampler.sample(PROMPT, 1, PARAMS).result(WAIT).sequences
        assert (drawn.text, drawn.tokens, drawn.logprobs) == ("igpay atinlay", [], None)
        assert tinkerbell.seen[-2].body["base_model"] == "base"
        tinkerbell.has_engine = True
        (drawn,) = sampler.sample(PROMPT, 1, PARAMS).result(WAIT).sequences
        assert (drawn.text, drawn.tokens, drawn.stop_reason) == ("igpay", TOKENS, "length")


def test_names_the_new_model_in_the_result(training: TrainingClient) -> None:
    # The answer of add_lora names the base, which is not what calls are for.
    assert training.model_id.startswith("base_lora_")
    assert training.created.snapshot.model_id == training.model_id
    future = training.forward_backward(CHAT, "cross_entropy")
    assert future.snapshot.model_id == training.model_id
    future.result(WAIT)


def test_pending(training: TrainingClient, tinkerbell: TinkerbellStub) -> None:
    tinkerbell.pending = 3
    training.forward_backward(CHAT, "cross_entropy").result(WAIT)
    assert [each.path for each in tinkerbell.seen].count("/retrieve_future") == 1 + 4


def test_without_a_result(training: TrainingClient, tinkerbell: TinkerbellStub) -> None:
    tinkerbell.answers_nothing = True
    training.forward_backward(CHAT, "cross_entropy").exception(WAIT)
    assert training.optim_step().result(WAIT).metrics is None
    with pytest.raises(APIResponseValidationError, match="ForwardBackward"):
        training.forward_backward(CHAT, "cross_entropy").result(WAIT)


@pytest.mark.parametrize(
    ("said", "error", "words"),
    [
        ("400 Bad Request: it cannot be read", BadRequestError, "400: it cannot be read"),
        ("405 Method Not Allowed: POST", NotSupportedByServer, "optim_step"),
        ("'NoneType' object has no attribute 'get'", InternalServerError, "500: 'NoneType'"),
        ("500 Internal Server Error: full", InternalServerError, "500: full"),
    ],
)
def test_says_500_for_everything(
    said: str,
    error: type[TinkerError],
    words: str,
    training: TrainingClient,
    tinkerbell: TinkerbellStub,
) -> None:
    before = len(tinkerbell.seen)
    tinkerbell.refuse_once = [(500, {"detail": said})]
    with pytest.raises(error, match=words) as caught:
        training.optim_step().result(WAIT)
    assert "Nobody knows" not in str(caught.value)
    assert len(tinkerbell.seen) == before + 1


def test_polls_that_are_refused(training: TrainingClient, tinkerbell: TinkerbellStub) -> None:
    with client_of(tinkerbell.url) as service:
        with pytest.raises(FutureLostError):
            service.rebuild_future("future_0", "OptimStep").result(WAIT)
        said = "400 Bad Request: request_id is required"
        tinkerbell.refuse_once = [(500, {"detail": said})] * 4  # it is asked again a few times
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
def test_is_not_asked_what_it_would_ignore(
    what: str, training: TrainingClient, tinkerbell: TinkerbellStub
) -> None:
    before = len(tinkerbell.seen)
    with pytest.raises(NotSupportedByServer, match=rf"Tinkerbell at http.* with {what}"):
        IGNORED[what](training._service, training).result(WAIT)
    assert len(tinkerbell.seen) == before
