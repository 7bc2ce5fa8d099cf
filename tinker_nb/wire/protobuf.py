"""Protobuf bodies to our types and back (section 2.4 of the protocol)."""

from __future__ import annotations

import base64
import itertools
import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.data import Datum, EncodedTextChunk, ImageChunk, ModelInput
from tinker_nb.wire.proto import tinker_public_pb2 as pb
from tinker_nb.wire.results import (
    ForwardBackwardOutput,
    PromptAltTokens,
    SampledSequence,
    SampleResponse,
    TopkRow,
)
from tinker_nb.wire.tensors import NUMPY_DTYPES, TensorData, TensorDtype

CONTENT_TYPE = "application/x-protobuf"
MISSING_TOPK = -99999.0
_NO_CELL = (0, MISSING_TOPK)

_TO_PB = {"float32": pb.FLOAT32, "int64": pb.INT64}
_FROM_PB: dict[int, tuple[TensorDtype, str]] = {
    pb.FLOAT32: ("float32", "<f4"),
    pb.INT64: ("int64", "<i8"),
    pb.INT32: ("int64", "<i4"),
}


@dataclass(frozen=True)
class ForwardBackwardRequest:
    """The logical content of a forward or forward_backward call, whatever its encoding."""

    model_id: str
    data: Sequence[Datum]
    loss_fn: str
    loss_fn_config: dict[str, float | str] = field(default_factory=dict)
    seq_id: int | None = None
    forward_only: bool = False


# Requests ----------------------------------------------------------------------------------------


def encode_forward_backward(request: ForwardBackwardRequest) -> bytes:
    """Return the body of ``POST /api/v1/forward_backward``."""
    message = pb.ForwardBackwardRequest(
        model_id=request.model_id,
        seq_id=request.seq_id or 0,
        loss_fn=request.loss_fn,
        forward_only=request.forward_only,
    )
    for datum in request.data:
        _fill_datum(message.data.add(), datum)
    for key, value in request.loss_fn_config.items():
        if isinstance(value, str):
            message.loss_fn_config_v2[key].text = value
        else:
            message.loss_fn_config[key] = value
            message.loss_fn_config_v2[key].number = value
    return message.SerializeToString()


def decode_forward_backward(body: bytes) -> ForwardBackwardRequest:
    """Read such a body; raises `InvalidInputError` when it is not one."""
    message = _parsed(pb.ForwardBackwardRequest(), body)
    config: dict[str, float | str] = dict(message.loss_fn_config)
    for key, value in message.loss_fn_config_v2.items():
        config[key] = value.text if value.WhichOneof("value") == "text" else value.number
    return ForwardBackwardRequest(
        model_id=message.model_id,
        data=[_read_datum(datum) for datum in message.data],
        loss_fn=message.loss_fn,
        loss_fn_config=config,
        seq_id=message.seq_id or None,
        forward_only=message.forward_only,
    )


def _fill_datum(message: pb.Datum, datum: Datum) -> None:
    for chunk in datum.model_input.chunks:
        if isinstance(chunk, EncodedTextChunk):
            message.model_input.add().encoded_text.tokens = _packed_tokens(chunk.tokens)
        elif isinstance(chunk, ImageChunk):
            image = message.model_input.add().image
            image.data, image.format = base64.b64decode(chunk.data), chunk.format
            if chunk.expected_tokens is not None:
                image.expected_tokens = chunk.expected_tokens
        else:
            raise InvalidInputError(f"A chunk of type {chunk.type!r} cannot be trained on.")
    for name, tensor in datum.loss_fn_inputs.items():
        _fill_tensor(message.loss_fn_inputs[name], tensor)


def _packed_tokens(tokens: Sequence[int]) -> bytes:
    try:
        packed = array("i", tokens)  # several times faster than NumPy from a list
    except (OverflowError, TypeError) as error:
        raise InvalidInputError(f"Token ids must be integers of 32 bits: {error}.") from error
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def _read_datum(message: pb.Datum) -> Datum:
    chunks = [_read_chunk(chunk) for chunk in message.model_input]
    inputs = {name: _read_tensor(tensor) for name, tensor in message.loss_fn_inputs.items()}
    return Datum(ModelInput(chunks=chunks), inputs)  # type: ignore[arg-type]  # list invariance


def _read_chunk(message: pb.Chunk) -> EncodedTextChunk:
    if message.WhichOneof("chunk") != "encoded_text":
        raise InvalidInputError("This server reads text only; a chunk is not encoded_text.")
    tokens = _array(message.encoded_text.tokens, "<i4").tolist()
    # Token ids need no second check here: the engine compares them with its vocabulary at once.
    return EncodedTextChunk.model_construct(type="encoded_text", tokens=tokens)


def _fill_tensor(message: pb.Tensor, tensor: TensorData) -> None:
    message.dtype = _TO_PB[tensor.dtype]
    message.shape.extend(tensor.shape or [])
    if tensor.sparse_crow_indices is None:
        message.dense = tensor.values.tobytes()
        return
    message.sparse_csr.values = tensor.values.tobytes()
    message.sparse_csr.crow_indices = np.asarray(tensor.sparse_crow_indices, "<i8").tobytes()
    message.sparse_csr.col_indices = np.asarray(tensor.sparse_col_indices or [], "<i8").tobytes()


def _read_tensor(message: pb.Tensor) -> TensorData:
    if message.dtype not in _FROM_PB:
        raise InvalidInputError(f"A tensor has the unknown dtype {message.dtype}.")
    dtype, layout = _FROM_PB[message.dtype]
    shape = list(message.shape) or None
    if message.WhichOneof("storage") != "sparse_csr":
        return TensorData(_array(message.dense, layout), dtype, shape)
    csr = message.sparse_csr
    return TensorData(
        _array(csr.values, layout),
        dtype,
        shape,
        _array(csr.crow_indices, "<i8").tolist(),
        _array(csr.col_indices, "<i8").tolist(),
    )


# Results of forward and forward_backward ---------------------------------------------------------


def encode_output(output: ForwardBackwardOutput) -> bytes:
    """Return a forward_backward result as the SDK reads it."""
    message = pb.ForwardBackwardOutput(
        loss_fn_output_type=output.loss_fn_output_type, metrics=output.metrics
    )
    for group in _same_trailing_shape(output.loss_fn_outputs):
        record = message.loss_fn_outputs.add(type_tag="ArrayRecord", num_datums=len(group))
        for name in group[0]:
            _fill_batched(record.fields[name], [datum[name] for datum in group])
    return message.SerializeToString()


def decode_output(body: bytes) -> ForwardBackwardOutput:
    """Read a forward_backward result."""
    message = _parsed(pb.ForwardBackwardOutput(), body)
    outputs: list[dict[str, TensorData]] = []
    for record in message.loss_fn_outputs:
        outputs.extend(_read_record(record))
    kind = message.loss_fn_output_type.rpartition(":")[2]
    return ForwardBackwardOutput(kind, outputs, dict(message.metrics))


def _same_trailing_shape(
    outputs: list[dict[str, TensorData]],
) -> Iterable[list[dict[str, TensorData]]]:
    """Split into runs whose tensors differ in their first dimension only."""
    group: list[dict[str, TensorData]] = []
    key: object = None
    for datum in outputs:
        now = {name: tuple((tensor.shape or [])[1:]) for name, tensor in datum.items()}
        if group and now != key:
            yield group
            group = []
        key = now
        group.append(datum)
    if group:
        yield group


def _fill_batched(message: pb.BatchedTensor, tensors: list[TensorData]) -> None:
    parts = [tensor.to_numpy().tobytes() for tensor in tensors]
    offsets = np.cumsum([0, *(len(part) for part in parts)], dtype="<i8")
    message.data, message.offsets = b"".join(parts), offsets.tobytes()
    message.dtype = _TO_PB[tensors[0].dtype]
    message.trailing_shape.extend((tensors[0].shape or [])[1:])


def _read_record(record: pb.ArrayRecord) -> list[dict[str, TensorData]]:
    columns = {name: _read_batched(field) for name, field in record.fields.items()}
    count = record.num_datums or max((len(column) for column in columns.values()), default=0)
    return [{name: column[i] for name, column in columns.items()} for i in range(count)]


def _read_batched(message: pb.BatchedTensor) -> list[TensorData]:
    offsets = _array(message.offsets, "<i8").tolist()
    trailing = list(message.trailing_shape)
    dtype, values, size = _read_values(message)
    rows = (values[start // size : end // size] for start, end in itertools.pairwise(offsets))
    return [TensorData(row.reshape(-1, *trailing), dtype) for row in rows]


def _read_values(message: pb.BatchedTensor) -> tuple[TensorDtype, npt.NDArray[Any], int]:
    """Return the values of all datums in one array that may be written to, and bytes per value."""
    if message.dtype == pb.BFLOAT16:
        # A bfloat16 is the upper half of a float32.
        wide = (_array(message.data, "<u2").astype(np.uint32) << 16).view(np.float32)
        return "float32", wide, 2
    if message.dtype not in _FROM_PB:
        raise InvalidInputError(f"A tensor has the unknown dtype {message.dtype}.")
    dtype, layout = _FROM_PB[message.dtype]
    return (
        dtype,
        _array(message.data, layout).astype(NUMPY_DTYPES[dtype]),
        np.dtype(layout).itemsize,
    )


# Results of sample -------------------------------------------------------------------------------


def encode_sample(response: SampleResponse) -> bytes:
    """Return a sample result as the SDK reads it."""
    message = pb.SampleResponse()
    for sequence in response.sequences:
        entry = message.sequences.add(tokens=np.asarray(sequence.tokens, "<i4").tobytes())
        entry.stop_reason = pb.LENGTH if sequence.stop_reason == "length" else pb.STOP
        if sequence.logprobs is not None:
            entry.logprobs = np.asarray(sequence.logprobs, "<f4").tobytes()
    if response.prompt_logprobs is not None:
        scores = [math.nan if value is None else value for value in response.prompt_logprobs]
        message.prompt_logprobs = np.asarray(scores, "<f4").tobytes()
    if response.topk_prompt_logprobs is not None:
        _fill_topk(message.topk_prompt_logprobs, response.topk_prompt_logprobs)
    return message.SerializeToString()


def decode_sample(body: bytes, sequence_ids: Sequence[str] = ()) -> SampleResponse:
    """Read a sample result; the ids came with the future."""
    message = _parsed(pb.SampleResponse(), body)
    ids = [*sequence_ids, *[""] * len(message.sequences)]
    scores = None
    if message.prompt_logprobs:
        raw = _array(message.prompt_logprobs, "<f4").tolist()
        scores = [None if math.isnan(value) else value for value in raw]
    topk = (
        _read_topk(message.topk_prompt_logprobs)
        if message.HasField("topk_prompt_logprobs")
        else None
    )
    sequences = [
        _read_sequence(entry, sequence_id)
        for entry, sequence_id in zip(message.sequences, ids, strict=False)
    ]
    targets = message.target_prompt_logprobs if message.HasField("target_prompt_logprobs") else None
    return SampleResponse(
        sequences,
        scores,
        topk,
        target_prompt_logprobs=_read_tensor(targets) if targets is not None else None,
        prompt_cache_hit_tokens=message.prompt_cache_hit_tokens,
        prompt_alt_tokens=_read_alternatives(message),
    )


def _read_alternatives(message: pb.SampleResponse) -> PromptAltTokens | None:
    if not message.HasField("prompt_alt_tokens"):
        return None
    drawn = message.prompt_alt_tokens
    return PromptAltTokens(_read_tensor(drawn.tokens), _read_tensor(drawn.logprobs))


def _read_sequence(message: pb.SampledSequence, sequence_id: str) -> SampledSequence:
    has_topk = message.HasField("topk_sampled_logprobs")
    return SampledSequence(
        stop_reason="length" if message.stop_reason == pb.LENGTH else "stop",
        tokens=_array(message.tokens, "<i4").tolist(),
        logprobs=_array(message.logprobs, "<f4").tolist() if message.logprobs else None,
        sequence_id=sequence_id,
        topk_logprobs=_read_topk(message.topk_sampled_logprobs) if has_topk else None,
    )


def _fill_topk(message: pb.TopkLogprobs, rows: list[TopkRow]) -> None:
    k = max((len(row) for row in rows if row), default=1)
    ids = np.zeros((len(rows), k), "<i4")
    scores = np.full((len(rows), k), MISSING_TOPK, "<f4")
    for i, row in enumerate(rows):
        for j, (token, score) in enumerate(row or ()):
            ids[i, j], scores[i, j] = token, score
    message.token_ids, message.logprobs = ids.tobytes(), scores.tobytes()
    message.k, message.length = k, len(rows)


def _read_topk(message: pb.TopkLogprobs) -> list[TopkRow] | None:
    if not message.k or not message.length:
        return None
    shape = (message.length, message.k)
    ids = _array(message.token_ids, "<i4").reshape(shape).tolist()
    scores = _array(message.logprobs, "<f4").reshape(shape).tolist()
    return [_topk_row(list(zip(*pair, strict=True))) for pair in zip(ids, scores, strict=True)]


def _topk_row(cells: list[tuple[int, float]]) -> TopkRow:
    """Drop the cells at the end that stand for none; a row that begins with one has none at all."""
    if cells[0] == _NO_CELL:
        return None
    while cells[-1] == _NO_CELL:
        cells.pop()
    return cells


# Shared ------------------------------------------------------------------------------------------


def _parsed(message: Any, body: bytes) -> Any:
    try:
        message.ParseFromString(body)
    except DecodeError as error:
        raise InvalidInputError("The protobuf body cannot be read.") from error
    return message


def _array(raw: bytes, layout: str) -> npt.NDArray[Any]:
    if len(raw) % np.dtype(layout).itemsize:
        raise InvalidInputError("A tensor's bytes do not divide into its values.")
    return np.frombuffer(raw, dtype=layout)
