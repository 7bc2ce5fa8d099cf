"""How long calls took lately: what a card says a new one may take."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict, deque

_KEPT = 64
_FEWEST = 3
_MARGIN = 0.1


class History:
    """The durations of a client's latest calls, by kind; may be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_KEPT))

    def add(self, kind: str, seconds: float) -> None:
        """Note how long a call took; the last 64 of each kind are kept."""
        if seconds < 0:
            return  # the machine's clock was set back meanwhile
        with self._lock:
            self._seconds[kind].append(seconds)

    def expect(self, kind: str) -> tuple[float, float] | None:
        """Return the range of seconds that a call of a kind may take, or None when too few ran.

        With the percentiles P and the median M of the calls kept::

            from min(P20, 0.9 M) to max(P80, 1.1 M)

        Percentiles, because a first call that loads a model, or one behind a long queue, must not
        stretch what is said of the usual one. At least a tenth to each side, because a range
        narrower than that promises more than a few samples can hold. Three samples at least: two
        cannot tell the usual one from the odd one out.
        """
        with self._lock:
            seconds = list(self._seconds.get(kind, ()))
        if len(seconds) < _FEWEST:
            return None
        low, *_, high = statistics.quantiles(seconds, n=5, method="inclusive")
        middle = statistics.median(seconds)
        return min(low, (1 - _MARGIN) * middle), max(high, (1 + _MARGIN) * middle)
