"""Whether a submission is tried again, and when. Pure: time and chance come from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_TRANSIENT = frozenset({408, 409, 425, 429})


@dataclass(frozen=True)
class RetryPolicy:
    """How patient a client is.

    Parameters
    ----------
    first_delay, longest_delay
        Seconds before the first retry, doubled each time up to the longest.
    patience
        Seconds after which a transient failure is final.
    refused_patience
        The same for a connection that is refused: nothing listens, and a person waits to know.
    """

    first_delay: float = 0.5
    longest_delay: float = 10.0
    patience: float = 300.0
    refused_patience: float = 3.0

    def delay(self, attempt: int, chance: float) -> float:
        """Return the seconds before retry number ``attempt`` (from 0); chance is in 0..1."""
        # min() keeps 2**attempt from overflowing a float on very long outages.
        wait = min(self.first_delay * 2.0 ** min(attempt, 32), self.longest_delay)
        return wait * (0.75 + 0.25 * chance)


DEFAULT_POLICY = RetryPolicy()


@dataclass(frozen=True)
class Failure:
    """One try that did not go well: a status with headers, or no answer at all."""

    status: int | None = None
    headers: Mapping[str, str] | None = None
    refused: bool = False
    reason: str = ""


def retry_delay(
    failure: Failure,
    *,
    attempt: int,
    elapsed: float,
    chance: float,
    policy: RetryPolicy = DEFAULT_POLICY,
) -> float | None:
    """Return the seconds to wait before trying again, or None to give up.

    Parameters
    ----------
    failure
        What happened.
    attempt
        How many retries there were before.
    elapsed
        Seconds since the first try.
    chance
        A number from 0 to 1 that spreads clients in time.
    policy
        How patient to be.
    """
    if not is_transient(failure):
        return None
    wait = _asked_for(failure.headers)
    if wait is None:
        wait = policy.delay(attempt, chance)
    patience = policy.refused_patience if failure.refused else policy.patience
    return wait if elapsed + wait <= patience else None


def is_transient(failure: Failure) -> bool:
    """Say whether the same request may go well later."""
    if failure.status is None:
        return True
    asked = (failure.headers or {}).get("x-should-retry")
    if asked in ("true", "false"):
        return asked == "true"
    return failure.status in _TRANSIENT or failure.status >= 500


def _asked_for(headers: Mapping[str, str] | None) -> float | None:
    """Return what ``retry-after-ms`` or ``Retry-After`` asks for, when it is at most a minute."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float((headers or {})[name]) * unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds <= 60:
            return seconds
    return None


def retry_note(failure: Failure, delay: float) -> str:
    """Return what a card says while it waits: ``429, next try in 4 s``."""
    what = str(failure.status) if failure.status else failure.reason or "no answer"
    return f"{what}, next try in {delay:.0f} s" if delay >= 1 else f"{what}, trying again"
