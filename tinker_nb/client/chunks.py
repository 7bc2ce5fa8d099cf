"""How data are split over several requests (section 5.1 of the protocol). Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tinker_nb.wire.data import Datum, EncodedTextChunk, ImageAssetPointerChunk, ImageChunk

_TOKEN_BYTES = 4


def split(data: Sequence[Datum], max_len: int, max_bytes: int) -> list[list[Datum]]:
    """Return the data in order, in runs that each fit one request.

    Parameters
    ----------
    data
        Examples.
    max_len
        The most datums of a run.
    max_bytes
        The most bytes of a run, as `datum_bytes` counts them. A datum that has more goes alone.
    """
    runs: list[list[Datum]] = []
    run_bytes = 0
    for datum in data:
        size = datum_bytes(datum)
        if not runs or len(runs[-1]) >= max_len or run_bytes + size > max_bytes:
            runs.append([])
            run_bytes = 0
        runs[-1].append(datum)
        run_bytes += size
    return runs


def datum_bytes(datum: Datum) -> int:
    """Return about how many bytes a datum takes in a request."""
    chunks = sum(_chunk_bytes(chunk) for chunk in datum.model_input.chunks)
    return chunks + sum(tensor.nbytes for tensor in datum.loss_fn_inputs.values())


def _chunk_bytes(chunk: EncodedTextChunk | ImageChunk | ImageAssetPointerChunk) -> int:
    if isinstance(chunk, ImageChunk):
        # It travels as raw bytes; decoding megabytes only to count them would be a waste.
        return len(chunk.data) * 3 // 4 - chunk.data[-2:].count("=")
    if isinstance(chunk, ImageAssetPointerChunk):
        return len(chunk.location)
    return chunk.length * _TOKEN_BYTES
