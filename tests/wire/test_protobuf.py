"""Our codec against the official SDK's own generated code: both must read what the other wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire import protobuf, samples
from tinker_nb.wire.data import Datum, ModelInput
from tinker_nb.wire.jsonform import sample_to_json
from tinker_nb.wire.results import (
    ForwardBackwardOutput,
    PromptAltTokens,
    SampledSequence,
    SampleResponse,
)
from tinker_nb.wire.tensors import TensorData


@pytest.fixture(scope="module")
def official() -> Any:
    """The official SDK's generated protobuf module."""
    from tinker.proto import tinker_public_pb2

    return tinker_public_pb2


def datum() -> Datum:
    return Datum(
        ModelInput.from_ints([5, 6, 7]),
        {"target_tokens": [6, 7, 8], "weights": np.array([0.0, 0.5, 1.0], dtype=np.float64)},
    )


def request_() -> protobuf.ForwardBackwardRequest:
    config: dict[str, float | str] = {"clip_low_threshold": 0.8, "mode": "fast"}
    return protobuf.ForwardBackwardRequest("S:train:0", [datum()], "ppo", config, seq_id=3)


def test_a_request_comes_back_as_it_went() -> None:
    assert (
        protobuf.decode_forward_backward(protobuf.encode_forward_backward(request_())) == request_()
    )


def test_the_official_code_reads_our_request(official: Any) -> None:
    message = official.ForwardBackwardRequest()
    message.ParseFromString(protobuf.encode_forward_backward(request_()))
    assert (message.model_id, message.seq_id, message.loss_fn) == ("S:train:0", 3, "ppo")
    assert dict(message.loss_fn_config) == {"clip_low_threshold": 0.8}
    tensor = message.data[0].loss_fn_inputs["weights"]
    assert np.frombuffer(tensor.dense, np.float32).tolist() == [0.0, 0.5, 1.0]
    assert np.frombuffer(message.data[0].model_input[0].encoded_text.tokens, np.int32).tolist() == [
        5,
        6,
        7,
    ]


def test_the_official_code_writes_the_same_bytes(official: Any) -> None:
    ours = protobuf.encode_forward_backward(request_())
    message = official.ForwardBackwardRequest()
    message.ParseFromString(ours)
    assert protobuf.decode_forward_backward(message.SerializeToString()) == request_()


def outputs(*lengths: int, trailing: int | None = None) -> list[dict[str, TensorData]]:
    shape = [() if trailing is None else (trailing,)]
    return [
        {"logprobs": TensorData.from_numpy(np.full((n, *shape[0]), -0.5, np.float32))}
        for n in lengths
    ]


@pytest.mark.parametrize("loss_outputs", [outputs(2, 0, 3), outputs(1, 2, trailing=4), []])
def test_an_output_comes_back_as_it_went(loss_outputs: list[dict[str, TensorData]]) -> None:
    output = ForwardBackwardOutput("ArrayRecord", loss_outputs, {"loss:sum": 1.5})
    assert protobuf.decode_output(protobuf.encode_output(output)) == output


def test_outputs_of_different_trailing_shapes_travel_in_several_records(official: Any) -> None:
    mixed = outputs(2) + outputs(3, trailing=2) + outputs(1, trailing=2)
    body = protobuf.encode_output(ForwardBackwardOutput("ArrayRecord", mixed, {}))
    message = official.ForwardBackwardOutput()
    message.ParseFromString(body)
    assert [record.num_datums for record in message.loss_fn_outputs] == [1, 2]
    assert protobuf.decode_output(body).loss_fn_outputs == mixed


def test_bfloat16_and_int32_widen() -> None:
    from tinker_nb.wire.proto import tinker_public_pb2 as pb

    message = pb.ForwardBackwardOutput()
    record = message.loss_fn_outputs.add(num_datums=1)
    half = (np.array([1.5, -2.0], np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    record.fields["x"].data, record.fields["x"].dtype = half, pb.BFLOAT16
    record.fields["x"].offsets = np.array([0, 4], "<i8").tobytes()
    record.fields["n"].data, record.fields["n"].dtype = np.array([7], "<i4").tobytes(), pb.INT32
    record.fields["n"].offsets = np.array([0, 4], "<i8").tobytes()
    (read,) = protobuf.decode_output(message.SerializeToString()).loss_fn_outputs
    assert read["x"].tolist() == [1.5, -2.0]
    assert (read["n"].dtype, read["n"].tolist()) == ("int64", [7])


def test_a_sample_comes_back_with_its_ids() -> None:
    response = SampleResponse(
        [
            SampledSequence("length", [1, 2], [-0.5, -0.25], "a"),
            SampledSequence("stop", [3], None, "b"),
        ],
        prompt_logprobs=[None, -0.125],
        topk_prompt_logprobs=[None, [(4, -0.5), (5, -1.0)]],
    )
    assert samples.decode_sample(samples.encode_sample(response), ["a", "b"]) == response


def test_every_figure_of_a_sample_comes_back() -> None:
    scores = TensorData(np.array([[-0.5, 0.0], [-1.0, -2.0]], np.float32), "float32")
    tokens = TensorData(np.array([[3, 4], [5, 6]]), "int64")
    response = SampleResponse(
        [SampledSequence("stop", [1], [-0.5], "a", topk_logprobs=[[(1, -0.5), (2, -1.0)]])],
        target_prompt_logprobs=scores,
        prompt_cache_hit_tokens=7,
        prompt_alt_tokens=PromptAltTokens(tokens, scores),
    )
    assert samples.decode_sample(samples.encode_sample(response), ["a"]) == response
    told = sample_to_json(response)
    assert told["sequences"][0]["topk_logprobs"] == [[(1, -0.5), (2, -1.0)]]
    assert told["prompt_alt_tokens"]["tokens"]["data"] == [3, 4, 5, 6]
    assert told["target_prompt_logprobs"]["shape"] == [2, 2]


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\xff"])
def test_a_broken_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInputError, match="cannot be read"):
        protobuf.decode_forward_backward(body)


def test_bytes_that_do_not_divide_into_values_are_refused() -> None:
    from tinker_nb.wire.proto import tinker_public_pb2 as pb

    message = pb.ForwardBackwardRequest(model_id="m", loss_fn="cross_entropy")
    message.data.add().model_input.add().encoded_text.tokens = b"\x01\x02\x03"
    with pytest.raises(InvalidInputError, match="do not divide"):
        protobuf.decode_forward_backward(message.SerializeToString())


def test_a_sparse_tensor_travels_and_densifies() -> None:
    sparse = TensorData([2.0, 3.0], "float32", [2, 3], [0, 1, 2], [2, 0])
    sent = Datum(ModelInput.from_ints([1, 2]), {"weights": sparse})
    body = protobuf.encode_forward_backward(
        protobuf.ForwardBackwardRequest("m", [sent], "cross_entropy")
    )
    (read,) = protobuf.decode_forward_backward(body).data
    assert read.loss_fn_inputs["weights"].tolist() == [[0.0, 0.0, 2.0], [3.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("crow", "col"),
    [([0, 1], [2, 0]), ([0, 1, 3], [2, 0]), ([0, 2, 1], [2, 0]), ([0, 1, 2], [2, 9])],
)
def test_sparse_indices_that_do_not_fit_are_refused(crow: list[int], col: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="indices"):
        TensorData([2.0, 3.0], "float32", [2, 3], crow, col).to_numpy()
