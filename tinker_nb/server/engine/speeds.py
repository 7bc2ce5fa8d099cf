"""How long work takes, learnt from what it took. No clock of its own."""

from __future__ import annotations

_MEMORY = 0.8  # weight of the past against the newest measurement


class Speeds:
    """Seconds per unit of cost, by kind of work, as a moving average."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def observe(self, kind: str, cost: float, seconds: float) -> None:
        """Take in that work of this kind and cost took so long."""
        rate = seconds / max(cost, 1.0)
        known = self._seconds.get(kind, rate)
        self._seconds[kind] = _MEMORY * known + (1.0 - _MEMORY) * rate

    def expected(self, kind: str, cost: float) -> float | None:
        """Return the seconds such work should take; None when none was seen yet."""
        rate = self._seconds.get(kind)
        return None if rate is None else rate * max(cost, 1.0)
