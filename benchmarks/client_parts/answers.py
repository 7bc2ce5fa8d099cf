"""The stub's results, computed once and copied for each future."""

from __future__ import annotations

import struct
from array import array
from functools import lru_cache

from benchmarks.client_parts.http1 import answer
from benchmarks.client_parts.stamps import split_stamp
from tinker_nb.wire.proto import tinker_public_pb2 as pb

PROTOBUF = "application/x-protobuf"
_STAMP = struct.Struct("<ii")


class SampleAnswers:
    """Answers with drawn sequences, whose first two tokens tell when they were done.

    Parameters
    ----------
    tokens
        How many tokens each sequence has.
    """

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens
        self._split = lru_cache(maxsize=8)(self._halves)

    def _halves(self, num_samples: int) -> list[bytes]:
        mark = _STAMP.pack(0x7ABCDEF1, 0x7BADCAFE)
        tokens = mark + array("i", range(self._tokens - 2)).tobytes()
        logprobs = array("f", [-0.5] * self._tokens).tobytes()
        one = pb.SampledSequence(stop_reason=pb.LENGTH, tokens=tokens, logprobs=logprobs)
        body = pb.SampleResponse(sequences=[one] * num_samples).SerializeToString()
        return answer(200, body, PROTOBUF).split(mark)

    def whole(self, num_samples: int, done_at: int) -> bytes:
        """Return the HTTP answer of one future."""
        return _STAMP.pack(*split_stamp(done_at)).join(self._split(num_samples))


def trained(body: bytes) -> bytes:
    """Return the HTTP answer to a forward or forward_backward with this body."""
    request = pb.ForwardBackwardRequest.FromString(body)
    return _trained(tuple(_length(datum) for datum in request.data))


def _length(datum: pb.Datum) -> int:
    # Every chunk of the benchmark is text: four bytes a token.
    return sum(len(chunk.encoded_text.tokens) for chunk in datum.model_input) // 4


@lru_cache(maxsize=64)
def _trained(lengths: tuple[int, ...]) -> bytes:
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + 4 * length)
    logprobs = pb.BatchedTensor(
        data=array("f", [-0.5] * (ends[-1] // 4)).tobytes(),
        offsets=array("q", ends).tobytes(),
        dtype=pb.FLOAT32,
    )
    record = pb.ArrayRecord(
        type_tag="logprobs", fields={"logprobs": logprobs}, num_datums=len(lengths)
    )
    output = pb.ForwardBackwardOutput(
        loss_fn_output_type="ArrayRecord", loss_fn_outputs=[record], metrics={"loss:sum": 1.5}
    )
    return answer(200, output.SerializeToString(), PROTOBUF)
