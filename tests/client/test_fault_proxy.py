"""Training on the real server through a proxy that drops, cuts, delays, refuses and doubles."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.client import fault_proxy as proxies
from tests.client.fault_proxy import Fault, FaultProxy, at_random, fault_proxy, say
from tinker_nb import (
    AdamParams,
    Datum,
    EmbeddedServer,
    FutureSnapshot,
    FutureState,
    ModelInput,
    SamplingParams,
    ServiceClient,
    TinkerFuture,
    TrainingClient,
)
from tinker_nb.client.calls import at_hand
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.wire.params import LoraConfig

WAIT = 60
PARAMS = AdamParams(learning_rate=2e-3)
PROMPT = ModelInput.from_ints([65, 66, 67])
DRAW = SamplingParams(max_tokens=3, seed=1)
#: Outlasts every passing fault of these tests on a busy machine.
PATIENT = RetryPolicy(0.01, 0.05, patience=30, refused_patience=30, conflict_patience=30)
#: Sees the end of a lasting one soon.
QUICK = RetryPolicy(0.01, 0.1, patience=0.6, refused_patience=0.2, conflict_patience=0.6)

SUBMISSIONS = (
    "create_model",
    "forward_backward",
    "optim_step",
    "save_weights_for_sampler",
    "asample",
)
ON_ALL = (
    proxies.DROPPED,
    proxies.RESET,
    proxies.LOST,
    proxies.LOST_RESET,
    proxies.CUT,
    proxies.SHORT,
    proxies.SLOW,
    proxies.FIRST_OF_TWO,
    proxies.SECOND_OF_TWO,
    proxies.PAGE_502,
    say(408, {"detail": "timeout"}),
    say(409, {"detail": "busy"}),
    say(429, {"detail": "slow down"}),
    say(429, {"detail": "slow down"}, "429-after", Retry_After="0"),
    say(500, {"detail": "oops"}),
    say(502, b"", "502-empty"),
    say(503, {"detail": "restarting"}),
)
#: What has a body that nobody could take for the server's.
GARBLED = (proxies.PAGE_200, proxies.EMPTY)
REFUSED = say(400, {"detail": "no"})
UNPAID = say(402, {"detail": "pay"}, retry_after_ms="20")
GONE = say(410, {"detail": "gone"})


@dataclass(frozen=True)
class Learnt:
    """What a small training gave."""

    losses: list[float]
    steps: list[float]
    tokens: list[int]


class Watch:
    """Writes down every snapshot of some futures."""

    def __init__(self) -> None:
        self.seen: defaultdict[TinkerFuture[Any], list[FutureSnapshot]] = defaultdict(list)

    def on(self, *futures: TinkerFuture[Any]) -> None:
        for future in futures:
            future.subscribe(self.seen[future].append)

    def states(self, future: TinkerFuture[Any]) -> list[FutureState]:
        return [each.state for each in self.seen[future]]

    def notes(self) -> list[str]:
        return [shown.note for each in self.seen.values() for shown in each if shown.note]

    def assert_each_settled_once(self) -> None:
        for future, shown in self.seen.items():
            assert sum(each.state.is_final for each in shown) == 1, future
            assert shown[-1].state.is_final, future


# Running a training


@contextmanager
def client(
    proxy: FaultProxy, embedded: EmbeddedServer, retry: RetryPolicy = PATIENT
) -> Iterator[ServiceClient]:
    """Give a client behind the proxy, and see that it leaves nothing behind."""
    with ServiceClient(base_url=proxy.url, api_key=embedded.api_key, retry=retry) as service:
        yield service
    assert_nothing_is_left(proxy)


def assert_nothing_is_left(proxy: FaultProxy) -> None:
    until(lambda: proxy.connections() == 0, "connections")
    until(lambda: not loop_thread().submit(tasks()).result(WAIT), "tasks")


async def tasks() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]


def until(is_so: Any, what: str) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, f"There are {what} left."
        time.sleep(0.01)


def created(service: ServiceClient) -> TrainingClient:
    """Start to make a model; unlike the public form, this does not wait for it."""
    how = LoraConfig(rank=4, seed=0)
    return service.start_training(at_hand("tiny-chat"), how, None, loop_thread().loop)


def train(service: ServiceClient, data: list[Datum], proxy: FaultProxy, watch: Watch) -> Learnt:
    """Train two steps and draw, with the blocking forms; all is asked before anything is done."""
    proxy.hold()
    training = created(service)
    learning = [training.forward_backward(data, "cross_entropy")]
    stepping = [training.optim_step(PARAMS)]
    learning += [training.forward_backward(data, "cross_entropy")]
    stepping += [training.optim_step(PARAMS)]
    sampler = training.save_weights_and_get_sampling_client()
    drawing = sampler.sample(PROMPT, 1, DRAW)
    watch.on(training.created, *learning, *stepping, sampler.created, drawing)
    proxy.release()
    return Learnt(
        [each.result(WAIT).metrics["loss:sum"] for each in learning],
        [(each.result(WAIT).metrics or {})["step"] for each in stepping],
        list(drawing.result(WAIT).sequences[0].tokens),
    )


async def train_async(service: ServiceClient, data: list[Datum], watch: Watch) -> Learnt:
    """Do the same with the async forms."""
    training = await service.create_lora_training_client_async("tiny-chat", rank=4, seed=0)
    learning = [await training.forward_backward_async(data, "cross_entropy")]
    stepping = [await training.optim_step_async(PARAMS)]
    learning += [await training.forward_backward_async(data, "cross_entropy")]
    stepping += [await training.optim_step_async(PARAMS)]
    watch.on(*learning, *stepping)  # this loop has sent nothing yet
    sampler = await training.save_weights_and_get_sampling_client_async()
    drawn = await sampler.sample_async(PROMPT, 1, DRAW)
    return Learnt(
        [(await each).metrics["loss:sum"] for each in learning],
        [((await each).metrics or {})["step"] for each in stepping],
        list(drawn.sequences[0].tokens),
    )


@pytest.fixture(scope="module")
def few(data: list[Datum]) -> list[Datum]:
    return data[:2]


@pytest.fixture(scope="module")
def wanted(embedded: EmbeddedServer, few: list[Datum]) -> Learnt:
    """What the training gives when all goes well."""
    with fault_proxy(embedded.base_url) as proxy, client(proxy, embedded) as service:
        return train(service, few, proxy, Watch())


def test_the_reference_is_one(wanted: Learnt, embedded: EmbeddedServer, few: list[Datum]) -> None:
    with ServiceClient(base_url=embedded.base_url, api_key=embedded.api_key) as service:
        assert asyncio.run(train_async(service, few, Watch())) == wanted
    assert wanted.steps == [1, 2]
    assert wanted.losses[1] < wanted.losses[0]
    assert len(wanted.tokens) > 0


# Faults that pass


def assert_gone_through(
    proxy: FaultProxy, embedded: EmbeddedServer, data: list[Datum], wanted: Learnt
) -> Watch:
    watch = Watch()
    with client(proxy, embedded) as service:
        assert train(service, data, proxy, watch) == wanted
    watch.assert_each_settled_once()
    for shown in watch.seen.values():
        assert (shown[-1].attempt, shown[-1].note) == (0, None)
    return watch


@pytest.mark.parametrize("fault", [*ON_ALL, *GARBLED], ids=str)
def test_submissions_are_done_once(
    fault: Fault, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    plan = proxies.first(fault, *SUBMISSIONS, times=2)
    with fault_proxy(embedded.base_url, plan) as proxy:
        assert_gone_through(proxy, embedded, few, wanted)
        for name in SUBMISSIONS:
            assert sum(each.fault is fault for each in proxy.requests(name)) == 2


@pytest.mark.parametrize("fault", [*ON_ALL, *GARBLED, REFUSED, UNPAID], ids=str)
def test_results_arrive_through_polls_that_fail(
    fault: Fault, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    plan = proxies.first(fault, "retrieve_future", times=2)
    with fault_proxy(embedded.base_url, plan) as proxy:
        assert_gone_through(proxy, embedded, few, wanted)
        for kind in ("CreateModel", "ForwardBackward", "OptimStep", "Sample"):
            assert any(each.fault for each in proxy.requests("retrieve_future", kind))
        assert all(len(proxy.requests(name)) in (1, 2) for name in SUBMISSIONS)


#: What may happen to any request.
EVERYWHERE = {
    "": ON_ALL,
    **dict.fromkeys(SUBMISSIONS, (*ON_ALL, *GARBLED)),
    "retrieve_future": (*ON_ALL, *GARBLED, REFUSED, UNPAID),
}


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_nothing_is_lost_or_done_twice(
    seed: int, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    with fault_proxy(embedded.base_url, at_random(seed, EVERYWHERE)) as proxy:
        assert_gone_through(proxy, embedded, few, wanted)
        assert sum(each.fault is not None for each in proxy.passed) > 5


@pytest.mark.parametrize("seed", range(6, 12))
async def test_whatever_happens_the_async_forms_give_the_same(
    seed: int, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    watch = Watch()
    with fault_proxy(embedded.base_url, at_random(seed, EVERYWHERE)) as proxy:
        async with ServiceClient(
            base_url=proxy.url, api_key=embedded.api_key, retry=PATIENT
        ) as service:
            assert await train_async(service, few, watch) == wanted
        watch.assert_each_settled_once()
        await asyncio.to_thread(assert_nothing_is_left, proxy)
        assert await tasks() == set()
