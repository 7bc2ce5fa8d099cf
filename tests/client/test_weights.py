"""Models and checkpoints on the wire: what the official SDK sends, in both forms."""

from __future__ import annotations

import asyncio
import gc
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import tinker
from pydantic import SecretStr

from tests.client.protocol_stub import API, Seen
from tests.client.stub_weights import (
    BASE,
    FOREIGN,
    MAY_DIFFER,
    SAMPLER,
    STATE,
    TOKEN,
    WeightsStub,
    differences,
    weights_stub,
)
from tinker_nb import ServiceClient, TinkerFuture, TrainingClient, types
from tinker_nb.client import calls
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import (
    APIStatusError,
    BadRequestError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PermissionDeniedError,
    RequestFailedError,
    UnprocessableEntityError,
)

KEY = "tml-test"
WAIT = 30
pytestmark = [
    # What the official SDK calls deprecated is what is compared with here.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[WeightsStub]:
    with pytest.MonkeyPatch.context() as patch, weights_stub() as stub:
        patch.setenv("TINKER_TELEMETRY", "0")
        yield stub
    gc.collect()  # the SDK leaves sockets to the collector; let that happen here, not elsewhere


@pytest.fixture
def stub(running: WeightsStub) -> WeightsStub:
    running.begin_again()
    return running


@pytest.fixture
def service(stub: WeightsStub) -> Iterator[ServiceClient]:
    with ServiceClient(base_url=stub.url, api_key=KEY) as client:
        yield client


@pytest.fixture
def training(service: ServiceClient) -> TrainingClient:
    return service.create_lora_training_client(BASE, rank=8).result(WAIT)


# Three tours: theirs, ours, ours awaited ---------------------------------------------------------


@dataclass(frozen=True)
class Make:
    """A value to make of the types of one package."""

    type: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One call, and the client it is made on."""

    owner: type
    name: str
    args: tuple[Any, ...]
    more: dict[str, Any]

    def call(self, client: Any, package: Any, suffix: str = "") -> Any:
        args = [_made(each, package) for each in self.args]
        more = {name: _made(each, package) for name, each in self.more.items()}
        return getattr(client, self.name + suffix)(*args, **more)


def _made(value: Any, package: Any) -> Any:
    return getattr(package, value.type)(**value.fields) if isinstance(value, Make) else value


def on(owner: type, name: str, *args: Any, **more: Any) -> Operation:
    return Operation(owner, name, args, more)


T, S = TrainingClient, ServiceClient
ADAM = Make("AdamParams", {"learning_rate": 1, "beta1": 0.8, "eps": 1e-8, "grad_clip_norm": 2})
DIMUON = Make("DimuonOptimizerConfig")
METADATA = {"made by": "a test", "ä": "ö"}
SENDS = [
    on(T, "save_state", "step-1"),
    on(T, "save_state", "s", 3600, True, METADATA),
    on(T, "save_state", "s", ttl_seconds=7200, user_metadata={}),
    on(T, "save_weights_for_sampler", "step-1"),
    on(T, "save_weights_for_sampler", "s", 3600, METADATA),
    on(T, "save_weights_external", "final"),
    on(T, "save_weights_external", "final", 3600, ["age1x", "ssh-ed25519 AAAA"]),
    on(T, "save_weights_external", "final", age_encryption_recipients=[]),
    on(T, "load_state", STATE),
    on(T, "load_state", FOREIGN, TOKEN),
    on(T, "load_state_with_optimizer", STATE),
    on(T, "load_state_with_optimizer", FOREIGN, weights_access_token=TOKEN),
    on(T, "save_weights_and_get_sampling_client"),
    on(T, "save_weights_and_get_sampling_client", kind="inflight", record_stability_info=True),
    on(T, "create_sampling_client", SAMPLER),
    on(T, "create_sampling_client", SAMPLER, record_stability_info=True),
    on(T, "optim_step", Make("AdamParams")),
    on(T, "optim_step", ADAM),
    on(T, "optim_step", adam_params=ADAM),
    on(T, "optim_step", Make("DimuonParams", {"learning_rate": 0.02})),
    on(T, "optim_step", Make("DimuonParams", {"learning_rate": 1, "grad_clip_norm": 1})),
    on(T, "get_info"),
    on(S, "create_lora_training_client", BASE),
    on(S, "create_lora_training_client", BASE, 16, 7, False, True, False, METADATA),
    on(S, "create_lora_training_client", BASE, optimizer=DIMUON, user_metadata={"x": [1, None]}),
    on(S, "create_lora_training_client", BASE, optimizer=Make("AdamOptimizerConfig")),
    on(S, "create_training_client_from_state", STATE),
    on(S, "create_training_client_from_state", FOREIGN, "other", METADATA, TOKEN, DIMUON),
    on(S, "create_training_client_from_state_with_optimizer", STATE),
    on(S, "create_training_client_from_state_with_optimizer", FOREIGN, "other", METADATA, TOKEN),
    on(S, "create_sampling_client", SAMPLER),
    on(S, "create_sampling_client", base_model=BASE),
    on(S, "create_sampling_client", SAMPLER, BASE, record_stability_info=True),
    on(S, "copy_weights", STATE),
    on(S, "copy_weights", SAMPLER, ttl_seconds=3600, weights_access_token=TOKEN),
]
#: What is awaited twice: for its future, and for its result.
FUTURES = {
    *("save_state", "save_weights_for_sampler", "save_weights_external"),
    *("load_state", "load_state_with_optimizer", "optim_step"),
}


def title(operation: Operation) -> str:
    return f"{operation.name}-{len(operation.args)}-{'-'.join(operation.more)}"


Tour = tuple[Any, list[Seen]]


def theirs(operation: Operation, stub: WeightsStub) -> Tour:
    service = tinker.ServiceClient(project_id="p", base_url=stub.url, api_key=KEY)
    client: Any = service
    if operation.owner is TrainingClient:
        client = service.create_lora_training_client(BASE, rank=8).result(WAIT)
    result = operation.call(client, tinker.types)
    result = result.result(WAIT) if hasattr(result, "result") else result
    seen = list(stub.seen)
    told = shown(result)
    service.close("success").result(WAIT)
    return told, seen


def blocking(operation: Operation, stub: WeightsStub) -> Tour:
    with ServiceClient(project_id="p", base_url=stub.url, api_key=KEY) as service:
        client: Any = service
        if operation.owner is TrainingClient:
            client = service.create_lora_training_client(BASE, rank=8).result(WAIT)
        result = operation.call(client, types)
        result = result.result(WAIT) if hasattr(result, "result") else result
        seen = list(stub.seen)
        return shown(result), seen


async def awaited(operation: Operation, stub: WeightsStub) -> Tour:
    async with ServiceClient(project_id="p", base_url=stub.url, api_key=KEY) as service:
        client: Any = service
        if operation.owner is TrainingClient:
            client = await service.create_lora_training_client_async(BASE, rank=8)
        result = await operation.call(client, types, "_async")
        assert isinstance(result, TinkerFuture) is (operation.name in FUTURES)
        if hasattr(result, "__await__"):
            result = await result
        seen = list(stub.seen)
        return await asyncio.to_thread(shown, result), seen


def shown(result: Any) -> Any:
    """Return what came back as plain data: a client by what it is for."""
    if hasattr(result, "optim_step"):
        return result.model_id
    if hasattr(result, "compute_logprobs"):
        return result.get_base_model()
    return result if isinstance(result, str) else result.model_dump(mode="json", exclude_none=True)


def fits(ours: Any, official: Any) -> bool:
    """Say whether all that the official SDK gives is here; some of it leaves out the type."""
    if not isinstance(official, dict):
        return bool(ours == official)
    return {name: ours[name] for name in official} == official


@pytest.mark.parametrize("operation", SENDS, ids=title)
def test_the_wire_is_the_same(operation: Operation, stub: WeightsStub) -> None:
    their_result, official = theirs(operation, stub)
    stub.begin_again()
    result, one = blocking(operation, stub)
    stub.begin_again()
    again, two = asyncio.run(awaited(operation, stub))
    assert differences(official, one) <= set(MAY_DIFFER)
    assert differences(one, two) <= {("samplers", "")}  # asked for here, to compare
    assert fits(result, their_result)
    assert again == result


def test_every_operation_of_weights_is_compared() -> None:
    saving = {name for name in dir(TrainingClient) if name.startswith(("save_", "load_"))}
    making = {name for name in dir(ServiceClient) if name.startswith(("create_", "copy_"))}
    elsewhere = {"create_rest_client", "create_custom_loss"}
    there = {name.removesuffix("_async") for name in saving | making} - elsewhere
    assert there <= {operation.name for operation in SENDS}


# Numbers and names -------------------------------------------------------------------------------


def in_a_row(service: Any, package: Any) -> list[str]:
    """Make models and samplers in every way, one after the other; returns the models' ids."""
    one = service.create_training_client_from_state(STATE).result(WAIT)
    one.save_state("first").result(WAIT)
    sampler = one.save_weights_and_get_sampling_client().result(WAIT)
    two = service.create_lora_training_client(BASE).result(WAIT)
    service.create_sampling_client(SAMPLER).result(WAIT)
    three = service.create_training_client_from_state_with_optimizer(STATE).result(WAIT)
    three.optim_step(package.AdamParams()).result(WAIT)
    three.save_weights_and_get_sampling_client(kind="inflight").result(WAIT)
    one.save_weights_for_sampler("second").result(WAIT)
    prompt = package.ModelInput.from_ints([1, 2])
    for _ in range(2):
        sampler.sample(prompt, 1, package.SamplingParams(max_tokens=2)).result(WAIT)
    return [each.model_id for each in (one, two, three)]


@pytest.mark.parametrize("repeats", [True, False], ids=["told", "not-told"])
def test_models_and_calls_are_numbered_alike(stub: WeightsStub, repeats: bool) -> None:
    stub.repeats_model_id = repeats
    official = tinker.ServiceClient(base_url=stub.url, api_key=KEY)
    ids = in_a_row(official, tinker.types)
    expected = list(stub.seen)
    official.close("success").result(WAIT)
    stub.begin_again()
    stub.repeats_model_id = repeats
    with ServiceClient(base_url=stub.url, api_key=KEY) as service:
        assert in_a_row(service, types) == ids == [f"session-0:train:{each}" for each in range(3)]
        assert differences(expected, stub.seen) <= set(MAY_DIFFER)
    made = [each["sampling_session_seq_id"] for each in stub.bodies("create_sampling_session")]
    saved = stub.bodies("save_weights_for_sampler")
    assert [each.get("sampling_session_seq_id") for each in saved] == [0, 2, None]
    assert (made, [each["seq_id"] for each in saved]) == ([1], [2, 2, 3])
    assert [each["seq_id"] for each in stub.bodies("asample")] == [0, 1]


def test_what_may_differ_does(stub: WeightsStub) -> None:
    official = tinker.ServiceClient(base_url=stub.url, api_key=KEY)
    in_a_row(official, tinker.types)
    official.close("success").result(WAIT)
    expected = list(stub.seen)
    stub.begin_again()
    with ServiceClient(base_url=stub.url, api_key=KEY) as service:
        in_a_row(service, types)
    assert differences(expected, stub.seen) == set(MAY_DIFFER)


# Sessions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "options"),
    [
        ({}, {}),
        ({}, {"user_metadata": METADATA, "project_id": "p", "display_name": "nightly"}),
        ({"TINKER_TAGS": "b,a", "TINKER_PROJECT_ID": "from outside"}, {}),
        ({"TINKER_TAGS": "a,b,a", "TINKER_PROJECT_ID": "x"}, {"project_id": "p"}),
        ({"TINKER_PROJECT_ID": ""}, {"display_name": "ä"}),
    ],
)
def test_a_session_is_told_the_same(
    environment: dict[str, str],
    options: dict[str, Any],
    stub: WeightsStub,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    official = tinker.ServiceClient(base_url=stub.url, api_key=KEY, **options)
    official.create_sampling_client(base_model=BASE).result(WAIT)
    official.close("success").result(WAIT)
    expected = list(stub.seen)
    stub.begin_again()
    with ServiceClient(base_url=stub.url, api_key=KEY, **options) as ours:
        ours.create_sampling_client(base_model=BASE).result(WAIT)
    assert differences(expected, stub.seen) <= set(MAY_DIFFER)
    assert len(stub.bodies("create_session")) == 1


def test_an_empty_tag_says_nothing(stub: WeightsStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINKER_TAGS", ",a,")  # of which the official SDK makes a tag too
    with ServiceClient(base_url=stub.url, api_key=KEY) as service:
        service.create_sampling_client(base_model=BASE).result(WAIT)
    assert stub.bodies("create_session")[0]["tags"] == ["a"]


@pytest.mark.parametrize("status", ["success", "errored", "interrupted"])
@pytest.mark.parametrize("detail", [None, "out of data"])
def test_a_session_is_ended_alike(status: Any, detail: str | None, stub: WeightsStub) -> None:
    official = tinker.ServiceClient(base_url=stub.url, api_key=KEY)
    official.create_sampling_client(base_model=BASE).result(WAIT)
    official.close(status, detail).result(WAIT)
    expected = stub.seen[-1]
    stub.begin_again()
    ours = ServiceClient(base_url=stub.url, api_key=KEY)
    ours.create_sampling_client(base_model=BASE).result(WAIT)
    ours.close(status, detail)
    assert differences([expected], [stub.seen[-1]]) == set()
    assert stub.seen[-1].path == f"{API}/sessions/session-0/finish"
    ours.close("errored")  # the first reason stays
    asyncio.run(ours.close_async("errored"))
    assert stub.sessions["session-0"]["finished"] == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [(None, "success"), (ValueError, "errored"), (KeyboardInterrupt, "interrupted")],
)
def test_leaving_a_block_says_why(
    kind: type[BaseException] | None, status: str, stub: WeightsStub
) -> None:
    def use() -> None:
        with ServiceClient(base_url=stub.url, api_key=KEY) as service:
            service.create_sampling_client(base_model=BASE).result(WAIT)
            if kind is not None:
                raise kind

    async def use_async() -> None:
        async with ServiceClient(base_url=stub.url, api_key=KEY) as service:
            await service.create_sampling_client_async(base_model=BASE)
            if kind is not None:
                raise kind

    for run in (use, lambda: asyncio.run(use_async())):
        if kind is None:
            run()
        else:
            with pytest.raises(kind):
                run()
    assert [each["finished"] for each in stub.sessions.values()] == [status] * 2


# What cannot be ----------------------------------------------------------------------------------

SAVES = ("save_state", "save_weights_for_sampler", "save_weights_external")
QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.05, conflict_patience=0.2)


@pytest.mark.parametrize("name", SAVES)
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequestError), (422, UnprocessableEntityError), (409, ConflictError)],
)
async def test_a_name_that_is_taken(
    name: str, status: int, kind: type[APIStatusError], stub: WeightsStub
) -> None:
    stub.taken = status
    async with ServiceClient(base_url=stub.url, api_key=KEY, retry=QUICK) as service:
        training = await service.create_lora_training_client_async(BASE)
        await (await getattr(training, f"{name}_async")("step-1"))
        asked = len(stub.seen)
        with pytest.raises(kind, match="There is a checkpoint step-1 already") as awaited:
            await (await getattr(training, f"{name}_async")("step-1"))
        with pytest.raises(kind) as waited:
            await asyncio.to_thread(lambda: getattr(training, name)("step-1").result(WAIT))
        tries = len(stub.seen) - asked
        assert tries == 2 if status != 409 else 2 < tries < 40
        assert awaited.value.status_code == waited.value.status_code == status
        await (await getattr(training, f"{name}_async")("step-2"))  # and it goes on
    endpoint = name.replace("save_state", "save_weights")
    numbers = [each["seq_id"] for each in stub.bodies(endpoint)]
    assert (sorted(set(numbers)), numbers[0], numbers[-1]) == ([1, 2, 3, 4], 1, 4)


def test_a_name_that_is_taken_is_not_asked_for_for_minutes(
    stub: WeightsStub, training: TrainingClient
) -> None:
    stub.taken = 409  # with which the official SDK goes on for five minutes
    training.save_state("step-1").result(WAIT)
    began = time.monotonic()
    with pytest.raises(ConflictError):
        training.save_state("step-1").result(WAIT)
    assert time.monotonic() - began < 10
    assert training.save_state("step-1", overwrite=True).result(WAIT).path.endswith("step-1")


ENDPOINTS = {"save_state": "save_weights"} | dict.fromkeys(
    (
        *("load_state", "load_state_with_optimizer", "create_training_client_from_state"),
        "create_training_client_from_state_with_optimizer",
    ),
    "load_weights",
)
OF_FUTURES = [each for each in SENDS if each.name in {*FUTURES, *ENDPOINTS}]


@pytest.mark.parametrize("operation", OF_FUTURES, ids=title)
def test_a_failed_future_names_its_request(operation: Operation, stub: WeightsStub) -> None:
    stub.failing = {ENDPOINTS.get(operation.name, operation.name)}
    for tour in (blocking, lambda *given: asyncio.run(awaited(*given))):
        with pytest.raises(RequestFailedError, match=r"The weights are gone\.") as caught:
            tour(operation, stub)
        request_id = list(stub.futures)[-1]
        assert (caught.value.category, caught.value.fault) == ("user", "user")
        assert caught.value.request_id == request_id
        assert str(caught.value).endswith(f"(request {request_id})")


def test_nothing_is_done_with_a_model_that_failed(stub: WeightsStub) -> None:
    stub.failing = {"load_weights"}
    lora = types.LoraConfig()
    with ServiceClient(base_url=stub.url, api_key=KEY) as service:
        with pytest.raises(RequestFailedError):
            service.create_training_client_from_state(STATE)
        stub.failing = {"create_model"}
        loop = asyncio.new_event_loop()
        training = service.start_training(calls.at_hand(BASE), lora, None, loop_thread().loop)
        loop.close()
        saved = training.save_state("step-1")
        with pytest.raises(InvalidInputError, match=r"no model, .*: The weights are gone\."):
            saved.result(WAIT)
    assert stub.bodies("save_weights") == []


READS = [each for each in SENDS if each.args and each.args[0] in (STATE, SAMPLER, FOREIGN)]
READS = [each for each in READS if each.name != "copy_weights"]
OPENS = [each for each in READS if TOKEN in (*each.args, *each.more.values())]


@pytest.mark.parametrize("operation", READS, ids=title)
def test_what_is_not_there_is_said_by_the_server(operation: Operation, stub: WeightsStub) -> None:
    stub.saved.clear()
    for tour in (blocking, lambda *given: asyncio.run(awaited(*given))):
        with pytest.raises(NotFoundError, match=f"There is no checkpoint {operation.args[0]}"):
            tour(operation, stub)


def sealed(value: Any, token: Any) -> Any:
    return token if value == TOKEN else value


def with_token(operation: Operation, token: Any) -> Operation:
    more = {name: sealed(each, token) for name, each in operation.more.items()}
    return replace(operation, args=tuple(sealed(each, token) for each in operation.args), more=more)


@pytest.mark.parametrize("operation", OPENS, ids=title)
@pytest.mark.parametrize("kind", [str, SecretStr])
def test_a_token_is_shown_nowhere(
    operation: Operation,
    kind: Any,
    stub: WeightsStub,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(0)
    wrong = "wr0ng-t0ken"
    for tour in (blocking, lambda *given: asyncio.run(awaited(*given))):
        tour(with_token(operation, kind(TOKEN)), stub)
        assert stub.bodies("load_weights")[-1]["weights_access_token"] == TOKEN
        with pytest.raises(PermissionDeniedError, match="That opens nothing") as caught:
            tour(with_token(operation, kind(wrong)), stub)
        assert stub.bodies("load_weights")[-1]["weights_access_token"] == wrong
        error = caught.value
        shown = [str(error), repr(error), repr(error.body), repr(vars(error)), caplog.text]
        shown += [*capfd.readouterr(), "".join(traceback.format_exception(error))]
        assert not [text for text in shown if wrong in text or TOKEN in text]


# Nothing is sent ---------------------------------------------------------------------------------

NAMES = ["", " ", "a b", "a/b", "../a", "a\n", ".a", "-a", "ä", "a" * 129, "tinker://r/weights/a"]
TIMES = [3599, 0, -1, 315_576_001, 3600.0, True, "3600"]
PATHS = ["", "w", "weights/w", "RUN/weights/w", "tinker:/RUN/weights/w", "https://x/weights/w"]
LOADS = ("load_state", "load_state_with_optimizer")
MAKES = (
    "create_training_client_from_state",
    "create_training_client_from_state_with_optimizer",
    "create_sampling_client",
)
WRONG = [
    *(on(T, save, name) for save in SAVES for name in NAMES),
    *(on(T, save, "a", ttl) for save in SAVES for ttl in TIMES),
    *(on(T, load, path) for load in (*LOADS, "create_sampling_client") for path in PATHS),
    *(on(S, make, path) for make in MAKES for path in PATHS),
    *(on(S, "copy_weights", path) for path in [*PATHS, "tinker://RUN", "tinker://RUN/weights"]),
    *(on(S, "copy_weights", STATE, ttl_seconds=ttl) for ttl in TIMES),
    *(on(T, save, "a", user_metadata=wrong) for save in SAVES[:2] for wrong in (3, {"a": 1})),
    on(T, "save_state", "a", overwrite="perhaps"),
    on(T, "save_weights_external", "a", None, [f"age1{each}" for each in range(11)]),
    on(T, "save_weights_external", "a", None, "age1x"),
    on(T, "save_weights_external", "a", None, [3]),
    on(T, "save_weights_and_get_sampling_client", kind="frozen"),
    on(T, "optim_step", 1e-3),
    on(T, "optim_step", Make("AdamParams"), adam_params=Make("AdamParams")),
    on(S, "create_lora_training_client", ""),
    on(S, "create_lora_training_client", None),
    on(S, "create_lora_training_client", BASE, 0),
    on(S, "create_lora_training_client", BASE, 8, None, False, False, False),
    on(S, "create_lora_training_client", BASE, user_metadata={"a": object()}),
    on(S, "create_lora_training_client", BASE, optimizer="adamw"),
    on(S, "create_training_client_from_state", STATE, 3),
    on(S, "create_training_client_from_state", STATE, user_metadata={"a": object()}),
    on(S, "create_training_client_from_state", STATE, optimizer="adamw"),
    on(S, "create_sampling_client"),
    on(S, "create_sampling_client", "", ""),
]


def test_what_is_wrong_is_not_sent(stub: WeightsStub, training: TrainingClient) -> None:
    clients = {TrainingClient: training, ServiceClient: training._service}
    before = list(stub.seen)

    async def awaited() -> None:
        for operation in WRONG:
            with pytest.raises(InvalidInputError):
                await operation.call(clients[operation.owner], types, "_async")

    def called(operation: Operation) -> None:
        result = operation.call(clients[operation.owner], types)
        assert operation.name == "copy_weights", operation  # the others refuse at once
        result.result(WAIT)

    for operation in WRONG:
        with pytest.raises(InvalidInputError):
            called(operation)
    asyncio.run(awaited())
    assert stub.seen == before
    training.save_state("a").result(WAIT)  # and no number is used up
    assert stub.bodies("save_weights")[0]["seq_id"] == 1


def test_a_session_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="user_metadata"):
        ServiceClient(base_url="http://127.0.0.1:9", user_metadata={"a": object()})
