"""Strategies that spoil valid requests: JSON bodies and protobuf messages."""

from __future__ import annotations

import copy
import struct
from typing import Any

from hypothesis import strategies as st

from tinker_nb.wire.proto import tinker_public_pb2 as pb

_HUGE = 2**63 - 1
_NAMES = st.sampled_from(["target_tokens", "weights", "advantages", "logprobs", "mask", "", "\x00"])
_COUNTS = st.one_of(
    st.integers(-2, 6), st.sampled_from([2**31 - 1, 2**32, 2**40, _HUGE, -_HUGE - 1])
)
_LOSSES = st.sampled_from(
    [
        "cross_entropy",
        "importance_sampling",
        "ppo",
        "cispo",
        "dro",
        "custom",
        "",
        "x" * 3000,
        "\x00",
    ]
)

# JSON --------------------------------------------------------------------------------------------

#: What no field expects, and what some parser trips over.
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, 1e308, -0.0]),
    st.sampled_from(["", " ", "\x00", "\ud800", "../..", "tinker://", "tinker://a/weights/b", "é"]),
    st.sampled_from([[], {}, [[]], [None], {"": None}, ["x"], [1, "x"], {"type": "x"}]),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)


def _places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys: Any = ()
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else range(len(value))
    return [at, *(place for key in keys for place in _places(value[key], (*at, key)))]


@st.composite
def spoilt(draw: st.DrawFn, valid: dict[str, Any]) -> dict[str, Any]:
    """Return a valid body in which a few values were replaced or taken out."""
    body = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(_places(body)[1:] or [("model_id",)]))
        holder: Any = body
        for key in way:
            holder = holder[key]
        if draw(st.integers(0, 4)) == 0 and isinstance(holder, dict):
            holder.pop(last, None)
        else:
            holder[last] = copy.deepcopy(draw(ODD))  # a later turn may change what is in it
    return body


# Protobuf ----------------------------------------------------------------------------------------


def message(model_id: str, tokens: list[int]) -> pb.ForwardBackwardRequest:
    """Return a valid message."""
    call = pb.ForwardBackwardRequest(model_id=model_id, loss_fn="cross_entropy")
    datum, count = call.data.add(), len(tokens)
    datum.model_input.add().encoded_text.tokens = struct.pack(f"<{count}i", *tokens)
    target, weights = datum.loss_fn_inputs["target_tokens"], datum.loss_fn_inputs["weights"]
    target.dense, target.dtype = struct.pack(f"<{count}q", *tokens), pb.INT64
    weights.dense, weights.dtype = struct.pack(f"<{count}f", *[1.0] * count), pb.FLOAT32
    target.shape.append(count)
    weights.shape.append(count)
    return call


@st.composite
def _spoilt_tensor(draw: st.DrawFn, tensor: pb.Tensor) -> None:
    kind = draw(st.sampled_from(["shape", "dtype", "bytes", "csr", "values"]))
    if kind == "shape":
        del tensor.shape[:]
        tensor.shape.extend(draw(st.lists(_COUNTS, max_size=4)))
    elif kind == "dtype":
        tensor.dtype = draw(st.integers(0, 9))  # type: ignore[assignment]
    elif kind == "bytes":
        tensor.dense = draw(st.binary(max_size=40))
    elif kind == "values":
        odd = [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, 0.0]
        values = draw(st.lists(st.sampled_from(odd), min_size=3, max_size=3))
        tensor.dense, tensor.dtype = struct.pack("<3f", *values), pb.FLOAT32
    else:
        csr = tensor.sparse_csr
        csr.values = draw(st.binary(max_size=24))
        for name in ("crow_indices", "col_indices"):
            numbers = draw(st.lists(_COUNTS, max_size=5))
            clipped = [max(-_HUGE - 1, min(_HUGE, number)) for number in numbers]
            setattr(csr, name, struct.pack(f"<{len(clipped)}q", *clipped))


@st.composite
def _spoilt_chunk(draw: st.DrawFn, chunk: pb.Chunk) -> None:
    kind = draw(st.sampled_from(["tokens", "bytes", "image", "dmel", "empty"]))
    if kind == "tokens":
        ids = draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=4))
        chunk.encoded_text.tokens = struct.pack(f"<{len(ids)}i", *ids)
    elif kind == "bytes":
        chunk.encoded_text.tokens = draw(st.binary(max_size=15))
    elif kind == "image":
        chunk.image.data, chunk.image.format = b"\x89PNG", draw(st.sampled_from(["png", "x"]))
    elif kind == "dmel":
        chunk.dmel.dmel = draw(st.binary(max_size=8))
    else:
        chunk.Clear()


@st.composite
def spoilt_messages(draw: st.DrawFn, model_id: str) -> bytes:
    """Return a well-formed message whose content makes no sense in one to three places."""
    call = message(model_id, [1, 2, 3])
    for _ in range(draw(st.integers(1, 3))):
        datum = call.data[0] if call.data else call.data.add()
        kind = draw(st.sampled_from(["tensor", "chunk", "loss", "config", "name", "more", "seq"]))
        if kind == "tensor":
            draw(_spoilt_tensor(datum.loss_fn_inputs[draw(_NAMES)]))
        elif kind == "chunk":
            chunks = datum.model_input
            draw(_spoilt_chunk(chunks[0] if draw(st.booleans()) and chunks else chunks.add()))
        elif kind == "loss":
            call.loss_fn = draw(_LOSSES)
        elif kind == "config":
            name = draw(st.sampled_from(["clip_low_threshold", "beta", "x", ""]))
            call.loss_fn_config_v2[name].number = draw(st.floats())
        elif kind == "name":
            datum.loss_fn_inputs[draw(_NAMES)].CopyFrom(datum.loss_fn_inputs["weights"])
        elif kind == "more":
            call.data.add()
        else:
            call.seq_id = draw(st.integers(-(2**31), 2**31 - 1))
            call.forward_only = draw(st.booleans())
    return call.SerializeToString()


@st.composite
def spoilt_bytes(draw: st.DrawFn, model_id: str) -> bytes:
    """Return the bytes of a valid message, cut, flipped, doubled or with something put in."""
    body = bytearray(message(model_id, [1, 2, 3]).SerializeToString())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(body) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "put", "double"]))
        if kind == "flip" and body:
            body[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del body[place:]
        elif kind == "put":
            body[place:place] = draw(st.binary(max_size=6))
        else:
            body += body[place:]
    return bytes(body)
