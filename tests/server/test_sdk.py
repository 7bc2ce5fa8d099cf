"""The official SDK, unmodified, against the server."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import tinker
from tinker import types

from tests.server.conftest import KEY, Served

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TOKENS = list(b"the quick brown fox")


def sdk_datum(**inputs: Any) -> Any:
    count = len(TOKENS) - 1
    columns: Any = inputs or {"weights": [1.0] * count}
    fields: Any = {"target_tokens": TOKENS[1:], **columns}
    return types.Datum(model_input=types.ModelInput.from_ints(TOKENS[:-1]), loss_fn_inputs=fields)


@pytest.fixture
def sdk(served: Served) -> Any:
    with tinker.ServiceClient(base_url=served.url, api_key=KEY) as service:
        yield service
    del service
    gc.collect()  # the SDK leaves sockets to the collector; let that happen here, not elsewhere


def test_sdk_trains_saves_and_samples(sdk: Any) -> None:
    trainer = sdk.create_lora_training_client("tiny-chat", rank=8, seed=1).result()
    losses: list[float] = []
    logprobs: Any = None
    for _ in range(5):
        forward = trainer.forward_backward([sdk_datum(), sdk_datum()], "cross_entropy")
        step = trainer.optim_step(types.AdamParams(learning_rate=3e-3))
        output = forward.result()
        losses.append(output.metrics["loss:sum"])
        logprobs = output.loss_fn_outputs[0]["logprobs"].to_numpy()
        assert step.result().metrics["grad_norm"] > 0
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] * 0.8
    assert losses[-1] == pytest.approx(-2 * logprobs.sum(), rel=1e-4)

    path = trainer.save_weights_for_sampler("final").result().path
    assert path == f"tinker://{trainer.model_id}/sampler_weights/final"
    sampler = sdk.create_sampling_client(model_path=path).result()
    assert sampler.get_base_model() == "tiny-chat"
    prompt = types.ModelInput.from_ints(TOKENS[:4])
    params = types.SamplingParams(max_tokens=12, temperature=0.0, stop=[])
    answer = sampler.sample(prompt, 2, params).result()
    assert [len(sequence.tokens) for sequence in answer.sequences] == [12, 12]
    scores = sampler.compute_logprobs(types.ModelInput.from_ints(TOKENS)).result()
    last = trainer.forward([sdk_datum()], "cross_entropy").result()
    np.testing.assert_allclose(
        scores[1:], last.loss_fn_outputs[0]["logprobs"].to_numpy(), atol=1e-4
    )


def test_sdk_policy_losses_and_ephemeral_sampler(sdk: Any) -> None:
    trainer = sdk.create_lora_training_client("base", rank=4).result()
    sampler = trainer.save_weights_and_get_sampling_client()
    count = len(TOKENS) - 1
    scores = sampler.result().compute_logprobs(types.ModelInput.from_ints(TOKENS)).result()[1:]
    datum = sdk_datum(logprobs=scores, advantages=[0.5] * count)
    for loss in ("importance_sampling", "ppo"):
        output = trainer.forward_backward([datum], loss).result()
        assert output.metrics["loss:sum"] == pytest.approx(-0.5 * count, rel=1e-3)


def test_sdk_hears_what_is_wrong(sdk: Any) -> None:
    with pytest.raises(tinker.NotFoundError, match="no base model"):
        sdk.create_lora_training_client("gpt-17").result()
    trainer = sdk.create_lora_training_client("base", rank=4).result()
    with pytest.raises(tinker.BadRequestError, match="Unknown loss 'nonsense'"):
        trainer.forward_backward([sdk_datum()], "nonsense").result()
    assert trainer.forward([sdk_datum()], "cross_entropy").result().metrics["loss:sum"] > 0


def test_sdk_capabilities(sdk: Any, served: Served) -> None:
    rest = tinker.RestClient(base_url=served.url, api_key=KEY)
    (model,) = rest.get_server_capabilities().result().supported_models
    assert (model.model_name, model.max_context_length) == ("tiny-chat", 512)
