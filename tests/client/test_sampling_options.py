"""Every option of a sample: on the wire, in the result, and with servers that do not know it."""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import math
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tinker
import torch
from tinker.proto.response_conv import deserialize_sample_response

from tests.client.protocol_stub import API
from tests.client.stub_weights import (
    BASE,
    MAY_DIFFER,
    SAMPLER,
    TOKENS,
    WeightsStub,
    differences,
    drawn,
    packed,
    weights_stub,
)
from tinker_nb import SamplingClient, ServiceClient, types
from tinker_nb.client import session
from tinker_nb.errors import InvalidInputError, NotSupportedByServer, RequestFailedError
from tinker_nb.wire.proto import tinker_public_pb2 as pb
from tinker_nb.wire.samples import decode_sample

KEY = "tml-test"
WAIT = 30
BLOCK = 10**9
MISSING = -99999.0
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Sparse CSR tensor support"),
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
def sampler(stub: WeightsStub) -> Iterator[SamplingClient]:
    with ServiceClient(base_url=stub.url, api_key=KEY) as service:
        yield service.create_sampling_client(SAMPLER)


# Results with all that may be in them ------------------------------------------------------------

PROMPT = [5, 6, 7, 8]


def topk(ids: list[int], scores: list[float], k: int) -> pb.TopkLogprobs:
    length = len(ids) // k if k else 0
    ids_packed, scores_packed = packed(ids, "<i4"), packed(scores, "<f4")
    return pb.TopkLogprobs(token_ids=ids_packed, logprobs=scores_packed, k=k, length=length)


def dense(values: Any, layout: str, dtype: Any, *shape: int) -> pb.Tensor:
    return pb.Tensor(dense=packed(values, layout), dtype=dtype, shape=shape)


SPARSE = pb.Tensor(
    sparse_csr=pb.SparseCsr(
        values=packed([-0.5, -2.5], "<f4"),
        crow_indices=packed([0, 1, 1, 2], "<i8"),
        col_indices=packed([2, 0], "<i8"),
    ),
    dtype=pb.FLOAT32,
    shape=[3, 3],
)
ALTERNATIVES = pb.PromptAltTokens(
    tokens=dense([9, 8, 7, 6, 5, 4], "<i8", pb.INT64, 3, 2),
    logprobs=dense([-1, -2, -3, -4, -5, -6], "<f4", pb.FLOAT32, 3, 2),
)


def everything(num_samples: int = 1, *, last_n: int = 3) -> pb.SampleResponse:
    """Return an answer in which nothing is left out, to whatever was asked."""
    message = drawn(num_samples)
    for number, sequence in enumerate(message.sequences):
        sequence.logprobs = packed([-0.25 - number, -1.5], "<f4")
        # The first row has a cell less, and the second none.
        rows = topk([7, 0, 0, 0], [-0.25, MISSING, MISSING, MISSING], 2)
        sequence.topk_sampled_logprobs.CopyFrom(rows)
    scores = [math.nan] * (len(PROMPT) - last_n) + [-1.0 - each for each in range(last_n)]
    message.prompt_logprobs = packed(scores, "<f4")
    ids = [0, 0, 6, 1, 0, 3, 8, 0]  # token 0 is a token like others where it has a score
    missing = [MISSING, MISSING]
    message.topk_prompt_logprobs.CopyFrom(topk(ids, [*missing, -1, -2, -3, -4, -5, MISSING], 2))
    message.prompt_cache_hit_tokens = 3
    message.target_prompt_logprobs.CopyFrom(SPARSE)
    message.prompt_alt_tokens.CopyFrom(ALTERNATIVES)
    return message


def told(response: Any) -> dict[str, Any]:
    """Return all fields of a result of either package."""
    alternatives = response.prompt_alt_tokens
    return {
        "sequences": [
            (each.stop_reason, each.tokens, each.logprobs, each.sequence_id, each.topk_logprobs)
            for each in response.sequences
        ],
        "prompt_logprobs": response.prompt_logprobs,
        "topk_prompt_logprobs": response.topk_prompt_logprobs,
        "prompt_cache_hit_tokens": response.prompt_cache_hit_tokens,
        "target_prompt_logprobs": tensor(response.target_prompt_logprobs),
        "alt tokens": alternatives and tensor(alternatives.tokens),
        "alt logprobs": alternatives and tensor(alternatives.logprobs),
    }


def tensor(data: Any) -> dict[str, Any] | None:
    names = ("data", "dtype", "shape", "sparse_crow_indices", "sparse_col_indices")
    return data and {name: getattr(data, name) for name in names} | {"list": data.tolist()}


# Three tours: theirs, ours, ours awaited ---------------------------------------------------------

IDS = [[1, -1, 2], [-1, -1, -1], [0, 7, 5]]


def sparse_ids(package: Any) -> Any:
    ids = torch.full((3, 9), -1, dtype=torch.int64)
    ids[0, 4], ids[2, 0] = 0, 7  # token 0 is asked for like others
    found = package.TensorData.from_torch_sparse(ids, pad_value=-1)
    assert found.sparse_crow_indices == [0, 1, 1, 2]
    return found


def params(**fields: Any) -> Callable[[Any], dict[str, Any]]:
    return lambda package: {"sampling_params": package.SamplingParams(**fields)}


def chunks(package: Any) -> dict[str, Any]:
    made = [
        package.EncodedTextChunk(tokens=[1, 2]),
        package.ImageChunk(data=b"\x89PNG", format="png", expected_tokens=4),
        package.ImageAssetPointerChunk(format="jpeg", location="a/b", expected_tokens=5),
        package.EncodedTextChunk(tokens=[3]),
    ]
    return {"prompt": package.ModelInput(chunks=made)}


OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "plain": lambda _: {},
    "several": lambda _: {"num_samples": 3},
    "chunks": chunks,
    "no params": params(),
    "all params": params(max_tokens=3, seed=7, temperature=0, top_k=5, top_p=0.5, stop=["x"]),
    "no stop": params(stop=None),
    "never stop": params(max_tokens=2, stop=[]),
    "stop text": params(max_tokens=2, stop="\n\n"),
    "stop texts": params(max_tokens=2, stop=["\n", "ä"]),
    "stop tokens": params(max_tokens=2, stop=[3, 4]),
    "prompt": lambda _: {"include_prompt_logprobs": True},
    "last n": lambda _: {"include_prompt_logprobs": True, "prompt_logprobs_last_n": 2},
    "topk prompt": lambda _: {"include_prompt_logprobs": True, "topk_prompt_logprobs": 2},
    "topk sample": lambda _: {"topk_sample_logprobs": 2},
    "targets": lambda package: {
        "target_prompt_logprobs": package.TensorData.from_numpy(np.array(IDS))
    },
    "sparse targets": lambda package: {"target_prompt_logprobs": sparse_ids(package)},
    "alternatives": lambda _: {"prompt_alt_tokens_k": 2},
    "all": lambda package: {
        "num_samples": 2,
        "include_prompt_logprobs": True,
        "topk_prompt_logprobs": 2,
        "topk_sample_logprobs": 2,
        "target_prompt_logprobs": sparse_ids(package),
        "prompt_alt_tokens_k": 2,
        "prompt_logprobs_last_n": 3,
    },
}


def arguments(package: Any, option: str) -> dict[str, Any]:
    usual = {
        "prompt": package.ModelInput.from_ints(PROMPT),
        "num_samples": 1,
        "sampling_params": package.SamplingParams(max_tokens=2),
    }
    return {**usual, **OPTIONS[option](package)}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("records", [False, True], ids=["", "recorded"])
def test_the_wire_and_the_result_are_the_same(
    option: str, records: bool, stub: WeightsStub
) -> None:
    more = arguments(types, option)
    answer = everything(more["num_samples"], last_n=more.get("prompt_logprobs_last_n") or 3)

    def begin_again() -> None:
        stub.begin_again()
        stub.drawn = answer.SerializeToString()

    begin_again()
    service = tinker.ServiceClient(base_url=stub.url, api_key=KEY)
    client = service.create_sampling_client(SAMPLER, record_stability_info=records).result(WAIT)
    official = told(client.sample(**arguments(tinker.types, option)).result(WAIT))
    expected = list(stub.seen)
    service.close("success").result(WAIT)

    begin_again()
    with ServiceClient(base_url=stub.url, api_key=KEY) as ours:
        mine = ours.create_sampling_client(SAMPLER, record_stability_info=records).result(WAIT)
        assert told(mine.sample(**more).result(WAIT)) == official
        one = list(stub.seen)

    async def awaited() -> dict[str, Any]:
        async with ServiceClient(base_url=stub.url, api_key=KEY) as service:
            client = await service.create_sampling_client_async(
                SAMPLER, record_stability_info=records
            )
            return told(await client.sample_async(**arguments(types, option)))

    begin_again()
    assert asyncio.run(awaited()) == official
    assert differences(expected, one) <= set(MAY_DIFFER)
    assert differences(one, stub.seen[: len(one)]) == set()
    assert stub.bodies("asample")[0]["record_stability_info"] is records
    assert None not in official.values()


@pytest.mark.parametrize("last_n", [None, 2])
def test_scores_of_a_prompt(last_n: int | None, stub: WeightsStub) -> None:
    answer = everything(last_n=last_n or 3).SerializeToString()
    stub.drawn = answer
    service = tinker.ServiceClient(base_url=stub.url, api_key=KEY)
    theirs = service.create_sampling_client(SAMPLER).result(WAIT)
    prompt = tinker.ModelInput.from_ints(PROMPT)
    official = theirs.compute_logprobs(prompt, prompt_logprobs_last_n=last_n).result(WAIT)
    expected = list(stub.seen)
    service.close("success").result(WAIT)
    stub.begin_again()
    stub.drawn = answer
    with ServiceClient(base_url=stub.url, api_key=KEY) as ours:
        client = ours.create_sampling_client(SAMPLER).result(WAIT)
        mine = types.ModelInput.from_ints(PROMPT)
        assert client.compute_logprobs(mine, last_n).result(WAIT) == official
        assert differences(expected, stub.seen) <= set(MAY_DIFFER)
        again = asyncio.run(client.compute_logprobs_async(mine, prompt_logprobs_last_n=last_n))
    assert again == official == [None] * (4 - (last_n or 3)) + [-1.0, -2.0, -3.0][: last_n or 3]
    one, two = stub.bodies("asample")
    assert (one.pop("seq_id"), two.pop("seq_id")) == (0, 1)
    assert one == two


# Results at the edge -----------------------------------------------------------------------------


def with_topk(rows: pb.TopkLogprobs) -> pb.SampleResponse:
    return pb.SampleResponse(topk_prompt_logprobs=rows)


def with_targets(**fields: Any) -> pb.SampleResponse:
    return pb.SampleResponse(target_prompt_logprobs=pb.Tensor(dtype=pb.FLOAT32, **fields))


NOTHING = pb.SparseCsr(crow_indices=packed([0, 0, 0], "<i8"))
EDGES = {
    "nothing": pb.SampleResponse(),
    "no token": pb.SampleResponse(sequences=[pb.SampledSequence()]),
    "no scores": pb.SampleResponse(sequences=[pb.SampledSequence(logprobs=b"")]),
    "no text, of length": pb.SampleResponse(sequences=[pb.SampledSequence(stop_reason=pb.LENGTH)]),
    "missing rows": with_topk(topk([0, 0, 1, 2, 3, 0], [MISSING, MISSING, -1, -2, -1, MISSING], 2)),
    "token 0 scored": with_topk(topk([0, 1], [-0.5, -1], 2)),
    "no rows": with_targets(shape=[0, 3]),
    "sparse, nothing listed": with_targets(sparse_csr=NOTHING, shape=[2, 3]),
    "int32": pb.SampleResponse(target_prompt_logprobs=dense([1, 2], "<i4", pb.INT32, 2, 1)),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges_are_read_alike(name: str) -> None:
    content = EDGES[name].SerializeToString()
    ids = [f"s-{each}" for each in range(len(EDGES[name].sequences))]
    official = told(deserialize_sample_response(content))
    official["sequences"] = [
        (*each[:3], sequence_id, each[4])
        for each, sequence_id in zip(official["sequences"], ids, strict=True)
    ]
    assert told(decode_sample(content, ids)) == official


FOR_NOTHING = {
    "a score of minus infinity": with_topk(topk([1, 2], [-1, -math.inf], 2)),
    "a token that is masked": with_topk(topk([1, 2], [-1, MISSING], 2)),
    "a hole": with_topk(topk([1, 0, 3], [-1, MISSING, -3], 3)),
    "nothing in front": with_topk(topk([0, 2], [MISSING, -1], 2)),
    "no positions": with_topk(topk([], [], 2)),
    "no cells": with_topk(pb.TopkLogprobs(length=3)),
    "no prompt": pb.SampleResponse(prompt_logprobs=b""),
}


@pytest.mark.parametrize("message", FOR_NOTHING.values(), ids=FOR_NOTHING)
def test_what_stands_for_nothing_is_read_alike(message: pb.SampleResponse) -> None:
    content = message.SerializeToString()
    assert told(decode_sample(content)) == told(deserialize_sample_response(content))


@pytest.mark.parametrize(
    "message",
    [
        pb.SampleResponse(sequences=[pb.SampledSequence(stop_reason=2)]),  # type: ignore[arg-type]
        with_targets(dense=packed([1, 2], "<f4")),
    ],
    ids=["a reason of a later version", "no shape"],
)
def test_ours_bears_more(message: pb.SampleResponse) -> None:
    with pytest.raises(ValueError):
        deserialize_sample_response(message.SerializeToString())
    assert decode_sample(message.SerializeToString())


# Servers that do not know an option --------------------------------------------------------------


def lacking(option: str) -> pb.SampleResponse:
    """Return the answer of a server that leaves one option unread."""
    message = everything(last_n=2)
    match option:
        case "topk_sample_logprobs":
            message.sequences[0].ClearField("topk_sampled_logprobs")
        case "prompt_alt_tokens_k":
            message.ClearField("prompt_alt_tokens")
        case "prompt_logprobs_last_n":
            message.prompt_logprobs = packed([math.nan, -1, -2, -3], "<f4")
        case "prompt_logprobs":
            message.ClearField("prompt_logprobs")
        case "topk_prompt_logprobs":
            message.ClearField("topk_prompt_logprobs")
        case _:
            message.ClearField("target_prompt_logprobs")
    return message


ALL = {**arguments(types, "all"), "num_samples": 1, "prompt_logprobs_last_n": 2}
NOT_KNOWN = [
    *("prompt_logprobs", "topk_prompt_logprobs", "topk_sample_logprobs"),
    *("target_prompt_logprobs", "prompt_alt_tokens_k", "prompt_logprobs_last_n"),
]


@pytest.mark.parametrize("option", NOT_KNOWN)
def test_an_option_that_the_server_leaves_unread(
    option: str, stub: WeightsStub, sampler: SamplingClient
) -> None:
    stub.drawn = everything(last_n=2).SerializeToString()
    sampler.sample(**ALL).result(WAIT)
    stub.drawn = lacking(option).SerializeToString()
    with pytest.raises(NotSupportedByServer, match=option) as waited:
        sampler.sample(**ALL).result(WAIT)
    with pytest.raises(NotSupportedByServer) as awaited:
        asyncio.run(sampler.sample_async(**ALL))
    for each in (waited, awaited):
        assert each.value.operation == option
        assert each.value.fault == "server"
        assert each.value.request_id in stub.futures
    # Whoever did not ask for it does not miss it.
    plain = sampler.sample(**arguments(types, "plain")).result(WAIT)
    assert plain.sequences[0].tokens == TOKENS


@pytest.mark.parametrize("last_n", [None, 2])
def test_a_server_that_scores_no_prompt(
    last_n: int | None, stub: WeightsStub, sampler: SamplingClient
) -> None:
    prompt = types.ModelInput.from_ints(PROMPT)
    with pytest.raises(NotSupportedByServer, match="prompt_logprobs"):
        sampler.compute_logprobs(prompt, last_n).result(WAIT)
    with pytest.raises(NotSupportedByServer, match="prompt_logprobs"):
        asyncio.run(sampler.compute_logprobs_async(prompt, last_n))


def test_where_nothing_was_drawn_nothing_is_missed(
    stub: WeightsStub, sampler: SamplingClient
) -> None:
    message = everything(2)
    message.sequences[1].Clear()
    stub.drawn = message.SerializeToString()
    wanted = arguments(types, "topk sample") | {"num_samples": 2}
    assert sampler.sample(**wanted).result(WAIT).sequences[1].topk_logprobs is None


def test_a_failed_sample_names_its_request(stub: WeightsStub, sampler: SamplingClient) -> None:
    stub.failing = {"asample"}
    with pytest.raises(RequestFailedError, match=r"The weights are gone\.") as waited:
        sampler.sample(**ALL).result(WAIT)
    with pytest.raises(RequestFailedError, match=r"The weights are gone\.") as awaited:
        asyncio.run(sampler.sample_async(**ALL))
    for each, request_id in zip((waited, awaited), stub.futures, strict=True):
        assert (each.value.category, each.value.request_id) == ("user", request_id)


# Nothing is sent ---------------------------------------------------------------------------------

WRONG: list[dict[str, Any]] = [
    {"prompt": types.ModelInput.empty()},
    {"prompt": PROMPT},
    {"prompt": "text"},
    {"num_samples": 0},
    {"num_samples": -1},
    {"num_samples": 1.5},
    {"sampling_params": None},
    {"topk_prompt_logprobs": -1},
    {"topk_sample_logprobs": -1},
    {"prompt_alt_tokens_k": -1},
    {"prompt_logprobs_last_n": 2},
    {"prompt_logprobs_last_n": 0, "include_prompt_logprobs": True},
    {"prompt_logprobs_last_n": 4, "include_prompt_logprobs": True},
    {"target_prompt_logprobs": types.TensorData.from_numpy(np.ones((3, 2), np.float32))},
    {"target_prompt_logprobs": types.TensorData.from_numpy(np.ones(3, np.int64))},
    {"target_prompt_logprobs": types.TensorData.from_numpy(np.ones((4, 2), np.int64))},
]


def test_what_is_wrong_is_not_sent(stub: WeightsStub, sampler: SamplingClient) -> None:
    sampler.result(WAIT)
    before = list(stub.seen)
    usual = arguments(types, "plain")

    async def awaited() -> None:
        for wrong in WRONG:
            with pytest.raises(InvalidInputError):
                await sampler.sample_async(**usual | wrong)
        for last_n in (0, 4):
            with pytest.raises(InvalidInputError):
                await sampler.compute_logprobs_async(usual["prompt"], last_n)

    for wrong in WRONG:
        with pytest.raises(InvalidInputError):
            sampler.sample(**usual | wrong)
    for last_n in (0, 4):
        with pytest.raises(InvalidInputError):
            sampler.compute_logprobs(usual["prompt"], last_n)
    asyncio.run(awaited())
    assert stub.seen == before
    sampler.sample(**usual).result(WAIT)  # and no number is used up
    assert stub.bodies("asample")[0]["seq_id"] == 0


# Handles -----------------------------------------------------------------------------------------


@pytest.fixture
def recording(stub: WeightsStub) -> Iterator[SamplingClient]:
    with ServiceClient(base_url=stub.url, api_key=KEY) as service:
        yield service.create_sampling_client(SAMPLER, record_stability_info=True)


def draw(client: Any, package: Any) -> list[int]:
    drawn: list[int] = client.sample(**arguments(package, "plain")).result(WAIT).sequences[0].tokens
    return drawn


def content(handle: str) -> str:
    return base64.urlsafe_b64decode(handle).decode()


def copies(handle: str) -> SamplingClient:
    return SamplingClient.from_sampler_handle(handle, api_key=KEY)


def test_a_copy_counts_from_its_own_block(stub: WeightsStub, recording: SamplingClient) -> None:
    handle = recording.get_sampler_handle()
    made = []
    for _ in range(3):
        random.seed(0)  # as workers do, each of them
        made.append(copies(handle))
    for client in (recording, *made, *made):
        assert draw(client, types) == TOKENS
    bodies = stub.bodies("asample")
    numbers = [each.pop("seq_id") for each in bodies]
    starts = numbers[1:4]
    assert numbers == [0, *starts, *(each + 1 for each in starts)]
    assert len(set(starts)) == 3
    assert all(BLOCK <= each < 10**18 and each % BLOCK == 0 for each in starts)
    assert all(each == bodies[0] for each in bodies)
    assert bodies[0]["record_stability_info"] is True
    assert made[0].get_base_model() == BASE
    assert len(stub.bodies("create_session")) == len(stub.bodies("create_sampling_session")) == 1
    for client in made:
        client._service.close()
    assert "finished" not in stub.sessions["session-0"]


def test_a_copy_keeps_the_session_alive_and_does_not_end_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.02)
    with weights_stub() as stub:  # one of its own: nobody else may beat here
        with ServiceClient(base_url=stub.url, api_key=KEY) as service:
            copy = copies(service.create_sampling_client(SAMPLER).get_sampler_handle())
        stub.greetings.clear()
        # One may still have been on its way from the client that is closed.
        stub.wait_for(lambda: stub.beats("session-0") > 2)
        assert draw(copy, types) == TOKENS
        copy._service.close("errored")
        ended = [each.body for each in stub.seen if each.path.endswith("/finish")]
        assert ended == [{"reason": {"type": "success"}, "detail": None}]


def test_ours_is_read_by_the_official_sdk(stub: WeightsStub) -> None:
    stub.config = {"sample_max_concurrent_requests": 17}
    service = ServiceClient(base_url=stub.url, api_key=KEY)
    recording = service.create_sampling_client(SAMPLER, record_stability_info=True)
    handle = recording.get_sampler_handle()
    theirs = tinker.SamplingClient.from_sampler_handle(handle, api_key=KEY)
    assert draw(theirs, tinker.types) == TOKENS
    assert theirs.get_base_model() == BASE
    assert theirs.holder.get_client_config().sample_max_concurrent_requests == 17
    mine = draw(copies(handle), types)
    one, two = stub.bodies("asample")
    assert (one.pop("seq_id") % BLOCK, two.pop("seq_id") % BLOCK) == (0, 0)
    assert one == two
    assert mine == TOKENS
    # What it hands on can be read here again.
    assert draw(copies(theirs.get_sampler_handle()), types) == TOKENS
    theirs.holder.close()
    service.close()


def test_theirs_is_read_by_ours(stub: WeightsStub) -> None:
    service = tinker.ServiceClient(
        base_url=stub.url, api_key=KEY, default_headers_overrides={"x-gateway": "blue"}
    )
    theirs = service.create_sampling_client(SAMPLER, record_stability_info=True).result(WAIT)
    ours = copies(theirs.get_sampler_handle())
    assert draw(theirs, tinker.types) == draw(ours, types) == TOKENS
    one, two = (each for each in stub.seen if each.path == f"{API}/asample")
    assert (one.body["seq_id"], two.body["seq_id"] % BLOCK) == (0, 0)
    assert two.body["seq_id"] >= BLOCK
    assert one.body | {"seq_id": 0} == two.body | {"seq_id": 0}
    assert one.headers["x-gateway"] == two.headers["x-gateway"] == "blue"
    assert ours.get_base_model() == BASE
    ours._service.close()
    assert "finished" not in stub.sessions["session-0"]
    service.close("success").result(WAIT)


def test_a_handle_holds_no_secret(stub: WeightsStub) -> None:
    headers = {"Authorization": "Bearer s3cret"}
    with ServiceClient(base_url=stub.url, api_key=KEY, default_headers_overrides=headers) as ours:
        client = ours.create_sampling_client(SAMPLER)
        handle = client.get_sampler_handle()
        pickled = pickle.dumps(client)
    for text in (content(handle), repr(pickled), content(copies(handle).get_sampler_handle())):
        assert KEY not in text
        assert "s3cret" not in text
    fields = json.loads(content(handle))
    assert fields["base_model"] == BASE
    assert fields["session_id"] == "session-0"


def test_a_handle_where_nobody_says_the_base_model(
    stub: WeightsStub, sampler: SamplingClient
) -> None:
    sampler.result(WAIT)
    stub.refuse_once.append((404, {"detail": "Not Found"}))
    handle = sampler.get_sampler_handle()
    assert json.loads(content(handle))["base_model"] == ""
    assert draw(copies(handle), types) == TOKENS


UNPICKLES = """
import pickle, sys
from tinker_nb import ModelInput, SamplingParams
sampler = pickle.load(sys.stdin.buffer)
print(sampler.sample(ModelInput.from_ints([5]), 1, SamplingParams()).result(30).sequences[0].tokens)
"""


def test_another_process_samples_from_a_pickle(
    stub: WeightsStub, sampler: SamplingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_API_KEY", KEY)
    command = [sys.executable, "-c", UNPICKLES]
    done = subprocess.run(
        command, input=pickle.dumps(sampler), capture_output=True, timeout=60, check=True
    )
    assert done.stdout.decode().strip() == str(TOKENS)
    (seen,) = (each for each in stub.seen if each.path == f"{API}/asample")
    assert (seen.headers["x-api-key"], seen.body["seq_id"] % BLOCK) == (KEY, 0)
    assert seen.body["seq_id"] >= BLOCK
    here = pickle.loads(pickle.dumps(sampler))
    assert draw(here, types) == TOKENS
    here._service.close()


@pytest.mark.parametrize(
    "handle",
    ["", "no handle", "ä", *(base64.urlsafe_b64encode(each).decode() for each in (b"3", b"{}"))],
)
def test_a_text_that_is_no_handle(handle: str) -> None:
    with pytest.raises(InvalidInputError, match="no handle of a sampler"):
        SamplingClient.from_sampler_handle(handle, api_key=KEY)
