"""Batches: every example once an epoch, the same order for the same seed."""

from __future__ import annotations

from itertools import islice

import pytest

from tinker_nb.errors import InvalidInputError
from tinker_nb.train.batches import batches

DATA = list(range(10))


def taken(count: int, size: int, seed: int | None = 0) -> list[list[int]]:
    return list(islice(batches(DATA, size, seed=seed), count))


def test_each_epoch_holds_every_example_once() -> None:
    flat = [item for batch in taken(10, 3) for item in batch]
    assert sorted(flat[:10]) == sorted(flat[10:20]) == DATA


def test_all_batches_have_the_same_size() -> None:
    assert {len(batch) for batch in taken(20, 3)} == {3}


def test_the_seed_decides_the_order() -> None:
    assert taken(5, 4, seed=1) == taken(5, 4, seed=1) != taken(5, 4, seed=2)


def test_without_a_seed_the_order_is_kept() -> None:
    assert taken(2, 5, seed=None) == [DATA[:5], DATA[5:]]


def test_a_batch_larger_than_the_data_is_all_of_them() -> None:
    assert [sorted(batch) for batch in taken(2, 99)] == [DATA, DATA]


@pytest.mark.parametrize(("data", "size"), [([], 4), (DATA, 0)])
def test_nothing_to_batch_is_refused(data: list[int], size: int) -> None:
    with pytest.raises(InvalidInputError):
        batches(data, size)
