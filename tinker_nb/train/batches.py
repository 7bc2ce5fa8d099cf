"""Batches of a data set, shuffled anew each epoch. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tinker_nb.errors import InvalidInputError

T = TypeVar("T")


def batches(data: Sequence[T], batch_size: int, *, seed: int | None = 0) -> Iterator[list[T]]:
    """Yield batches for ever, each epoch in a new order.

    A batch may span two epochs, so that all have the same size.

    Parameters
    ----------
    data
        The examples.
    batch_size
        Examples per batch; more than there are means all of them each time.
    seed
        Seed of the order; None keeps the data's own order.

    Raises
    ------
    InvalidInputError
        There are no data, or the size is below 1.
    """
    if not data:
        raise InvalidInputError("There is no data: give at least one example.")
    if batch_size < 1:
        raise InvalidInputError(f"The batch size must be at least 1, not {batch_size}.")
    return _endless(data, min(batch_size, len(data)), seed)


def _endless(data: Sequence[T], size: int, seed: int | None) -> Iterator[list[T]]:
    order = random.Random(seed)  # noqa: S311  # a repeatable order, not a secret
    waiting: list[T] = []
    while True:
        while len(waiting) < size:
            epoch = list(data)
            if seed is not None:
                order.shuffle(epoch)
            waiting += epoch
        batch, waiting = waiting[:size], waiting[size:]
        yield batch
