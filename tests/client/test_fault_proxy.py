"""Training on the real server through a proxy that drops, cuts, delays, refuses and doubles."""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.client import fault_proxy as proxies
from tests.client.fault_proxy import Asked, Fault, FaultProxy, always, at_random, fault_proxy, say
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
from tinker_nb.client import link
from tinker_nb.client.calls import at_hand
from tinker_nb.client.dialects import official
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import (
    APIConnectionError,
    APIResponseValidationError,
    BadRequestError,
    BillingError,
    ConfigurationError,
    ConflictError,
    FutureLostError,
    GoneError,
    InternalServerError,
    RateLimitError,
    TinkerError,
)
from tinker_nb.wire.params import LoraConfig

WAIT = 60
PARAMS = AdamParams(learning_rate=2e-3)
PROMPT = ModelInput.from_ints([65, 66, 67])
DRAW = SamplingParams(max_tokens=3, seed=1)
#: Outlasts every passing fault of these tests on a busy machine.
PATIENT = RetryPolicy(0.01, 0.05, patience=30, refused_patience=30, conflict_patience=30)
#: Sees the end of a lasting one soon.
QUICK = RetryPolicy(0.01, 0.1, patience=0.4, refused_patience=0.2, conflict_patience=0.4)

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
GARBLED = (proxies.PAGE_200, proxies.EMPTY, proxies.EMPTY_BINARY)
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
    before = tasks()
    with ServiceClient(base_url=proxy.url, api_key=embedded.api_key, retry=retry) as service:
        yield service
    assert_nothing_is_left(proxy, before)


Tasks = set["asyncio.Task[Any]"]


def tasks() -> Tasks:
    """Return what runs on the library's own loop; other clients may have their heartbeats there."""

    async def here() -> Tasks:
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    return loop_thread().submit(here()).result(WAIT)


def assert_nothing_is_left(proxy: FaultProxy, before: Tasks) -> None:
    until(lambda: proxy.connections() == 0, "connections")
    until(lambda: not tasks() - before, "tasks")


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline, f"There are still {what}."
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


@pytest.fixture(autouse=True)
def _idle_connections_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the end of a client close its connections, so that it is seen whether it does."""
    monkeypatch.setattr(link, "_KEEP_ALIVE", 1000)


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
            assert any(each.fault is fault for each in proxy.requests(name))


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


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_nothing_is_lost_or_done_twice(
    seed: int, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    with fault_proxy(embedded.base_url, at_random(seed, EVERYWHERE)) as proxy:
        assert_gone_through(proxy, embedded, few, wanted)
        assert sum(each.fault is not None for each in proxy.passed) > 5


@pytest.mark.parametrize("seed", range(5, 10))
async def test_whatever_happens_the_async_forms_give_the_same(
    seed: int, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    watch, before = Watch(), tasks()
    with fault_proxy(embedded.base_url, at_random(seed, EVERYWHERE)) as proxy:
        async with ServiceClient(
            base_url=proxy.url, api_key=embedded.api_key, retry=PATIENT
        ) as service:
            assert await train_async(service, few, watch) == wanted
        watch.assert_each_settled_once()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await asyncio.to_thread(assert_nothing_is_left, proxy, before)


def test_patience_begins_with_the_trouble(
    embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    late = replace(say(409, {"detail": "busy"}), delay=0.3)
    hasty = replace(PATIENT, conflict_patience=0.25)  # less than the server holds what then fails
    plan = proxies.first(late, "optim_step", "retrieve_future")
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded, hasty) as service:
        assert train(service, few, proxy, Watch()) == wanted


def test_a_poll_that_takes_too_long_is_asked_anew(
    monkeypatch: pytest.MonkeyPatch, embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    monkeypatch.setattr(official, "POLL_TIMEOUT", 0.3)
    plan = proxies.once(Fault("held", delay=2), "retrieve_future", "OptimStep", times=2)
    with fault_proxy(embedded.base_url, plan) as proxy:
        watch = assert_gone_through(proxy, embedded, few, wanted)
    assert "no answer in time, trying again" in watch.notes()


# Faults that last

LASTING: list[tuple[Fault, type[TinkerError], str]] = [
    (say(500, {"detail": "oops"}), InternalServerError, "500"),
    (say(429, {"detail": "slow"}, "429-after", Retry_After="0"), RateLimitError, "429"),
    (say(409, {"detail": "busy"}), ConflictError, "409"),
    (proxies.DROPPED, APIConnectionError, "the connection broke"),
    (proxies.LOST_RESET, APIConnectionError, "the connection broke"),
    (proxies.PAGE_200, APIResponseValidationError, "an answer that is not JSON"),
]


@pytest.mark.parametrize(("fault", "error", "note"), LASTING, ids=[str(f) for f, *_ in LASTING])
@pytest.mark.parametrize("where", ["submission", "poll"])
def test_lasting_trouble_ends_in_time_and_says_what_was_tried(
    where: str, fault: Fault, error: type[TinkerError], note: str, embedded: EmbeddedServer
) -> None:
    name, kind = ("optim_step", "") if where == "submission" else ("retrieve_future", "OptimStep")
    watch = Watch()
    with (
        fault_proxy(embedded.base_url, always(fault, name, kind)) as proxy,
        client(proxy, embedded, QUICK) as service,
    ):
        caught, seconds = failed_step(service, proxy, watch)
        tries = len(proxy.requests(name, kind))
        assert type(caught) is error
        assert QUICK.patience * 0.7 < seconds < QUICK.patience + 5
        assert 3 < tries < 60  # at most one in ten milliseconds
        assert re.search(rf"\(tried {tries} times in \d\.\d s", str(caught))
        assert note in str(watch.notes())
        [shown] = watch.seen.values()
        assert max(each.attempt for each in shown) == tries - 1


def failed_step(
    service: ServiceClient, proxy: FaultProxy, watch: Watch
) -> tuple[TinkerError, float]:
    """Take a step that fails; returns why, and after how long."""
    training = service.create_lora_training_client("tiny-chat", rank=4, seed=0)
    proxy.hold()
    step = training.optim_step(PARAMS)
    watch.on(step)
    began = time.monotonic()
    proxy.release()
    error = step.exception(WAIT)
    assert error is not None
    watch.assert_each_settled_once()
    return error, time.monotonic() - began


@pytest.mark.parametrize(
    ("fault", "error"),
    [(REFUSED, BadRequestError), (UNPAID, BillingError), (GONE, GoneError)],
    ids=str,
)
def test_a_refused_submission_is_told_at_once_and_was_not_done(
    fault: Fault, error: type[TinkerError], embedded: EmbeddedServer, few: list[Datum]
) -> None:
    plan = always(fault, "optim_step")
    with (
        fault_proxy(embedded.base_url, plan) as proxy,
        client(proxy, embedded) as service,
    ):
        training = service.create_lora_training_client("tiny-chat", rank=4, seed=0)
        training.forward_backward(few, "cross_entropy").result(WAIT)
        refused = training.optim_step(PARAMS).exception(WAIT)
        assert type(refused) is error
        assert "tried" not in str(refused)
        assert len(proxy.requests("optim_step")) == 1
        proxy.plan = proxies.no_faults
        step = training.optim_step(PARAMS).result(WAIT)
        assert (step.metrics or {})["step"] == 1


def test_a_refused_poll_is_tried_three_times_more(embedded: EmbeddedServer) -> None:
    plan = always(REFUSED, "retrieve_future", "OptimStep")
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded) as service:
        error, _ = failed_step(service, proxy, Watch())
        assert isinstance(error, BadRequestError)
        assert "tried 4 times" in str(error)
        assert len(proxy.requests("retrieve_future", "OptimStep")) == 4


def test_a_result_that_is_not_paid_for_is_waited_for_as_long_as_the_server_says(
    embedded: EmbeddedServer,
) -> None:
    config = say(200, {"billing_exception_max_pause_duration_sec": 1})

    def plan(asked: Asked) -> Fault | None:
        if asked.name == "config":
            return config
        return UNPAID if asked.kind == "OptimStep" else None

    watch = Watch()
    with (
        fault_proxy(embedded.base_url, plan) as proxy,
        client(proxy, embedded, QUICK) as service,
    ):
        error, seconds = failed_step(service, proxy, watch)
    assert isinstance(error, BillingError)
    assert "tried" in str(error)
    assert 0.9 < seconds < 6
    assert "402, trying again" in watch.notes()


def test_a_sample_that_the_server_lost_is_drawn_anew(
    embedded: EmbeddedServer, few: list[Datum], wanted: Learnt
) -> None:
    plan = proxies.once(GONE, "retrieve_future", "Sample", times=2)
    with fault_proxy(embedded.base_url, plan) as proxy:
        watch = assert_gone_through(proxy, embedded, few, wanted)
        assert len(proxy.requests("asample")) == 3
    assert "the server lost it, submitting it anew" in watch.notes()


def test_a_sample_that_the_server_always_loses_ends(embedded: EmbeddedServer) -> None:
    plan = always(GONE, "retrieve_future", "Sample")
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded) as service:
        sampler = service.create_sampling_client(base_model="tiny-chat")
        with pytest.raises(FutureLostError):
            sampler.sample(PROMPT, 1, DRAW).result(WAIT)
        assert len(proxy.requests("asample")) == 4


def test_a_training_call_that_the_server_lost_is_not_repeated(embedded: EmbeddedServer) -> None:
    plan = always(GONE, "retrieve_future", "OptimStep")
    watch = Watch()
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded) as service:
        error, _ = failed_step(service, proxy, watch)
        assert isinstance(error, FutureLostError)
        assert len(proxy.requests("optim_step")) == 1
    [shown] = watch.seen.values()
    assert shown[-1].state is FutureState.LOST


@pytest.mark.parametrize("name", ["config", "create_session", "create_model"])
def test_a_server_that_cannot_begin_is_told_in_time(name: str, embedded: EmbeddedServer) -> None:
    plan = always(say(503, {"detail": "restarting"}), name)
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded, QUICK) as service:
        began = time.monotonic()
        with pytest.raises(InternalServerError, match=r"503: restarting.*tried \d+ times in"):
            service.create_lora_training_client("tiny-chat", rank=4, seed=0)
        assert time.monotonic() - began < QUICK.patience + 5


def test_closing_ends_in_time_whatever_the_server_does(embedded: EmbeddedServer) -> None:
    plan = always(proxies.DROPPED, "finish")
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded, QUICK) as service:
        service.create_sampling_client(base_model="tiny-chat")
        began = time.monotonic()
        service.close()
        assert time.monotonic() - began < QUICK.patience + 5
        assert proxy.requests("finish")


def test_closing_ends_what_is_in_the_middle_of_an_answer(embedded: EmbeddedServer) -> None:
    plan = always(proxies.HALTED, "get_server_capabilities")
    with fault_proxy(embedded.base_url, plan) as proxy, client(proxy, embedded) as service:
        asking = loop_thread().submit(service.get_server_capabilities_async())
        links = service.server.transport._links._open
        until(lambda: any(each._reading for each, _ in links.values()), "no answers being read")
        service.close()
        assert isinstance(asking.exception(WAIT), ConfigurationError)
