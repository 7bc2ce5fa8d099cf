"""How data are split, beside the official SDK's own estimate and its own splitting."""

from __future__ import annotations

import base64
import random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tinker import TrainingClient, types
from tinker.lib.public_interfaces import training_client as official

from tinker_nb.client.chunks import datum_bytes, split
from tinker_nb.wire.data import (
    Datum,
    EncodedTextChunk,
    ImageAssetPointerChunk,
    ImageChunk,
    ModelInput,
)
from tinker_nb.wire.tensors import TensorData


def datum(tokens: int) -> Datum:
    """Return a datum of 16 bytes a token: 4 for itself, 8 for its target, 4 for its weight."""
    row = np.ones(tokens)
    inputs = {"target_tokens": row.astype(np.int64), "weights": row}
    return Datum(ModelInput.from_ints([1] * tokens), inputs)


def lengths(runs: list[list[Datum]]) -> list[list[int]]:
    return [[each.model_input.length for each in run] for run in runs]


@pytest.mark.parametrize(
    ("sizes", "max_len", "max_bytes", "expected"),
    [
        ([1, 1, 1, 1, 1], 2, 10**6, [[1, 1], [1, 1], [1]]),
        ([1, 2, 3], 9, 48, [[1, 2], [3]]),  # 48 bytes just fit
        ([1, 2, 3], 9, 47, [[1], [2], [3]]),
        ([1, 50, 1, 1], 9, 100, [[1], [50], [1, 1]]),  # an oversized one goes alone
        ([50, 50], 9, 100, [[50], [50]]),
        ([1, 1], 0, 0, [[1], [1]]),  # limits that make no sense still send everything
        ([], 2, 100, []),
    ],
)
def test_runs(sizes: list[int], max_len: int, max_bytes: int, expected: list[list[int]]) -> None:
    assert lengths(split([datum(size) for size in sizes], max_len, max_bytes)) == expected


def test_nothing_is_lost_and_the_order_stays() -> None:
    data = [datum(size) for size in (3, 1, 4, 1, 5, 9, 2, 6)]
    runs = split(data, 3, 200)
    assert [id(each) for run in runs for each in run] == [id(each) for each in data]


def as_official(mine: Datum) -> Any:
    chunks: list[Any] = []
    for chunk in mine.model_input.chunks:
        fields = chunk.model_dump()
        kind = {
            "encoded_text": types.EncodedTextChunk,
            "image": types.ImageChunk,
            "image_asset_pointer": types.ImageAssetPointerChunk,
        }[fields["type"]]
        chunks.append(kind(**fields))
    inputs: Any = {
        name: types.TensorData(
            data=tensor.data,
            dtype=tensor.dtype,
            shape=tensor.shape,
            sparse_crow_indices=tensor.sparse_crow_indices,
            sparse_col_indices=tensor.sparse_col_indices,
        )
        for name, tensor in mine.loss_fn_inputs.items()
    }
    return types.Datum(model_input=types.ModelInput(chunks=chunks), loss_fn_inputs=inputs)


def mixed(image_bytes: int) -> Datum:
    image = base64.b64encode(bytes(range(image_bytes))).decode()
    chunks: list[Any] = [
        EncodedTextChunk(tokens=[1, 2, 3]),
        ImageChunk(data=image, format="png", expected_tokens=4),
        ImageAssetPointerChunk(format="jpeg", location="somewhere/far", expected_tokens=5),
    ]
    sparse = TensorData([0.5, 1.0], "float32", [2, 3], [0, 1, 2], [2, 0])
    inputs = {"target_tokens": np.arange(12), "weights": sparse}
    return Datum(ModelInput(chunks=chunks), inputs)


@pytest.mark.parametrize("image_bytes", [0, 1, 2, 3, 4, 250])
def test_the_estimate_is_the_official_one(image_bytes: int) -> None:
    mine = mixed(image_bytes)
    assert datum_bytes(mine) == official._estimate_datum_bytes_count_proto(as_official(mine))


def test_the_estimate_counts_every_sort_of_byte() -> None:
    # 3 tokens, 10 bytes of image, 13 of location, 12 targets, 2 values and 5 indices.
    assert datum_bytes(mixed(10)) == 3 * 4 + 10 + 13 + 12 * 8 + 2 * 4 + 5 * 8


@pytest.mark.parametrize("seed", range(20))
def test_it_splits_as_the_official_sdk_does(seed: int) -> None:
    chance = random.Random(seed)
    data = [datum(chance.randint(1, 12)) for _ in range(chance.randint(1, 40))]
    max_len, max_bytes = chance.randint(1, 8), chance.randint(1, 400)
    config = SimpleNamespace(fwdbwd_max_chunk_len=max_len, fwdbwd_max_chunk_bytes_count=max_bytes)
    client: Any = SimpleNamespace(holder=SimpleNamespace(_client_config=config))
    theirs = TrainingClient._chunked_requests_generator(client, [*map(as_official, data)])
    expected = [[each.model_input.length for each in chunk.data] for chunk in theirs]
    assert lengths(split(data, max_len, max_bytes)) == expected
