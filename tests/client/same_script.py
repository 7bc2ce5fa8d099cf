"""What a user of the official SDK writes: every sort of call once, and what came back as JSON.

`test_same_script` runs this very text under both packages; only the two imports below differ. Where
the server is comes from the environment, as it does for users.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
import tinker
import torch
from tinker import types

BASE_MODEL = "tiny-chat"
found: dict[str, Any] = {}

EXAMPLES = [
    {"input": "banana split", "output": "anana-bay plit-say"},
    {"input": "quantum physics", "output": "uantum-qay ysics-phay"},
    {"input": "donut shop", "output": "onut-day op-shay"},
]


# Supervised learning, as in the quick start ------------------------------------------------------


def process_example(example: dict[str, str], tokenizer: Any) -> types.Datum:
    prompt = f"English: {example['input']}\nPig Latin:"
    prompt_tokens = tokenizer.encode(prompt, add_special_tokens=True)
    completion_tokens = tokenizer.encode(f" {example['output']}\n\n", add_special_tokens=False)
    tokens = prompt_tokens + completion_tokens
    weights = [0] * len(prompt_tokens) + [1] * len(completion_tokens)
    loss_fn_inputs: Any = {"weights": weights[1:], "target_tokens": tokens[1:]}
    return types.Datum(
        model_input=types.ModelInput.from_ints(tokens=tokens[:-1]), loss_fn_inputs=loss_fn_inputs
    )


def loss_per_token(output: types.ForwardBackwardOutput, data: list[types.Datum]) -> float:
    logprobs = np.concatenate([out["logprobs"].tolist() for out in output.loss_fn_outputs])
    weights = np.concatenate([datum.loss_fn_inputs["weights"].tolist() for datum in data])
    return float(-np.dot(logprobs, weights) / weights.sum())


def supervised(training_client: tinker.TrainingClient, data: list[types.Datum]) -> None:
    losses = []
    for _ in range(4):
        fwdbwd_future = training_client.forward_backward(data, "cross_entropy")
        optim_future = training_client.optim_step(types.AdamParams(learning_rate=2e-3))
        fwdbwd_result = fwdbwd_future.result()
        optim_result = optim_future.result()
        assert isinstance(fwdbwd_future, tinker.APIFuture)
        assert isinstance(fwdbwd_result, tinker.ForwardBackwardOutput)
        assert isinstance(optim_result, types.OptimStepResponse)
        losses.append(loss_per_token(fwdbwd_result, data))
    found["supervised"] = losses


def datums_in_every_form(training_client: tinker.TrainingClient) -> None:
    tokens = list(b"in every form")
    inputs, targets, weights = tokens[:-1], tokens[1:], [0.5] * (len(tokens) - 1)
    forms: dict[str, dict[str, Any]] = {
        "lists": {"target_tokens": targets, "weights": weights},
        "numpy": {"target_tokens": np.array(targets, np.int32), "weights": np.array(weights)},
        "torch": {"target_tokens": torch.tensor(targets), "weights": torch.tensor(weights)},
        "tensor data": {
            "target_tokens": types.TensorData(data=targets, dtype="int64", shape=[len(targets)]),
            "weights": types.TensorData.from_torch(torch.tensor(weights, dtype=torch.bfloat16)),
        },
        "from numpy": {
            "target_tokens": types.TensorData.from_numpy(np.array(targets)),
            "weights": types.TensorData.from_numpy(np.array(weights, np.float16)),
        },
    }
    outputs = {}
    for name, loss_fn_inputs in forms.items():
        model_input = types.ModelInput(chunks=[types.EncodedTextChunk(tokens=inputs)])
        datum = types.Datum(model_input=model_input, loss_fn_inputs=loss_fn_inputs)
        output = training_client.forward([datum], "cross_entropy").result()
        outputs[name] = [output.metrics["loss:sum"], output.loss_fn_outputs[0]["logprobs"].shape]
    found["forms"] = outputs

    # A distribution over tokens at each position, most of it empty.
    wide_targets = torch.zeros((len(inputs), 8), dtype=torch.int64)
    wide_weights = torch.zeros((len(inputs), 8))
    wide_targets[:, 0], wide_weights[:, 0] = torch.tensor(targets), 0.75
    wide_targets[0, 1], wide_weights[0, 1] = 65, 0.25
    wide: Any = {"target_tokens": wide_targets, "weights": wide_weights}
    datum = types.Datum(model_input=types.ModelInput.from_ints(inputs), loss_fn_inputs=wide)
    output = training_client.forward([datum], "cross_entropy").result()
    logprobs = output.loss_fn_outputs[0]["logprobs"]
    found["wide"] = [output.metrics["loss:sum"], logprobs.shape, logprobs.to_torch()[0].tolist()]


# A loss of one's own -----------------------------------------------------------------------------


def custom(
    service_client: tinker.ServiceClient,
    training_client: tinker.TrainingClient,
    data: list[types.Datum],
) -> None:
    def squared(
        data: list[types.Datum], logprobs_list: list[torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, float]]:
        weights = [datum.loss_fn_inputs["weights"].to_torch() for datum in data]
        terms = [((lp * w) ** 2).sum() for lp, w in zip(logprobs_list, weights, strict=True)]
        loss = torch.stack(terms).sum()
        return loss, {"largest": max(term.item() for term in terms)}

    fwdbwd_future = training_client.forward_backward_custom(data, squared)
    optim_future = training_client.optim_step(types.AdamParams(learning_rate=1e-3))
    result = fwdbwd_future.result()
    found["custom"] = [sorted(result.metrics.items()), optim_future.result().metrics]

    def squared_once(logprobs: torch.Tensor, weights: torch.Tensor) -> Any:
        loss = (logprobs * weights).square().sum()
        return loss, {"custom/squared:sum": loss, "custom/mean_weight:mean": weights.mean()}

    handle = service_client.create_custom_loss(squared_once, {"logprobs": 1, "weights": 1}).result()
    assert isinstance(handle, tinker.LossHandle)
    result = training_client.forward_backward_custom(data, handle).result()
    step = training_client.optim_step(types.AdamParams(learning_rate=1e-3)).result()
    found["traced"] = [sorted(result.metrics.items()), step.metrics, handle.name]


# Sampling and reinforcement learning -------------------------------------------------------------


def sampling(
    service_client: tinker.ServiceClient, training_client: tinker.TrainingClient, tokenizer: Any
) -> None:
    prompt = types.ModelInput.from_ints(tokenizer.encode("English: coffee break\nPig Latin:"))
    params = types.SamplingParams(max_tokens=8, temperature=0.0, stop=["\n"])

    sampling_path = training_client.save_weights_for_sampler(name="0000").result().path
    sampling_client = service_client.create_sampling_client(model_path=sampling_path).result()
    assert isinstance(sampling_client, tinker.SamplingClient)
    future = sampling_client.sample(prompt=prompt, sampling_params=params, num_samples=2)
    result = future.result()
    found["named sampler"] = [
        [seq.tokens, seq.logprobs, seq.stop_reason, tokenizer.decode(seq.tokens)]
        for seq in result.sequences
    ]
    assert len({seq.sequence_id for seq in result.sequences}) == 2

    same = training_client.save_weights_and_get_sampling_client(name="pig-latin-model").result()
    drawn = types.SamplingParams(max_tokens=12, temperature=1.0, top_p=0.9, top_k=40, seed=7)
    response = same.sample(
        prompt, 3, drawn, include_prompt_logprobs=True, topk_prompt_logprobs=2
    ).result()
    found["drawn"] = [[seq.tokens, seq.logprobs] for seq in response.sequences]
    found["prompt"] = [response.prompt_logprobs, response.topk_prompt_logprobs]
    found["scores"] = same.compute_logprobs(prompt).result()

    base = service_client.create_sampling_client(base_model=BASE_MODEL).result()
    found["base"] = [base.get_base_model(), base.compute_logprobs(prompt).result()]


def reinforce(training_client: tinker.TrainingClient, tokenizer: Any) -> None:
    prompt = types.ModelInput.from_ints(tokenizer.encode("Say hello"))
    sampling_client = training_client.save_weights_and_get_sampling_client().result()
    params = types.SamplingParams(max_tokens=6, seed=3, stop=[])
    group = sampling_client.sample(prompt, num_samples=4, sampling_params=params).result()
    rewards = np.array([len(set(seq.tokens)) for seq in group.sequences], dtype=np.float32)
    advantages = rewards - rewards.mean()
    training_data: list[types.Datum] = []
    for seq, advantage in zip(group.sequences, advantages, strict=True):
        assert seq.logprobs is not None
        ob_len = prompt.length - 1
        model_input = prompt
        for token in seq.tokens[:-1]:
            model_input = model_input.append_int(token)
        targets = [0] * ob_len + list(seq.tokens)
        logprobs = torch.tensor([0.0] * ob_len + list(seq.logprobs))
        per_token = torch.tensor([0.0] * ob_len + [float(advantage)] * len(seq.tokens))
        training_data.append(
            types.Datum(
                model_input=model_input,
                loss_fn_inputs={
                    "target_tokens": types.TensorData.from_torch(torch.tensor(targets)),
                    "logprobs": types.TensorData.from_torch(logprobs),
                    "advantages": types.TensorData.from_torch(per_token),
                },
            )
        )
    first = training_client.forward_backward(training_data, loss_fn="importance_sampling")
    step = training_client.optim_step(types.AdamParams(learning_rate=4e-3, beta2=0.999, eps=1e-8))
    second = training_client.forward_backward(
        training_data, "ppo", {"clip_low_threshold": 0.9, "clip_high_threshold": 1.1}
    )
    found["rl"] = [
        [seq.tokens for seq in group.sequences],
        first.result().metrics["loss:sum"],
        (step.result().metrics or {})["grad_norm"],
        second.result().metrics["loss:sum"],
    ]
    training_client.optim_step(types.AdamParams(learning_rate=0.0)).result()


# The async forms ---------------------------------------------------------------------------------


async def in_async(data: list[types.Datum]) -> None:
    service_client = tinker.ServiceClient()
    training_client = await service_client.create_lora_training_client_async(
        base_model=BASE_MODEL, rank=4, seed=2
    )
    # Both calls are on their way before either is waited for.
    fwd_bwd_future: tinker.APIFuture[
        types.ForwardBackwardOutput
    ] = await training_client.forward_backward_async(data, "cross_entropy")
    optim_future = await training_client.optim_step_async(types.AdamParams(learning_rate=2e-3))
    losses = [(await fwd_bwd_future).metrics["loss:sum"]]
    assert (await optim_future).metrics
    losses += [
        (await (await training_client.forward_async(data, "cross_entropy"))).metrics["loss:sum"],
        (await training_client.forward(data, "cross_entropy")).metrics["loss:sum"],
    ]
    again = await training_client.forward_backward_async(data, "cross_entropy")
    losses.append((await again.result_async(timeout=120)).metrics["loss:sum"])
    found["async losses"] = losses

    info = await training_client.get_info_async()
    found["info"] = [info.model_data.model_name, info.is_lora, info.lora_rank]
    saved = await (await training_client.save_weights_for_sampler_async("async"))
    assert saved.path is not None
    named = await service_client.create_sampling_client_async(model_path=saved.path)
    newest = await training_client.save_weights_and_get_sampling_client_async()
    params = types.SamplingParams(max_tokens=4, temperature=0.0)
    prompts = [types.ModelInput.from_ints(list(text)) for text in (b"one", b"two", b"three")]
    answers = await asyncio.gather(*[named.sample_async(p, 1, params) for p in prompts])
    found["async samples"] = [answer.sequences[0].tokens for answer in answers]
    found["async scores"] = await newest.compute_logprobs_async(prompts[0])
    found["awaited sample"] = (await newest.sample(prompts[0], 1, params)).sequences[0].tokens


# What goes wrong ---------------------------------------------------------------------------------


def mistakes(service_client: tinker.ServiceClient, training_client: tinker.TrainingClient) -> None:
    caught = []
    try:
        service_client.create_lora_training_client("no-such-model").result()
    except tinker.NotFoundError as error:
        caught.append(["model", isinstance(error, tinker.APIStatusError), error.status_code])
    try:
        service_client.create_sampling_client("tinker://nobody/sampler_weights/none").result()
    except tinker.NotFoundError as error:
        caught.append(["checkpoint", isinstance(error, tinker.TinkerError), error.status_code])
    try:
        training_client.forward_backward([], "cross_entropy").result()
    except ValueError:
        caught.append(["no data"])
    try:
        tinker.ServiceClient(api_key="tml-wrong").get_server_capabilities()
    except tinker.AuthenticationError as error:
        caught.append(["key", error.status_code])
    try:
        types.AdamParams(learning_rat=1e-3)  # type: ignore[call-arg]
    except ValueError:
        caught.append(["a misspelt field"])
    try:
        types.ModelInput(
            chunks=[types.ImageAssetPointerChunk(format="png", location="x")]
        ).to_ints()
    except ValueError:
        caught.append(["no ints"])
    datum = types.Datum(
        model_input=types.ModelInput.from_ints([1, 2]),
        loss_fn_inputs={"target_tokens": types.TensorData.from_numpy(np.array([3, 10**6]))},
    )
    try:
        training_client.forward_backward([datum], "cross_entropy").result()
    except tinker.BadRequestError as error:
        caught.append(["no such token", isinstance(error, tinker.APIError), error.status_code])
    try:
        training_client.optim_step(types.AdamParams()).result(timeout=0)
    except TimeoutError:
        caught.append(["no time"])
    found["caught"] = caught


def main() -> None:
    with tinker.ServiceClient(user_metadata={"made by": "a script"}) as service_client:
        models = service_client.get_server_capabilities().supported_models
        found["models"] = [model.model_name for model in models]
        training_client = service_client.create_lora_training_client(
            base_model=BASE_MODEL, rank=8, seed=1
        ).result()
        assert isinstance(training_client, tinker.TrainingClient)
        assert training_client.model_id.endswith(":train:0")
        tokenizer = training_client.get_tokenizer()
        text = "English: banana split"
        found["tokens"] = tokenizer.encode(text)
        assert tokenizer.decode(found["tokens"]) == text
        data = [process_example(example, tokenizer) for example in EXAMPLES]
        supervised(training_client, data)
        datums_in_every_form(training_client)
        custom(service_client, training_client, data)
        sampling(service_client, training_client, tokenizer)
        reinforce(training_client, tokenizer)
        mistakes(service_client, training_client)
    asyncio.run(in_async(data))
    json.dump(found, sys.stdout)


main()
