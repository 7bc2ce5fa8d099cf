"""Names, arguments and values, beside those of the official SDK itself.

What is left out stands in a list here with its reason, and each list is exact: a name that comes in
must leave it.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from types import ModuleType
from typing import Any

import httpx
import numpy as np
import pydantic
import pytest
import tinker
import torch
from tinker.proto.request_conv import forward_backward_request_to_proto

import tinker_nb
from tinker_nb import EmbeddedServer, TinkerFuture, types
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire import jsonform
from tinker_nb.wire.proto import tinker_public_pb2 as pb
from tinker_nb.wire.protobuf import ForwardBackwardRequest, encode_forward_backward

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support"),
]

# The clients' methods ----------------------------------------------------------------------------

CLIENTS: list[tuple[Any, Any]] = [
    (tinker.ServiceClient, tinker_nb.ServiceClient),
    (tinker.TrainingClient, tinker_nb.TrainingClient),
    (tinker.SamplingClient, tinker_nb.SamplingClient),
    (tinker.APIFuture, tinker_nb.APIFuture),
]
METHODS_LEFT_OUT = {
    ("SamplingClient", "create"): "takes the inner holder of the generated client",
    ("SamplingClient", "on_queue_state_change"): "is called by its poller; ours is `subscribe`",
}
GIVES_SOMETHING_ELSE: dict[tuple[str, str], str] = {}
# While it is being made, a client there is a future of itself; here it is the client already.
NO_FUTURE_OF_A_CLIENT = {"coroutine", "future"}


def public(owner: Any) -> list[str]:
    return [name for name, _ in inspect.getmembers(owner) if not name.startswith("_")]


METHODS = [
    pytest.param(theirs, ours, name, id=f"{theirs.__name__}.{name}")
    for theirs, ours in CLIENTS
    for name in public(theirs)
    if callable(getattr(theirs, name)) and (theirs.__name__, name) not in METHODS_LEFT_OUT
]


def test_every_method_is_there_or_in_the_list() -> None:
    missing = {
        (theirs.__name__, name)
        for theirs, ours in CLIENTS
        for name in public(theirs)
        if not hasattr(ours, name)
    }
    assert missing == set(METHODS_LEFT_OUT)


def misfit(theirs: Any, ours: Any) -> str:
    """Say why a call that one function takes might not do the same with the other."""
    wanted, there = parameters(theirs), parameters(ours)
    for place, parameter in enumerate(wanted):
        same = next((each for each in there if each.name == parameter.name), None)
        if same is None:
            return f"there is no {parameter.name}"
        if parameter.kind is not parameter.KEYWORD_ONLY and there.index(same) != place:
            return f"{parameter.name} is in another place"
        if same.kind is not parameter.kind:
            return f"{parameter.name} is given in another way"
        if parameter.default is not parameter.empty and same.default != parameter.default:
            return f"{parameter.name} is {same.default!r} when not given"
    more = [each for each in there if each.name not in {parameter.name for parameter in wanted}]
    required = [each.name for each in more if each.default is each.empty]
    return f"{required} must be given" if required else ""


def parameters(function: Any) -> list[inspect.Parameter]:
    """Return what a caller may give; **kwargs is there to warn of, and _holder is not for users."""
    return [
        each
        for each in inspect.signature(function).parameters.values()
        if each.kind is not each.VAR_KEYWORD and (each.name == "self" or each.name[0] != "_")
    ]


@pytest.mark.parametrize(("theirs", "ours", "name"), METHODS)
def test_arguments(theirs: Any, ours: Any, name: str) -> None:
    assert misfit(getattr(theirs, name), getattr(ours, name)) == ""


def test_arguments_of_the_service() -> None:
    assert misfit(tinker.ServiceClient.__init__, tinker_nb.ServiceClient.__init__) == ""


def test_a_misfit_would_be_seen() -> None:
    def one(self: Any, a: int, b: int = 2, *, c: int = 3) -> None: ...
    def more(self: Any, a: int, b: int = 2, d: int = 0, *, c: int = 3, e: int = 0) -> None: ...
    def renamed(self: Any, a: int, x: int = 2, *, c: int = 3) -> None: ...
    def turned(self: Any, b: int = 2, a: int = 1, *, c: int = 3) -> None: ...
    def by_place(self: Any, a: int, b: int = 2, c: int = 3) -> None: ...
    def other(self: Any, a: int, b: int = 2, *, c: int = 4) -> None: ...
    def required(self: Any, a: int, b: int = 2, *, c: int = 3, d: int) -> None: ...

    assert misfit(one, more) == ""
    misfits = [misfit(one, each) for each in (renamed, turned, by_place, other, required)]
    assert misfits == [
        "there is no b",
        "a is in another place",
        "c is given in another way",
        "c is 4 when not given",
        "['d'] must be given",
    ]


def form(function: Any) -> str:
    """Say what calling a method gives: a coroutine, a future, or the value."""
    if function.__name__.endswith("_async"):
        return "coroutine"
    said = str(inspect.signature(function).return_annotation)
    # ``Self`` is what makes a client from a handle.
    is_client = re.fullmatch(r"(Backcompat)?(Training|Sampling)Client(Future)?|Self", said)
    return "future" if is_client or "Future[" in said else "value"


@pytest.mark.parametrize(("theirs", "ours", "name"), METHODS)
def test_what_a_call_gives(theirs: Any, ours: Any, name: str) -> None:
    same = form(getattr(theirs, name)) == form(getattr(ours, name))
    assert same != ((theirs.__name__, name) in GIVES_SOMETHING_ELSE)


@pytest.mark.parametrize("client", [tinker_nb.TrainingClient, tinker_nb.SamplingClient])
def test_a_client_is_waited_for_like_its_future(client: type) -> None:
    wanted = {*public(tinker.APIFuture), "__await__"}
    assert {name for name in wanted if not hasattr(client, name)} == NO_FUTURE_OF_A_CLIENT
    assert tinker_nb.BackcompatTrainingClientFuture is tinker_nb.TrainingClient
    assert tinker_nb.BackcompatSamplingClientFuture is tinker_nb.SamplingClient
    assert tinker_nb.APIFuture is TinkerFuture


# Names -------------------------------------------------------------------------------------------

_HTTP = "an option of the generated HTTP client"
_WIRE = "a body that only a generated client handles"
_TELEMETRY = "ours sends no telemetry"
_PROVENANCE = "only the hosted service's stable_reinforce reads provenance; ours does not carry it"
_ONE_CLASS = "ours is one class for all of them, told apart by `type`"
DOOR_LEFT_OUT = {
    "DmelChunk": "audio for the hosted service's own models",
    "PromptProvenanceSpan": _PROVENANCE,
    "SampledProvenanceSpan": _PROVENANCE,
    "Timeout": _HTTP,
    "RequestOptions": _HTTP,
    "__title__": "names the other package",
    "auth": "looks for its stored credentials; ours come from the environment or the call",
}
TYPES_LEFT_OUT = {
    "DmelChunk": "audio for the hosted service's own models",
    **dict.fromkeys(
        ("PromptProvenanceSpan", "ProvenanceSpans", "SampledProvenanceSpan"), _PROVENANCE
    ),
    **dict.fromkeys(
        (
            "ClientSessionFinishErrored",
            "ClientSessionFinishInterrupted",
            "ClientSessionFinishSuccess",
            "SessionFailedRequestReason",
            "SessionFailedSamplingSessionReason",
            "SessionFailedTrainingRunReason",
        ),
        _ONE_CLASS,
    ),
    **dict.fromkeys(
        (
            "EventType",
            "SessionEndEvent",
            "SessionStartEvent",
            "Severity",
            "TelemetryBatch",
            "TelemetryEvent",
            "TelemetryResponse",
            "TelemetrySendRequest",
            "UnhandledExceptionEvent",
        ),
        _TELEMETRY,
    ),
    **dict.fromkeys(
        (
            "AuthTokenResponse",
            "ForwardBackwardInput",
            "ForwardBackwardRequest",
            "ForwardRequest",
            "FutureCompletion",
            "FutureFailed",
            "FutureFinished",
            "FutureRetrieveRequest",
            "FutureRetrieveResponse",
            "FuturesRetrieveRequest",
            "FuturesRetrieveResponse",
            "GetCurrentCheckpointStorageUsageRequest",
            "JoinSamplingSessionRequest",
            "JoinSamplingSessionResponse",
            "SamplingSessionFuturesTarget",
            "SaveWeightsExternalResponseInternal",
            "SaveWeightsForSamplerResponseInternal",
            "SessionHeartbeatResponse",
            "UntypedAPIFuture",
        ),
        _WIRE,
    ),
}


def test_every_name_of_the_door_is_there_or_in_the_list() -> None:
    missing = {name for name in tinker.__all__ if not hasattr(tinker_nb, name)}
    assert missing == set(DOOR_LEFT_OUT)
    assert set(tinker_nb.__all__) == set(dir(tinker_nb))
    assert not [name for name in tinker_nb.__all__ if not hasattr(tinker_nb, name)]


def test_every_type_is_there_or_in_the_list() -> None:
    theirs = {
        name
        for name in dir(tinker.types)
        if not name.startswith("_")
        and not isinstance(getattr(tinker.types, name), ModuleType)
        and name != "annotations"
    }
    assert {name for name in theirs if not hasattr(types, name)} == set(TYPES_LEFT_OUT)
    assert not [name for name in types.__all__ if not hasattr(types, name)]


def test_errors_are_the_same_tree() -> None:
    errors = [
        name
        for name in tinker.__all__
        if isinstance(each := getattr(tinker, name), type) and issubclass(each, Exception)
    ]
    assert len(errors) > 15
    for name in errors:
        theirs, ours = getattr(tinker, name), getattr(tinker_nb, name)
        above = {each.__name__ for each in theirs.__mro__}
        assert above <= {each.__name__ for each in ours.__mro__}
        status = getattr(theirs, "status_code", None)
        if status is not None:
            assert tinker_nb.errors.status_error_class(status) is ours


# What a type has ---------------------------------------------------------------------------------

ATTRIBUTES_LEFT_OUT = {
    "ClientConfigResponse": {
        "inflight_response_bytes_semaphore_size",
        "sample_enable_stuck_detection",
        "sample_no_retries",
        "use_pyqwest_transport",
    },  # what this client has no such thing for
    "CopyWeightsRequest": {"weights_access_token"},  # travels in a header
    "CreateSessionResponse": {"type"},
    "Datum": {"loss_fn_input_spans", "model_input_spans", "with_provenance"},  # _PROVENANCE
    "ImageChunk": {"serialize_data", "validate_data"},  # its pydantic hooks
    "OptimStepRequest": {"optim_params"},  # as the wire has it: adam_params, optimizer_params
    "SampleResponse": {"topk_prompt_logprobs_np"},  # a list only
    "SampledSequence": {"topk_logprobs_np"},  # a list only
    "SaveWeightsForSamplerResponse": {"get_console_url", "get_playground_url"},  # hosted pages
    "SaveWeightsResponse": {"get_console_url"},  # hosted pages
}


def attributes(owner: type) -> set[str]:
    if issubclass(owner, pydantic.BaseModel):
        names = set(owner.model_fields) | set(dir(owner)) - set(dir(pydantic.BaseModel))
    else:
        fields = dataclasses.fields(owner) if dataclasses.is_dataclass(owner) else ()
        names = {each.name for each in fields} | set(dir(owner))
    return {name for name in names if not name.startswith("_")}


def test_every_attribute_of_a_type_is_there_or_in_the_list() -> None:
    missing = {}
    for name in types.__all__:
        theirs, ours = getattr(tinker.types, name), getattr(types, name)
        if isinstance(theirs, type) and isinstance(ours, type):
            missing[name] = attributes(theirs) - attributes(ours)
    assert len(missing) > 70
    assert {name: lacks for name, lacks in missing.items() if lacks} == ATTRIBUTES_LEFT_OUT


# What a user makes -------------------------------------------------------------------------------

PNG = bytes(range(256))
MADE: list[tuple[str, dict[str, Any]]] = [
    ("AdamParams", {}),
    ("AdamParams", {"learning_rate": 1e-3, "beta1": 0.8, "beta2": 0.9, "eps": 1e-8}),
    ("AdamParams", {"weight_decay": 0.1, "grad_clip_norm": 1}),
    ("DimuonParams", {"learning_rate": 0.02}),
    ("DimuonParams", {"learning_rate": 0, "grad_clip_norm": 2.0, "beta1": 0.5}),
    ("AdamOptimizerConfig", {}),
    ("DimuonOptimizerConfig", {}),
    ("DimuonOptimizerConfig", {"version": 1}),
    ("SamplingParams", {}),
    ("SamplingParams", {"max_tokens": 7, "seed": 1, "temperature": 0, "top_k": 3, "top_p": 0.5}),
    ("SamplingParams", {"stop": "x"}),
    ("SamplingParams", {"stop": ["x", "yy"]}),
    ("SamplingParams", {"stop": ("x",)}),
    ("SamplingParams", {"stop": [3, 4]}),
    ("SamplingParams", {"stop": []}),
    ("LoraConfig", {"rank": 3}),
    ("LoraConfig", {"rank": 3, "seed": 1, "train_mlp": False, "train_attn": False}),
    ("EncodedTextChunk", {"tokens": [1, 2]}),
    ("EncodedTextChunk", {"tokens": (1, 2)}),
    ("ImageChunk", {"data": PNG, "format": "png", "expected_tokens": 4}),
    ("ImageChunk", {"data": "AAEC", "format": "jpeg"}),
    ("ImageAssetPointerChunk", {"format": "jpeg", "location": "a/b", "expected_tokens": 5}),
    ("ModelInput", {"chunks": []}),
]


@pytest.mark.parametrize(("name", "fields"), MADE)
def test_the_same_fields_make_the_same_json(name: str, fields: dict[str, Any]) -> None:
    theirs = getattr(tinker.types, name)(**fields).model_dump(mode="json", exclude_none=True)
    assert getattr(types, name)(**fields).model_dump(mode="json", exclude_none=True) == theirs


@pytest.mark.parametrize("name", sorted({name for name, _ in MADE}))
def test_a_misspelt_field_is_refused(name: str) -> None:
    made = next(fields for each, fields in MADE if each == name)
    with pytest.raises(InvalidInputError, match=f"{name} has no field 'max_token'"):
        getattr(types, name)(**made, max_token=3)


def test_a_misspelt_field_is_told_its_name() -> None:
    with pytest.raises(InvalidInputError, match="did you mean 'max_tokens'"):
        types.SamplingParams(max_token=3)  # type: ignore[call-arg]
    with pytest.raises(InvalidInputError, match="it has rank, seed, "):
        types.LoraConfig(alpha=32)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        types.Datum(model_inputs=types.ModelInput.empty())  # type: ignore[call-arg]


def test_reading_from_the_wire_stays_tolerant() -> None:
    more = {"from a newer version": 1}
    chunk = {"type": "encoded_text", "tokens": [1], **more}
    body = {"prompt": {"chunks": [chunk], **more}, "sampling_params": {"seed": 5, **more}, **more}
    read = types.SampleRequest.model_validate(body)
    assert read.prompt == types.ModelInput.from_ints([1])
    assert read.sampling_params == types.SamplingParams(seed=5)
    model = {"session_id": "s", "model_seq_id": 0, "base_model": "b"}
    config = {"lora_config": {"rank": 2, **more}, "optimizer_config": {"type": "adamw", **more}}
    assert types.CreateModelRequest.model_validate(model | config).lora_config.rank == 2
    step = {"model_id": "m", "adam_params": {"learning_rate": 2.0, **more}}
    assert types.OptimStepRequest.model_validate(step).adam_params == types.AdamParams(
        learning_rate=2.0
    )


def test_the_server_accepts_unknown_fields(embedded: EmbeddedServer) -> None:
    more = {"from a newer version": {"x": [1]}}
    key = {"X-API-Key": embedded.api_key.get_secret_value()}
    with httpx.Client(base_url=f"{embedded.base_url}/api/v1", headers=key) as http:

        def post(path: str, **body: Any) -> dict[str, Any]:
            answer = http.post(path, json={**body, **more}, timeout=60)
            assert answer.status_code == 200, answer.text
            said: dict[str, Any] = answer.json()
            return said

        def result(said: dict[str, Any]) -> dict[str, Any]:
            return post("/retrieve_future", request_id=said["request_id"])

        session_id = post("/create_session", tags=[], sdk_version="x")["session_id"]
        model = {"session_id": session_id, "model_seq_id": 0, "base_model": "tiny-chat"}
        lora, optimizer = {"rank": 2, **more}, {"type": "adamw", **more}
        made = post("/create_model", **model, lora_config=lora, optimizer_config=optimizer)
        model_id = result(made)["model_id"]
        chunk = {"type": "encoded_text", "tokens": [65, 66], **more}
        prompt = {"chunks": [chunk], **more}
        inputs = {"target_tokens": {"data": [66, 67], "dtype": "int64", **more}}
        data = [{"model_input": prompt, "loss_fn_inputs": inputs, **more}]
        content = {"data": data, "loss_fn": "cross_entropy", **more}
        call = post(
            "/forward_backward", model_id=model_id, seq_id=1, forward_backward_input=content
        )
        assert result(call)["metrics"]
        params = {"learning_rate": 1e-3, **more}
        step = post("/optim_step", model_id=model_id, seq_id=2, adam_params=params)
        assert result(step)["metrics"]["learning_rate"] == 1e-3
        drawing = {"max_tokens": 2, "stop": [], **more}
        drawn = post("/asample", base_model="tiny-chat", prompt=prompt, sampling_params=drawing)
        assert len(result(drawn)["sequences"][0]["tokens"]) == 2


def test_model_inputs_are_put_together_in_the_same_way() -> None:
    for found in (tinker.types, types):
        chunk = found.EncodedTextChunk(tokens=[4, 5])
        whole = found.ModelInput.from_ints(tokens=[1, 2]).append_int(3).append(chunk)
        assert (whole.to_ints(), whole.length) == ([1, 2, 3, 4, 5], 5)
        assert [each.length for each in whole.chunks] == [2, 1, 2]
        assert found.ModelInput.empty().length == 0
        image = found.ImageChunk(data=PNG, format="png", expected_tokens=9)
        assert whole.append(image).length == 14
        with pytest.raises(ValueError):
            whole.append(image).to_ints()


def test_paths_are_parsed_in_the_same_way() -> None:
    for kind in ("weights", "sampler_weights", "external_weights"):
        path = f"tinker://S:train:0/{kind}/step-1"
        theirs = tinker.types.ParsedCheckpointTinkerPath.from_tinker_path(path)
        ours = types.ParsedCheckpointTinkerPath.from_tinker_path(path)
        assert dataclasses.asdict(ours) == theirs.model_dump()
    for wrong in ("weights/step-1", "tinker://S/step-1", "tinker://S/other/x", "tinker://S/a/b/c"):
        for found in (tinker.types, types):
            with pytest.raises(ValueError):
                found.ParsedCheckpointTinkerPath.from_tinker_path(wrong)


# Tensors -----------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "float64": RANDOM.normal(size=5),
    "float32": RANDOM.normal(size=(2, 3)).astype(np.float32),
    "float16": RANDOM.normal(size=4).astype(np.float16),
    "int64": RANDOM.integers(0, 9, (4, 2)),
    "int32": RANDOM.integers(0, 9, 4).astype(np.int32),
    "not in one piece": RANDOM.normal(size=(4, 6))[::2, 1::3],
    "transposed": RANDOM.normal(size=(2, 3)).T,
    "empty": np.zeros(0),
    "one number": np.array(2.5),
}


def shown(tensor: Any) -> dict[str, Any]:
    """Return all that a tensor of either package says of itself."""
    names = ("data", "dtype", "shape", "sparse_crow_indices", "sparse_col_indices")
    return {name: getattr(tensor, name) for name in names} | {"list": tensor.tolist()}


@pytest.mark.parametrize("name", ARRAYS)
def test_tensors_are_converted_in_the_same_way(name: str) -> None:
    array = ARRAYS[name]
    tensor = torch.from_numpy(array.copy())
    for theirs, ours in (
        (tinker.TensorData.from_numpy(array), types.TensorData.from_numpy(array)),
        (tinker.TensorData.from_torch(tensor), types.TensorData.from_torch(tensor)),
    ):
        assert shown(ours) == shown(theirs)
        assert ours.to_numpy().dtype == theirs.to_numpy().dtype
        torch.testing.assert_close(ours.to_torch(), theirs.to_torch(), rtol=0, atol=0)


def test_tensors_from_bfloat16_and_from_lists() -> None:
    half = torch.tensor([0.1, 0.7], dtype=torch.bfloat16)
    assert shown(types.TensorData.from_torch(half)) == shown(tinker.TensorData.from_torch(half))
    lists: list[dict[str, Any]] = [
        {"data": [1, 2, 3, 4], "dtype": "int64", "shape": [2, 2]},
        {"data": [1, 2], "dtype": "float32", "shape": [2]},
        {
            "data": [7],
            "dtype": "int64",
            "shape": [2, 3],
            "sparse_crow_indices": [0, 0, 1],
            "sparse_col_indices": [2],
        },
    ]
    for fields in lists:
        assert shown(types.TensorData(**fields)) == shown(tinker.TensorData(**fields))


@pytest.mark.parametrize("pad_value", [0, -1, 3])
@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
@pytest.mark.parametrize("listed", [0, 3, 8, 40])
def test_sparse_tensors_are_the_same(listed: int, dtype: torch.dtype, pad_value: int) -> None:
    dense = torch.full((6, 8), pad_value, dtype=dtype)
    places = torch.from_numpy(RANDOM.permutation(48)[:listed])
    dense.view(-1)[places] = torch.arange(10, 10 + listed).to(dtype)
    theirs = tinker.TensorData.from_torch_sparse(dense, pad_value)
    ours = types.TensorData.from_torch_sparse(dense, pad_value)
    assert (ours.sparse_crow_indices is not None) == (listed < 20)
    assert shown(ours) == shown(theirs)
    assert ours.tolist(pad_value) == theirs.tolist(pad_value) == dense.tolist()
    assert ours.to_torch(pad_value).equal(dense)


@pytest.mark.parametrize("columns", [3, 4, 5])
def test_a_sparse_tensor_that_is_no_shorter_stays_dense(columns: int) -> None:
    row = torch.zeros((1, columns))
    row[0, 1] = 1.0  # two row pointers, a column and a value make four
    theirs, ours = (
        tinker.TensorData.from_torch_sparse(row),
        types.TensorData.from_torch_sparse(row),
    )
    assert shown(ours) == shown(theirs)
    assert (ours.sparse_crow_indices is None) == (columns <= 4)


def test_a_pad_that_is_no_integer_is_refused() -> None:
    sparse = types.TensorData([5], "int64", [2, 3], [0, 1, 1], [2])
    with pytest.raises(TypeError):
        sparse.to_numpy(0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        types.TensorData.from_torch_sparse(torch.zeros((9, 9)), 0.5)  # type: ignore[arg-type]


def test_what_is_taken_from_a_result_may_be_changed() -> None:
    read_only = np.frombuffer(np.arange(3, dtype=np.float32).tobytes(), np.float32)
    array = types.TensorData.from_numpy(read_only).to_numpy()
    array += 1
    assert array.tolist() == [1, 2, 3]


# Data --------------------------------------------------------------------------------------------

INPUTS: dict[str, dict[str, Any]] = {
    "nothing": {},
    "lists": {"target_tokens": [1, 2], "weights": [1, 0.5]},
    "lists of all names": {
        name: [1, 0]
        for name in ("advantages", "logprobs", "clip_low_threshold", "clip_high_threshold")
    },
    "two dimensions": {"target_tokens": [[1, 2], [3, 4]], "weights": [[1.0, 0], [0.0, 1]]},
    "no tokens": {"target_tokens": [], "weights": []},
    "floats as tokens": {"target_tokens": [1.0, 2.0]},
    "arrays": {"target_tokens": np.arange(2), "anything": np.ones((2, 2)), "one": np.array(0.5)},
    "tensors": {"target_tokens": torch.arange(2), "anything": torch.eye(2)},
    "sparse": {"target_tokens": torch.eye(9).long(), "weights": torch.eye(9) / 2},
    "not sparse": {"target_tokens": torch.ones(3, 3).long(), "anything": torch.eye(9)},
}


def both_datums(name: str) -> tuple[Any, Any]:
    def made(found: Any) -> Any:
        chunks = [
            found.EncodedTextChunk(tokens=[1, 2]),
            found.ImageChunk(data=PNG, format="jpeg", expected_tokens=3),
        ]
        model_input = found.ModelInput(chunks=chunks)
        return found.Datum(model_input=model_input, loss_fn_inputs=INPUTS[name])

    return made(tinker.types), made(types)


@pytest.mark.parametrize("name", INPUTS)
def test_data_are_converted_in_the_same_way(name: str) -> None:
    theirs, ours = both_datums(name)
    assert {key: shown(each) for key, each in ours.loss_fn_inputs.items()} == {
        key: shown(each) for key, each in theirs.loss_fn_inputs.items()
    }
    assert jsonform._datum_to_json(ours)["model_input"] == theirs.model_input.model_dump(
        mode="json"
    )


@pytest.mark.parametrize("name", INPUTS)
def test_data_travel_as_the_same_message(name: str) -> None:
    theirs, ours = both_datums(name)
    config: dict[str, float | str] = {"beta": 0.5, "loss_id": "x"}
    content = tinker.types.ForwardBackwardInput([theirs], "dro", config)
    sent = forward_backward_request_to_proto(
        tinker.types.ForwardBackwardRequest(content, "m", 3)
    ).SerializeToString()
    mine = encode_forward_backward(ForwardBackwardRequest("m", [ours], "dro", config, 3))
    assert pb.ForwardBackwardRequest.FromString(mine) == pb.ForwardBackwardRequest.FromString(sent)


@pytest.mark.parametrize(
    "inputs", [{"mask": [1, 2]}, {"weights": [[1.0], [1.0, 2.0]]}, {"weights": "abc"}]
)
def test_both_refuse_what_cannot_be_a_tensor(inputs: Any) -> None:
    for found, error in ((tinker.types, Exception), (types, InvalidInputError)):
        with pytest.raises(error):
            found.Datum(model_input=found.ModelInput.empty(), loss_fn_inputs=inputs)


def test_a_datum_can_be_copied_with_changes() -> None:
    datum = types.Datum(types.ModelInput.from_ints([1, 2]), {"target_tokens": [2, 3]})
    inputs: Any = {"weights": [1.0, 0.0]}
    other = dataclasses.replace(datum, loss_fn_inputs=inputs)
    assert other.model_input == datum.model_input
    assert list(other.loss_fn_inputs) == ["weights"]
    assert other != datum
    assert dataclasses.replace(datum) == datum


def test_provenance_is_refused_and_not_dropped() -> None:
    prompt = types.ModelInput.from_ints([1])
    assert types.Datum(prompt, {}, model_input_spans=None, loss_fn_input_spans=None)
    with pytest.raises(InvalidInputError, match="provenance"):
        types.Datum(prompt, {}, model_input_spans=[object()])  # type: ignore[arg-type]
