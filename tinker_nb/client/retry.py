"""Whether a submission is tried again, and when. Pure: time and chance come from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_TRANSIENT = frozenset({402, 408, 409, 425, 429})
#: With these a server says that it has not begun.
_NOT_TAKEN = frozenset({402, 408, 425, 429, 503})
_BILLING_PAUSE = 5.0
_EAGER_RETRIES = 3


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
    conflict_patience
        The same for 409: a lasting one ("already public") must not hold a person for minutes.
    billing_patience
        The same for 402. A submission that cannot be paid for is best told at once; work that the
        server holds already is waited for longer.
    """

    first_delay: float = 0.5
    longest_delay: float = 10.0
    patience: float = 300.0
    refused_patience: float = 3.0
    conflict_patience: float = 5.0
    billing_patience: float = 0.0

    def patience_for(self, failure: Failure) -> float:
        """Return the seconds after which a failure of this sort is final."""
        if failure.refused:
            return self.refused_patience
        special = {402: self.billing_patience, 409: self.conflict_patience}
        return special.get(failure.status or 0, self.patience)

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
    repeatable: bool = True,
) -> float | None:
    """Return the seconds to wait before trying again, or None to give up.

    Parameters
    ----------
    failure
        What happened.
    attempt
        How many retries there were before.
    elapsed
        Seconds since the first try that failed.
    chance
        A number from 0 to 1 that spreads clients in time.
    policy
        How patient to be.
    repeatable
        Whether sending it twice does no harm. If it does, a request whose answer got lost is not
        sent again, for nobody knows whether the server has it.
    """
    if not is_transient(failure) or (is_uncertain(failure) and not repeatable):
        return None
    wait = _asked_for(failure.headers)
    if wait is None:
        wait = _BILLING_PAUSE if failure.status == 402 else policy.delay(attempt, chance)
    elif attempt >= _EAGER_RETRIES:
        # Who says "at once" for ever must not be asked in a busy loop.
        wait = max(wait, policy.first_delay)
    return wait if elapsed + wait <= policy.patience_for(failure) else None


def is_transient(failure: Failure) -> bool:
    """Say whether the same request may go well later."""
    if failure.status is None:
        return True
    asked = (failure.headers or {}).get("x-should-retry")
    if asked in ("true", "false"):
        return asked == "true"
    return failure.status in _TRANSIENT or failure.status >= 500


def is_uncertain(failure: Failure) -> bool:
    """Say whether the server may have taken the request all the same."""
    if failure.status is None:
        return not failure.refused
    asked = (failure.headers or {}).get("x-should-retry")
    return failure.status >= 500 and failure.status not in _NOT_TAKEN and asked is None


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
