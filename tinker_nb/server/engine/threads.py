"""How many threads compute best: learnt from what each number took.

Two threads on two idle cores are nearly twice as fast as one. Where another process uses one of the
cores (a notebook's kernel, a browser), they wait for each other at every operation, and are several
times slower than one. Only trying tells, and it changes from minute to minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MEMORY = 0.7  # weight of the past against the newest measurement
_RETRY = 8  # jobs after which an equally good number is tried again
_SHORTEST = 1e-9  # seconds; a clock may stand still
_SELDOM = 256  # the same for the worst


@dataclass
class _Tried:
    """What is known of work of one kind and size."""

    seconds: dict[int, float] = field(default_factory=dict)  # per unit of size, by threads
    since: dict[int, int] = field(default_factory=dict)  # jobs since each number was tried


class Threads:
    """Chooses a number of threads for each job.

    Parameters
    ----------
    numbers
        To choose from, the one to begin with first.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._tried: dict[tuple[str, int], _Tried] = {}

    def choose(self, kind: str, size: float) -> int:
        """Return the number of threads for work of a kind and size."""
        tried = self._of(kind, size)
        for number in self._numbers:
            if number not in tried.seconds:
                return number
        best = min(tried.seconds, key=tried.seconds.__getitem__)
        for number in self._numbers:
            ratio = tried.seconds[number] / tried.seconds[best]
            if tried.since[number] >= min(_RETRY * ratio * ratio, _SELDOM):
                return number
        return best

    def observe(self, kind: str, size: float, threads: int, seconds: float) -> None:
        """Take in how long work took with some threads."""
        tried = self._of(kind, size)
        rate = max(seconds, _SHORTEST) / max(size, 1.0)
        known = tried.seconds.get(threads, rate)
        # What was not tried for long says little of today.
        memory = _MEMORY if tried.since.get(threads, 0) <= _RETRY else 1.0 - _MEMORY
        tried.seconds[threads] = memory * known + (1.0 - memory) * rate
        for number in self._numbers:
            tried.since[number] = 0 if number == threads else tried.since.get(number, 0) + 1

    def _of(self, kind: str, size: float) -> _Tried:
        """Return what is known of work within a factor of two in size."""
        return self._tried.setdefault((kind, int(size).bit_length()), _Tried())


def numbers_to_try(most: int) -> tuple[int, ...]:
    """Return the numbers of threads worth trying on so many cores, the safest first."""
    return tuple(sorted({1, max(1, most // 2), most}))
