"""How requests come: one after the other's result, or many at once, which is worth a moment's wait.

An idle engine that begins with the first of five computes one, then four; had it waited for the
others it would have computed all five in little more than the time of one. Who asks one by one must
not wait, so what came the last times tells.
"""

from __future__ import annotations

from dataclasses import dataclass

_QUIET = 0.003  # seconds without another arrival after which a burst is over
_REMEMBERED = 8  # bursts; who mixes both ways loses a few milliseconds at most
_LONGEST = 0.03  # seconds that the first of a burst waits at most


@dataclass
class _Burst:
    """The requests of a lane that came while others of it were not done."""

    began: float
    last: float
    count: int = 1
    before: tuple[int, ...] = ()  # how many the bursts before it had, the newest last

    @property
    def expected(self) -> int:
        """How many may come, as the last few bursts were."""
        return max(self.before, default=1)


class Bursts:
    """The bursts of each lane. Decides without a clock of its own."""

    def __init__(self) -> None:
        self._bursts: dict[str, _Burst] = {}

    def came(self, lane: str, now: float, *, alone: bool) -> None:
        """Take in that a request came; ``alone`` says that all before it were done."""
        burst = self._bursts.get(lane)
        if burst is None:
            self._bursts[lane] = _Burst(now, now)
        elif alone:
            before = (*burst.before, burst.count)[-_REMEMBERED:]
            self._bursts[lane] = _Burst(now, now, before=before)
        else:
            burst.last, burst.count = now, burst.count + 1

    def hold(self, lane: str, now: float) -> float:
        """Return how many seconds the beginning of a lane's burst should wait for the rest."""
        burst = self._bursts.get(lane)
        if burst is None or burst.count >= burst.expected:
            return 0.0
        return max(0.0, min(burst.last + _QUIET, burst.began + _LONGEST) - now)

    def forget(self, lane: str) -> None:
        """Let go of a lane that is no more."""
        self._bursts.pop(lane, None)
