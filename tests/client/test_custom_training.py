"""Losses of one's own, and data in several requests: what is sent, in which order, what comes back.

On the real embedded server where figures count; on the stub where the wire does.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import tinker
import torch
import torch.fx
from fastapi import APIRouter, Request
from tinker.lib.public_interfaces import custom_loss as official

from tests.client.protocol_stub import API, Meeting, Stub, protocol_stub
from tinker_nb import (
    AdamParams,
    Datum,
    EmbeddedServer,
    LossHandle,
    ModelInput,
    ServiceClient,
    TinkerFuture,
    TrainingClient,
)
from tinker_nb.client.loss_handles import encoded_graph, traced
from tinker_nb.errors import (
    BadRequestError,
    ConfigurationError,
    FutureCancelledError,
    InvalidInputError,
)
from tinker_nb.wire.jsonform import output_to_json
from tinker_nb.wire.protobuf import ForwardBackwardRequest, decode_forward_backward
from tinker_nb.wire.results import ForwardBackwardOutput
from tinker_nb.wire.tensors import TensorData

WAIT = 120
PARAMS = AdamParams(learning_rate=2e-3)
Output = TinkerFuture[ForwardBackwardOutput]
Step = Callable[[TrainingClient, list[Datum]], Output]
Form = Literal["blocking", "async"]
FORMS: tuple[Form, ...] = ("blocking", "async")


async def submitted(form: Form, client: Any, name: str, *args: Any, **more: Any) -> Any:
    """Make a call in one of its two forms and return its future."""
    if form == "blocking":
        return getattr(client, name)(*args, **more)
    return await getattr(client, f"{name}_async")(*args, **more)


# The same loss in every way ----------------------------------------------------------------------


def with_torch(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
    weights = [datum.loss_fn_inputs["weights"].to_torch() for datum in data]
    loss = sum(-(lp * weight).sum() for lp, weight in zip(logprobs, weights, strict=True))
    return loss, {"datums": len(data)}


def with_numpy(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
    weights = [datum.loss_fn_inputs["weights"].to_numpy() for datum in data]
    loss = -sum(float((lp * weight).sum()) for lp, weight in zip(logprobs, weights, strict=True))
    return loss, [-weight for weight in weights], {"datums": len(data)}


def of_one(logprobs: Any, weights: Any) -> tuple[Any, Any]:
    loss = -(logprobs * weights).sum()
    return loss, {"custom/nll:sum": loss, "custom/weight:mean": weights.sum()}


RANKS: Any = {"logprobs": 1, "weights": 1}


def by_handle(training: TrainingClient, data: list[Datum]) -> Output:
    handle = training._service.create_custom_loss(of_one, RANKS).result(WAIT)
    return training.forward_backward_custom(data, handle)


def by_cross_entropy(training: TrainingClient, data: list[Datum]) -> Output:
    return training.forward_backward(data, "cross_entropy")


WAYS: dict[str, Step] = {
    "torch": lambda training, data: training.forward_backward_custom(data, with_torch),
    "numpy": lambda training, data: training.forward_backward_custom(
        data, with_numpy, with_gradients=True
    ),
    "handle": by_handle,
}


def trajectory(service: ServiceClient, data: list[Datum], way: Step) -> list[float]:
    """Return losses and gradient norms of three steps, all submitted before any is waited for."""
    training = service.create_lora_training_client("tiny-chat", rank=4, seed=3)
    pairs = [(way(training, data), training.optim_step(PARAMS)) for _ in range(3)]
    last = training.forward(data, "cross_entropy")
    figures = [
        figure
        for loss, step in pairs
        for figure in (loss.result(WAIT).metrics["loss:sum"], norm(step))
    ]
    return [*figures, last.result(WAIT).metrics["loss:sum"]]


def norm(step: Any) -> float:
    return float((step.result(WAIT).metrics or {})["grad_norm"])


@pytest.fixture(scope="module")
def expected(embedded: EmbeddedServer, data: list[Datum]) -> list[float]:
    with ServiceClient(base_url=embedded.base_url, api_key=embedded.api_key) as service:
        found = trajectory(service, data, by_cross_entropy)
    assert found[0] > found[2] > found[4] > found[6]
    return found


@pytest.mark.parametrize("way", WAYS)
def test_a_loss_equal_to_cross_entropy_trains_equally(
    service: ServiceClient, data: list[Datum], expected: list[float], way: str
) -> None:
    assert trajectory(service, data, WAYS[way]) == pytest.approx(expected, rel=1e-4)


def test_what_comes_back(service: ServiceClient, data: list[Datum]) -> None:
    training = service.create_lora_training_client("tiny-chat", rank=4, seed=3)
    usual = training.forward_backward(data, "cross_entropy").result(WAIT)
    total = pytest.approx(usual.metrics["loss:sum"], rel=1e-4)
    weights = [datum.loss_fn_inputs["weights"].to_numpy().sum() for datum in data]
    for name, way in WAYS.items():
        output = way(training, data).result(WAIT)
        assert output.metrics["loss:sum"] == total
        assert output.metrics["surrogate_loss:sum"] == total
        if name == "handle":
            assert output.metrics["custom/nll:sum"] == total
            assert output.metrics["custom/weight:mean"] == pytest.approx(np.mean(weights))
        else:
            assert output.metrics["datums"] == len(data)
        for ours, theirs in zip(output.loss_fn_outputs, usual.loss_fn_outputs, strict=True):
            np.testing.assert_allclose(
                ours["logprobs"].to_numpy(), theirs["logprobs"].to_numpy(), atol=1e-4
            )


async def test_the_async_form_gives_the_same(
    service: ServiceClient, data: list[Datum], expected: list[float]
) -> None:
    training = await service.create_lora_training_client_async("tiny-chat", rank=4, seed=3)
    handle = await service.create_custom_loss_async(of_one, RANKS)
    found = []
    for loss_fn in (with_torch, handle):
        loss = await training.forward_backward_custom_async(data, loss_fn)
        step = await training.optim_step_async(PARAMS)
        found += [(await loss).metrics["loss:sum"], ((await step).metrics or {})["grad_norm"]]
    assert found == pytest.approx(expected[:4], rel=1e-4)


# When it goes wrong ------------------------------------------------------------------------------


@pytest.fixture
def training(service: ServiceClient) -> TrainingClient:
    return service.create_lora_training_client("tiny-chat", rank=4, seed=3)


def divides_by_zero(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
    return logprobs[0].sum() / 0.0 + 1 // 0, {}


@pytest.mark.parametrize("form", FORMS)
async def test_a_failing_function_adds_nothing_and_stops_nobody(
    training: TrainingClient, data: list[Datum], expected: list[float], form: Form
) -> None:
    failing = await submitted(form, training, "forward_backward_custom", data, divides_by_zero)
    nothing = await submitted(form, training, "optim_step", PARAMS)
    later = await submitted(form, training, "forward_backward", data, "cross_entropy")
    step = await submitted(form, training, "optim_step", PARAMS)
    with pytest.raises(InvalidInputError, match=r"failed: ZeroDivisionError.*No gradients") as seen:
        await failing
    assert isinstance(seen.value.__cause__, ZeroDivisionError)
    assert seen.value.fault == "user"
    assert (await nothing).metrics["grad_norm"] == 0.0
    found = [(await later).metrics["loss:sum"], (await step).metrics["grad_norm"]]
    assert found == pytest.approx(expected[:2], rel=1e-4)


@pytest.mark.parametrize(
    ("loss_fn", "said"),
    [
        (lambda data, logprobs: logprobs[0].sum(), "must return"),
        (lambda data, logprobs: (logprobs[0], {}), "one number"),
        (lambda data, logprobs: (logprobs[0].sum() * np.nan, {}), "The loss is nan"),
        (lambda data, logprobs: (logprobs[0].sum(), {}), "of datum 1"),
        (lambda data, logprobs: (torch.zeros(()), {}), "does not depend"),
    ],
)
def test_what_makes_no_loss_is_said(
    training: TrainingClient, data: list[Datum], loss_fn: Any, said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said):
        training.forward_backward_custom(data, loss_fn).result(WAIT)
    assert norm(training.optim_step(PARAMS)) == 0.0


def test_what_the_server_refuses_is_its_own_error(
    training: TrainingClient, data: list[Datum]
) -> None:
    strange = Datum(ModelInput.from_ints([1, 2]), {"target_tokens": [1, 10**6]})
    called: list[int] = []

    def counted(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        called.append(1)
        return with_torch(data, logprobs)

    refused = training.forward_backward_custom([strange], counted)
    later = training.forward_backward(data, "cross_entropy")
    with pytest.raises(BadRequestError, match="token 1000000"):
        refused.result(WAIT)
    assert later.result(WAIT).metrics["loss:sum"] > 0
    assert not called


@pytest.mark.parametrize("form", FORMS)
async def test_cancelling_while_the_function_works(
    training: TrainingClient, data: list[Datum], form: Form
) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def slow(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        inside.set()
        assert go_on.wait(WAIT)
        return with_torch(data, logprobs)

    future = await submitted(form, training, "forward_backward_custom", data, slow)
    later = await submitted(form, training, "optim_step", PARAMS)
    assert await asyncio.to_thread(inside.wait, WAIT)
    assert future.cancel()
    go_on.set()
    with pytest.raises(FutureCancelledError):
        await future
    assert (await later).metrics["grad_norm"] == 0.0


async def test_cancelling_before_anything_was_sent(
    training: TrainingClient, data: list[Datum]
) -> None:
    called: list[int] = []

    def counted(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        called.append(1)
        return with_torch(data, logprobs)

    future = await training.forward_backward_custom_async(data, counted)
    later = await training.optim_step_async(PARAMS)
    assert str(future.cancel()) == "It was never sent."
    assert ((await later).metrics or {})["grad_norm"] == 0.0
    assert not called


# Several requests for one call -------------------------------------------------------------------


@pytest.fixture
def small_parts(service: ServiceClient) -> ServiceClient:
    """A client of the real server that sends three datums at a time."""
    service.get_server_capabilities()
    known = service.server.known
    assert known is not None
    config = known.config.model_copy(update={"fwdbwd_max_chunk_len": 3})
    service.server._greeting.set(replace(known, config=config))
    return service


@pytest.mark.parametrize("way", ["cross_entropy", *WAYS])
def test_in_several_requests_it_is_the_same(
    small_parts: ServiceClient, data: list[Datum], expected: list[float], way: str
) -> None:
    step = {"cross_entropy": by_cross_entropy, **WAYS}[way]
    assert trajectory(small_parts, data, step) == pytest.approx(expected, rel=1e-4)


def training_router(stub: Stub) -> APIRouter:
    """Return endpoints that train nothing, and whose log-probabilities are easy to foretell."""
    router = APIRouter(prefix=API)

    @router.post("/create_model")
    async def create_model(request: Request) -> Any:
        body = await request.json()
        return stub.promise({"model_id": f"{body['session_id']}:train:{body['model_seq_id']}"})

    @router.post("/get_info")
    async def get_info(request: Request) -> Any:
        model = {"model_name": "base", "arch": "none"}
        return {"model_id": (await request.json())["model_id"], "model_data": model}

    @router.post("/forward_backward")
    async def forward_backward(request: Request) -> Any:
        return stub.promise(
            output_to_json(output_of(decode_forward_backward(await request.body())))
        )

    @router.post("/optim_step")
    def optim_step() -> Any:
        return stub.promise({"metrics": {}})

    @router.post("/create_custom_loss")
    async def create_custom_loss(request: Request) -> Any:
        return stub.promise({"loss_id": f"loss-{(await request.json())['custom_loss_seq_id']}"})

    return router


def output_of(request: ForwardBackwardRequest) -> ForwardBackwardOutput:
    targets = [datum.loss_fn_inputs["target_tokens"].to_numpy() for datum in request.data]
    outputs = [{"logprobs": TensorData.from_numpy(-each / 8)} for each in targets]
    first = [float(each[0]) for each in targets]
    metrics = {
        "loss:sum": sum(first),
        "largest:max": max(first),
        "smallest:min": min(first),
        "average:mean": sum(first) / len(first),
        "part:unique": float(request.seq_id or 0),
        "count": float(len(first)),
        "odd:median": 1.0,
    }
    if request.seq_id == 2:
        metrics["here:sum"] = 1.0
    return ForwardBackwardOutput("ArrayRecord", outputs, metrics)


#: Five datums whose first targets are 1, 2, 3, 4, 5.
FIVE = [
    Datum(ModelInput.from_ints([7, 7]), {"target_tokens": [n, 0], "weights": [1.0, 0.0]})
    for n in (1, 2, 3, 4, 5)
]
MERGED = {
    "loss:sum": 15.0,
    "largest:max": 5.0,
    "smallest:min": 1.0,
    "average:mean": 3.0,
    "part:unique": 1.0,
    "part:unique_1": 2.0,
    "part:unique_2": 3.0,
}


@pytest.fixture(params=[True, False], ids=["side by side", "one by one"])
def stub(request: pytest.FixtureRequest) -> Iterator[Stub]:
    config = {"fwdbwd_max_chunk_len": 2, "parallel_fwdbwd_chunks": request.param}
    with protocol_stub(training_router, stub=Stub(config=config)) as running:
        yield running


@pytest.fixture
def on_stub(stub: Stub) -> Iterator[ServiceClient]:
    with ServiceClient(base_url=stub.url) as service:
        yield service


def sent(stub: Stub) -> list[ForwardBackwardRequest]:
    """Return the forward_backward requests in the order in which they came."""
    return [
        decode_forward_backward(seen.content)
        for seen in stub.seen
        if seen.path == f"{API}/forward_backward"
    ]


def check_order(stub: Stub, numbers: list[int | None], first: int) -> None:
    """Check how the parts of one call came, of which the first has a number."""
    expected = [first, first + 1, first + 2]
    if stub.config["parallel_fwdbwd_chunks"]:
        assert numbers[-1] == first, "the first part comes last"
        assert sorted(numbers, key=lambda each: each or 0) == expected
    else:
        assert numbers == expected


def tokens_of(request: ForwardBackwardRequest) -> list[int]:
    return [int(datum.loss_fn_inputs["target_tokens"].data[0]) for datum in request.data]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["forward_backward", "forward"])
async def test_parts_of_a_call(stub: Stub, on_stub: ServiceClient, form: Form, name: str) -> None:
    training = on_stub.create_lora_training_client("base").result(WAIT)
    if stub.config["parallel_fwdbwd_chunks"]:
        stub.meeting = Meeting(2)  # the second part goes on once the third is there, and only then
    future = await submitted(form, training, name, FIVE, "cross_entropy")
    step = await submitted(form, training, "optim_step", PARAMS)
    output = await future
    await step

    requests = sent(stub)
    check_order(stub, [each.seq_id for each in requests], 1)
    in_order = sorted(requests, key=lambda each: each.seq_id or 0)
    assert [tokens_of(each) for each in in_order] == [[1, 2], [3, 4], [5]]
    assert {each.forward_only for each in requests} == {name == "forward"}
    (optim,) = [seen for seen in stub.seen if seen.path == f"{API}/optim_step"]
    assert optim.body["seq_id"] == 4
    last = max(i for i, seen in enumerate(stub.seen) if seen.path == f"{API}/forward_backward")
    assert stub.seen.index(optim) > last

    found = [each["logprobs"].tolist()[0] * -8 for each in output.loss_fn_outputs]
    assert found == [1, 2, 3, 4, 5]
    assert output.metrics == MERGED
    assert output.loss_fn_output_type == "ArrayRecord"


@pytest.mark.parametrize("form", FORMS)
async def test_parts_of_a_custom_loss(stub: Stub, on_stub: ServiceClient, form: Form) -> None:
    training = on_stub.create_lora_training_client("base").result(WAIT)

    def loss_fn(data: list[Datum], logprobs: list[Any]) -> tuple[Any, ...]:
        assert [datum.loss_fn_inputs["target_tokens"].data[0] for datum in data] == [1, 2, 3, 4, 5]
        assert [each[0].item() * -8 for each in logprobs] == [1, 2, 3, 4, 5]
        terms = [(n + 1) * each.sum() for n, each in enumerate(logprobs)]
        return torch.stack(terms).sum(), {"mine": 9.0}

    future = await submitted(form, training, "forward_backward_custom", FIVE, loss_fn)
    step = await submitted(form, training, "optim_step", PARAMS)
    later = await submitted(form, training, "forward", FIVE[:1], "cross_entropy")
    output = await future
    await step
    await later

    requests = sent(stub)
    numbers = [each.seq_id for each in requests]
    check_order(stub, numbers[:3], 1)
    check_order(stub, numbers[3:6], 4)
    assert [each.forward_only for each in requests] == [True] * 3 + [False] * 3 + [True]
    (optim,) = [seen for seen in stub.seen if seen.path == f"{API}/optim_step"]
    assert (optim.body["seq_id"], numbers[6]) == (7, 8)
    backward = sorted(requests[3:6], key=lambda each: each.seq_id or 0)
    assert [tokens_of(each) for each in backward] == [[1, 2], [3, 4], [5]]
    weights = [datum.loss_fn_inputs["weights"].data for part in backward for datum in part.data]
    assert weights == [[-n, -n] for n in (1, 2, 3, 4, 5)]
    assert {each.loss_fn for each in requests} == {"cross_entropy"}
    parts = {"part:unique": 4.0, "part:unique_1": 5.0, "part:unique_2": 6.0}
    expected: dict[str, Any] = {**MERGED, **parts, "mine": 9.0, "surrogate_loss:sum": 15.0}
    expected["loss:sum"] = pytest.approx(-sum(n * n / 8 for n in (1, 2, 3, 4, 5)))
    assert output.metrics == expected


# Losses that are traced once ---------------------------------------------------------------------


def clipped(logprobs: Any, weights: Any, bounds: Any) -> tuple[Any, Any]:
    low, high = bounds[0], bounds[..., 1]
    ratio = torch.clamp(torch.exp(logprobs[1:]), min=low, max=high)
    rest = torch.nn.functional.softplus(logprobs.to(torch.float32)).sum(dim=(0,), keepdim=False)
    loss = -(ratio * weights[1:]).sum() + rest * math_factor() - torch.full_like(rest, 2.0)
    return loss, {"custom/clip/low:mean": low + 0.0, "custom/rest:sum": rest}


def math_factor() -> float:
    return float("-inf") if False else 0.5


def far_away(logprobs: Any) -> tuple[Any, Any]:
    kept = torch.where(logprobs > -3.5, logprobs, float("inf")).nan_to_num(nan=float("nan"))
    return kept.reshape([-1]).sum(), {"custom/size:sum": logprobs.shape[0] * kept.sum()}


TRACED: dict[str, tuple[Any, Any]] = {
    "of_one": (of_one, RANKS),
    "clipped": (clipped, {"logprobs": 1, "weights": 1, "bounds": 1}),
    "far_away": (far_away, {"logprobs": 2}),
}


@pytest.mark.parametrize("name", TRACED)
def test_a_traced_loss_is_the_official_data(name: str) -> None:
    fn, ranks = TRACED[name]
    theirs = official.encode_graph(official.trace_loss(fn, ranks, "S"))
    ours = traced(fn, ranks)
    assert encoded_graph(ours).model_dump() == theirs.model_dump()
    assert [each.model_dump() for each in ours.inputs] == [
        {"name": key, "rank": rank} for key, rank in ranks.items()
    ]
    assert ours.input_names == tuple(ranks)[1:]
    assert ours.name == name


SCALAR = torch.tensor(2.0)
LAYER = torch.nn.Linear(1, 1)
WIDE = [f"x{n}" for n in range(16)]


@torch.fx.wrap
def elsewhere(value: Any) -> Any:
    return value


def goes_back(logprobs: Any) -> Any:
    logprobs.sum().backward()
    return logprobs.sum(), {}


PLAIN: Any = {"logprobs": 1}
TWO: Any = {"logprobs": 1, "beta": 0}
REFUSED: list[tuple[Any, Any, str]] = [
    # Its arguments.
    (lambda x: (x.sum(), {}), {"x": 1}, "must take logprobs first"),
    (lambda: (1, {}), {}, "must take logprobs first"),
    (lambda logprobs, beta=0.1: (logprobs.sum() * beta, {}), TWO, "without a default"),
    (lambda logprobs, *, beta: (logprobs.sum() * beta, {}), TWO, "'beta' by place"),
    (lambda logprobs, *beta: (logprobs.sum(), {}), TWO, "'beta' by place"),
    (lambda logprobs, **beta: (logprobs.sum(), {}), TWO, "'beta' by place"),
    (lambda logprobs, Beta: (Beta, {}), {**PLAIN, "Beta": 0}, "small letters"),  # noqa: N803
    (lambda logprobs, beta: (logprobs.sum(), {}), PLAIN, "needs input_ranks .* logprobs, beta"),
    (lambda logprobs: (logprobs.sum(), {}), TWO, "needs input_ranks"),
    (lambda logprobs: (logprobs.sum(), {}), {"logprobs": 3}, "needs input_ranks of 0, 1 or 2"),
    (lambda logprobs: (logprobs, {}), {"logprobs": 0}, "rank is 1 or 2"),
    # What it does.
    (lambda logprobs: (logprobs.sum() if logprobs[0] > 0 else 0, {}), PLAIN, "may not branch"),
    (lambda logprobs: (LAYER(logprobs).sum(), {}), PLAIN, "cannot be traced"),
    (lambda logprobs: (np.asarray(logprobs).sum(), {}), PLAIN, "cannot be traced"),
    (lambda logprobs: (elsewhere(logprobs).sum(), {}), PLAIN, "calls .*elsewhere; .* torch and"),
    (lambda logprobs: (logprobs.sum().item(), {}), PLAIN, r"calls item\(\), which leaves torch"),
    (lambda logprobs: (sum(logprobs.tolist()), {}), PLAIN, "cannot be traced"),
    (goes_back, PLAIN, r"calls backward\(\)"),
    (lambda logprobs: (logprobs.summe(), {}), PLAIN, "which tensors do not have"),
    (lambda logprobs: ((logprobs * SCALAR).sum(), {}), PLAIN, "holds a tensor from outside"),
    # What it returns.
    (lambda logprobs: logprobs.sum(), PLAIN, r"must return \(loss, metrics\)"),
    (lambda logprobs: (1.0, {}), PLAIN, "depends on its arguments, not 1.0"),
    (lambda logprobs: (logprobs.sum(), [1]), PLAIN, "metrics as a dict"),
    (lambda logprobs: (logprobs.sum(), {"loss": logprobs.sum()}), PLAIN, "custom/NAME:sum or"),
    (lambda logprobs: (logprobs.sum(), {"custom/A:sum": logprobs[0]}), PLAIN, "custom/NAME:sum"),
    (lambda logprobs: (logprobs.sum(), {"custom/x:sum": 1.0}), PLAIN, "not as a tensor"),
]


@pytest.mark.parametrize(("fn", "ranks", "because"), REFUSED)
def test_what_cannot_be_a_traced_loss(fn: Any, ranks: Any, because: str) -> None:
    with pytest.raises(InvalidInputError, match=f"'{fn.__name__}'.*{because}"):
        traced(fn, ranks)
    with pytest.raises(ValueError):
        official.trace_loss(fn, ranks, "S")


def test_too_many_arguments_are_refused() -> None:
    made: dict[str, Any] = {}
    exec(f"def wide(logprobs, {', '.join(WIDE)}): return logprobs.sum(), {{}}", made)
    with pytest.raises(InvalidInputError, match="takes 17 arguments"):
        traced(made["wide"], dict.fromkeys(["logprobs", *WIDE], 1))
    exec(f"def wide(logprobs, {', '.join(WIDE[1:])}): return logprobs.sum(), {{}}", made)
    assert len(traced(made["wide"], dict.fromkeys(["logprobs", *WIDE[1:]], 1)).inputs) == 16


def test_what_cannot_travel_is_refused_when_it_is_sent() -> None:
    loss = traced(lambda logprobs: ((logprobs * 2j).real.sum(), {}), PLAIN)
    with pytest.raises(InvalidInputError, match="passes a complex, which cannot travel"):
        encoded_graph(loss)


def test_without_torch_nothing_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigurationError, match="Install torch"):
        traced(of_one, RANKS)


def test_a_handle_fits_its_data_and_its_session(
    service: ServiceClient, training: TrainingClient, data: list[Datum], embedded: EmbeddedServer
) -> None:
    handle = service.create_custom_loss(of_one, RANKS).result(WAIT)
    assert (handle.loss_id, handle.session_id) == (None, service.session.session_id)
    bare = Datum(ModelInput.from_ints([1, 2]), {"target_tokens": [1, 2]})
    flat = Datum(ModelInput.from_ints([1]), {"target_tokens": [1], "weights": np.array(0.5)})
    wide = Datum(ModelInput.from_ints([1]), {"target_tokens": [[1]], "weights": [1.0]})
    for datum, said in (
        (bare, "reads 'weights', which datum 1 lacks"),
        (flat, "'weights' of datum 1 has 0 dimensions"),
        (wide, "takes 'logprobs' with 1, but 'target_tokens' of datum 1 has 2"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            training.forward_backward_custom([data[0], datum], handle)
    with pytest.raises(InvalidInputError, match="no data"):
        training.forward_backward_custom([], handle)
    with pytest.raises(InvalidInputError, match="torch alone"):
        training.forward_backward_custom(data, handle, with_gradients=True)
    made = training.calls_made
    with ServiceClient(base_url=embedded.base_url, api_key=embedded.api_key) as other:
        stranger = other.create_lora_training_client("tiny-chat", rank=2)
        with pytest.raises(InvalidInputError, match="another session"):
            stranger.forward_backward_custom(data, handle)
    assert (training.calls_made, made) == (1, 1), "nothing of that took a place in the order"


def test_a_handle_must_give_one_number(
    service: ServiceClient, training: TrainingClient, data: list[Datum]
) -> None:
    handle = service.create_custom_loss(lambda logprobs: (logprobs * 2, {}), {"logprobs": 1})
    with pytest.raises(InvalidInputError, match=r"of the shape \[\d+\], not a number"):
        training.forward_backward_custom(data, handle.result(WAIT)).result(WAIT)


def test_the_same_loss_is_made_once(service: ServiceClient) -> None:
    first = service.create_custom_loss(of_one, RANKS).result(WAIT)
    assert service.create_custom_loss(of_one, dict(RANKS)).result(WAIT) is first
    other = service.create_custom_loss(of_one, {**RANKS, "weights": 2}).result(WAIT)
    assert other.key != first.key


# Losses that the server runs ---------------------------------------------------------------------


@pytest.fixture
def uploading() -> Iterator[Stub]:
    config = {"custom_loss_server_side": True}
    with protocol_stub(training_router, stub=Stub(config=config)) as running:
        yield running


def uploads(stub: Stub) -> list[Any]:
    return [seen.body for seen in stub.seen if seen.path == f"{API}/create_custom_loss"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_loss_is_uploaded_and_used_by_its_id(uploading: Stub, form: Form) -> None:
    with ServiceClient(base_url=uploading.url) as service:
        training = service.create_lora_training_client("base").result(WAIT)
        handles: list[LossHandle] = []
        for fn, ranks in (TRACED["clipped"], TRACED["of_one"], TRACED["of_one"]):
            made = await submitted(form, service, "create_custom_loss", fn, ranks)
            handles.append(made.result(WAIT) if form == "blocking" else made)
        assert [each.loss_id for each in handles] == ["loss-0", "loss-1", "loss-1"]
        assert handles[2] is handles[1]
        assert len(uploads(uploading)) == 2
        future = await submitted(form, training, "forward_backward_custom", FIVE, handles[1])
        config = {"loss_id": "loss-1"}
        same = await submitted(form, training, "forward_backward", FIVE, "custom", config)
        assert (await future).metrics["loss:sum"] == (await same).metrics["loss:sum"] == 15.0
    by_handle, by_name = sent(uploading)
    assert (by_handle.loss_fn, by_handle.loss_fn_config) == ("custom", {"loss_id": "loss-1"})
    assert not by_handle.forward_only
    assert replace(by_handle, seq_id=2) == by_name


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_upload_is_the_official_one(uploading: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_TELEMETRY", "0")
    for package in (tinker.ServiceClient, ServiceClient):
        with package(base_url=uploading.url, api_key="tml-test") as service:
            for fn, ranks in TRACED.values():
                service.create_custom_loss(fn, ranks).result(WAIT)
        del service
    gc.collect()  # the SDK leaves sockets to the collector; let that happen here, not elsewhere
    bodies = uploads(uploading)
    assert len(bodies) == 2 * len(TRACED)
    assert len({body.pop("session_id") for body in bodies}) == 2
    assert bodies[: len(TRACED)] == bodies[len(TRACED) :]
