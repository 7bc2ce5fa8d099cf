"""The states of a future, and the picture of one that cards, journal and logs read. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from tinker_nb.errors import InvalidTransitionError, TinkerError


class FutureState(enum.Enum):
    """Where a request is. The order is the way of a request that goes well."""

    CREATED = "created"  # waits for its turn on this side
    SENDING = "sending"  # on its way to the server
    ACCEPTED = "accepted"  # the server gave it an id
    QUEUED = "queued"  # the server says it waits
    RUNNING = "running"  # the server says it works on it
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"  # given up on this side
    LOST = "lost"  # the server no longer knows it

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {FutureState.DONE, FutureState.FAILED, FutureState.CANCELLED, FutureState.LOST}
)
_OPEN = (
    FutureState.CREATED,
    FutureState.SENDING,
    FutureState.ACCEPTED,
    FutureState.QUEUED,
    FutureState.RUNNING,
)
# A server may put a request it had begun back into its queue; nothing else goes backwards.
_NEXT: Mapping[FutureState, frozenset[FutureState]] = {
    state: frozenset(_OPEN[i + 1 :]) | FINAL_STATES for i, state in enumerate(_OPEN)
} | {FutureState.RUNNING: FINAL_STATES | {FutureState.QUEUED}}


@dataclass(frozen=True)
class QueueNote:
    """What the server last said about a waiting request.

    Parameters
    ----------
    reason
        In the server's words.
    place
        How many requests are ahead; ``None`` when the server does not say.
    eta_seconds
        The server's own estimate.
    """

    reason: str | None = None
    place: int | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True)
class FutureSnapshot:
    """A future at one moment: a plain value, safe to read on any thread.

    Parameters
    ----------
    key
        This client's own number for the future, unique in the process.
    kind
        What was asked, in the protocol's words: ``ForwardBackward``, ``OptimStep``, ``Sample`` …
    state
        Where it is.
    times
        When it entered each state, in seconds since the epoch.
    model_id, request_id
        The server's ids, as far as they are known.
    queue
        What the server said of its queue.
    expected
        Seconds from acceptance to result that calls of this kind took lately on this client, as a
        range; None when too few are known.
    attempt
        How many times the present exchange was tried again; 0 when it went at once.
    last_answer
        When the server last answered anything about it.
    note
        What goes on right now when it is not the usual, such as "429, next try in 4 s".
    is_local
        Whether the work is done on this side, so that nothing is sent or queued.
    result
        The result, when done.
    error
        Why it failed, when it did.
    """

    key: int
    kind: str
    state: FutureState = FutureState.CREATED
    times: Mapping[FutureState, float] = field(default_factory=lambda: MappingProxyType({}))
    model_id: str | None = None
    request_id: str | None = None
    queue: QueueNote | None = None
    expected: tuple[float, float] | None = None
    attempt: int = 0
    last_answer: float | None = None
    note: str | None = None
    is_local: bool = False
    result: Any = field(default=None, repr=False)
    error: TinkerError | None = None

    @property
    def started(self) -> float:
        """When it was created."""
        return self.times[FutureState.CREATED]

    def seconds(self, now: float) -> float:
        """How long it has taken so far, or took."""
        end = self.times[self.state] if self.state.is_final else now
        return end - self.started

    def entered(self, state: FutureState, now: float, **changes: Any) -> FutureSnapshot:
        """Return the picture after entering a state.

        Raises
        ------
        InvalidTransitionError
            That state cannot follow the present one.
        """
        if state is self.state:
            return replace(self, **changes)
        if state not in _NEXT.get(self.state, frozenset()):
            raise InvalidTransitionError(
                f"A future that is {self.state.value} cannot become {state.value}.",
                request_id=self.request_id,
            )
        times = MappingProxyType({**self.times, state: now})
        return replace(self, state=state, times=times, **changes)


def new_snapshot(
    key: int, kind: str, now: float, model_id: str | None = None, *, is_local: bool = False
) -> FutureSnapshot:
    """Return the picture of a future just created."""
    times = MappingProxyType({FutureState.CREATED: now})
    return FutureSnapshot(key, kind, times=times, model_id=model_id, is_local=is_local)
