"""A moment in nanoseconds, hidden in two token ids: the stub tells so when it was done.

``time.monotonic_ns`` is one clock for all processes of a machine. Imports nothing, so that the
process that measures one package never loads the other.
"""

from __future__ import annotations

from collections.abc import Sequence

_HALF = 31  # bits of the moment in each token: tokens are positive int32


def split_stamp(stamp: int) -> tuple[int, int]:
    """Return a moment as two token ids."""
    return stamp >> _HALF, stamp & (1 << _HALF) - 1


def join_stamp(tokens: Sequence[int]) -> int:
    """Return the moment that `split_stamp` hid in the first two tokens."""
    return int(tokens[0]) << _HALF | int(tokens[1])
