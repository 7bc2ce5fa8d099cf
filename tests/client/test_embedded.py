"""The client on the real embedded server: both forms, one order, and no deadlock anywhere."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tinker_nb import (
    AdamParams,
    ChatTokenizer,
    Datum,
    EmbeddedServer,
    FutureState,
    ModelInput,
    SamplingParams,
    ServiceClient,
    TinkerFuture,
    TrainingClient,
)
from tinker_nb.client.loops import loop_thread, running_loop
from tinker_nb.errors import (
    ConfigurationError,
    FutureCancelledError,
    InvalidInputError,
    NotFoundError,
    TinkerError,
)
from tinker_nb.wire.results import ForwardBackwardOutput

PARAMS = AdamParams(learning_rate=2e-3)
WAIT = 120


@pytest.fixture
def training(service: ServiceClient) -> TrainingClient:
    return service.create_lora_training_client("tiny-chat", rank=4, seed=0)


def losses(outputs: list[ForwardBackwardOutput]) -> list[float]:
    return [output.metrics["loss:sum"] for output in outputs]


def test_blocking_forms_train_and_sample(
    training: TrainingClient, data: list[Datum], tokenizer: ChatTokenizer
) -> None:
    pairs = [
        (training.forward_backward(data, "cross_entropy"), training.optim_step(PARAMS))
        for _ in range(5)
    ]
    found = losses([fb.result(WAIT) for fb, _ in pairs])
    assert found == sorted(found, reverse=True)
    assert all((optim.result(WAIT).metrics or {})["grad_norm"] > 0 for _, optim in pairs)

    sampler = training.save_weights_and_get_sampling_client()
    prompt = ModelInput.from_ints(tokenizer.prompt("Say hello"))
    response = sampler.sample(prompt, 2, SamplingParams(max_tokens=4, seed=1)).result(WAIT)
    assert len(response.sequences) == 2
    assert all(1 <= len(each.tokens) <= 4 for each in response.sequences)


async def test_async_forms_give_equal_results(
    service: ServiceClient, data: list[Datum], training: TrainingClient
) -> None:
    mine = await service.create_lora_training_client_async("tiny-chat", rank=4, seed=0)
    future = await mine.forward_backward_async(data, "cross_entropy")
    assert isinstance(future, TinkerFuture)
    output = await future
    assert losses([output]) == pytest.approx(
        losses([training.forward_backward(data, "cross_entropy").result(WAIT)])
    )
    await (await mine.optim_step_async(PARAMS))
    sampler = await mine.save_weights_and_get_sampling_client_async()
    response = await sampler.sample_async(
        ModelInput.from_ints([65]), 1, SamplingParams(max_tokens=2)
    )
    assert len(response.sequences) == 1


def test_the_way_of_a_future_is_seen(training: TrainingClient, data: list[Datum]) -> None:
    future = training.forward_backward(data, "cross_entropy")
    future.result(WAIT)
    shown = future.snapshot
    assert shown.state is FutureState.DONE
    way = [FutureState.CREATED, FutureState.SENDING, FutureState.ACCEPTED, FutureState.DONE]
    assert [shown.times[state] for state in way] == sorted(shown.times[state] for state in way)
    assert shown.request_id
    assert shown.model_id == training.model_id


async def test_order_holds_across_both_forms(training: TrainingClient, data: list[Datum]) -> None:
    futures: list[TinkerFuture[ForwardBackwardOutput]] = []
    for step in range(6):
        if step % 2:
            futures.append(training.forward_backward(data, "cross_entropy"))
            training.optim_step(PARAMS)
        else:
            futures.append(await training.forward_backward_async(data, "cross_entropy"))
            await training.optim_step_async(PARAMS)
    found = losses([await future for future in futures])
    assert found == sorted(found, reverse=True)
    accepted = [future.snapshot.times[FutureState.ACCEPTED] for future in futures]
    assert accepted == sorted(accepted)


async def test_a_blocking_wait_on_the_loop_that_sends_does_not_hang(
    training: TrainingClient, data: list[Datum]
) -> None:
    earlier = await training.forward_backward_async(data, "cross_entropy")
    later = training.optim_step(PARAMS)
    # Nothing was awaited, so nothing was sent yet; from here on this loop stands still.
    assert later.result(WAIT).metrics
    assert earlier.result(WAIT).metrics["loss:sum"] > 0
    assert running_loop() is not None


async def test_what_was_sent_already_is_not_done_twice(
    training: TrainingClient, data: list[Datum]
) -> None:
    first = losses([await (await training.forward_backward_async(data, "cross_entropy"))])
    await (await training.optim_step_async(PARAMS))
    second = await training.forward_backward_async(data, "cross_entropy")
    sending = asyncio.Event()
    second.subscribe(lambda _: sending.set())
    await sending.wait()
    moved = losses([second.result(WAIT)])  # moved to the loop thread, on its way to the server
    step = (await training.optim_step_async(PARAMS)).result(WAIT)
    assert moved < first
    assert (step.metrics or {})["step"] == 2


def test_a_future_outlives_the_loop_that_started_it(
    training: TrainingClient, data: list[Datum]
) -> None:
    async def start() -> TinkerFuture[ForwardBackwardOutput]:
        return await training.forward_backward_async(data, "cross_entropy")

    assert asyncio.run(start()).result(WAIT).metrics["loss:sum"] > 0


async def test_cancelling_a_wait_leaves_the_request_alone(
    training: TrainingClient, data: list[Datum]
) -> None:
    future = await training.forward_backward_async(data, "cross_entropy")
    waiting = asyncio.create_task(future.result_async())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await future).metrics["loss:sum"] > 0


async def test_cancel_gives_up_and_later_calls_go_on(
    training: TrainingClient, data: list[Datum]
) -> None:
    given_up = await training.forward_backward_async(data, "cross_entropy")
    kept = await training.forward_backward_async(data, "cross_entropy")
    assert given_up.cancel()
    assert not given_up.cancel()
    with pytest.raises(FutureCancelledError, match="It was never sent"):
        await given_up
    assert (await kept).metrics["loss:sum"] > 0
    assert given_up.cancelled()


def test_many_threads_may_wait(training: TrainingClient, data: list[Datum]) -> None:
    future = training.forward_backward(data, "cross_entropy")
    found: list[float] = []
    threads = [
        threading.Thread(target=lambda: found.extend(losses([future.result(WAIT)])))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_blocking_on_the_librarys_own_loop_is_refused(training: TrainingClient) -> None:
    async def mistake() -> None:
        training.optim_step(PARAMS).result()

    with pytest.raises(ConfigurationError, match="await it"):
        loop_thread().submit(mistake()).result(WAIT)


@pytest.mark.parametrize("name", ["no-such-model", "../etc", ""])
def test_an_unknown_model_is_one_clear_sentence(service: ServiceClient, name: str) -> None:
    with pytest.raises(TinkerError) as caught:
        service.create_lora_training_client(name)
    assert caught.value.fault == "user"
    assert len(str(caught.value)) < 300


def test_bad_data_are_refused_before_anything_is_sent(
    training: TrainingClient, data: list[Datum]
) -> None:
    with pytest.raises(InvalidInputError, match="no data"):
        training.forward_backward([], "cross_entropy")
    with pytest.raises(InvalidInputError, match="Unknown loss"):
        training.forward_backward(data, "crossentropie")
    # Neither took a number: the next call is the model's first.
    assert training.forward_backward(data, "cross_entropy").result(WAIT)
    assert training.calls_made == 2


def test_an_unknown_checkpoint_is_named(service: ServiceClient) -> None:
    with pytest.raises(NotFoundError):
        service.create_sampling_client("tinker://nobody/sampler_weights/none")
    with pytest.raises(InvalidInputError, match="begins with tinker://"):
        service.create_sampling_client("weights/none")


def test_a_named_checkpoint_can_be_sampled(
    training: TrainingClient, service: ServiceClient
) -> None:
    path = training.save_weights_for_sampler("first").result(WAIT).path
    assert path == f"tinker://{training.model_id}/sampler_weights/first"
    sampler = service.create_sampling_client(path)
    sample = sampler.sample(ModelInput.from_ints([65]), 1, SamplingParams(max_tokens=2)).result(
        WAIT
    )
    assert sample.sequences[0].tokens


def test_a_wrong_key_is_refused(embedded: EmbeddedServer) -> None:
    from tinker_nb.errors import AuthenticationError

    with (
        ServiceClient(base_url=embedded.base_url, api_key="tml-wrong") as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.get_server_capabilities()


def test_get_info_in_both_forms(training: TrainingClient) -> None:
    info = training.get_info()
    assert (info.model_id, info.lora_rank) == (training.model_id, 4)
    assert asyncio.run(training.get_info_async()) == info
