"""What goes by itself: sessions that fell silent, and checkpoints whose time is over."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.house import House
from tinker_nb.server.shelf.trash import discard
from tinker_nb.server.store.ending import Endings

SHORTEST_TTL, LONGEST_TTL = 3600, 315_576_000  # an hour; ten years, leap days and all
#: How long ephemeral weights outlive a session whose client said that it was done: samplers that
#: were made in it may still be used.
FINISHED_GRACE = 3600.0
#: And one that fell silent: a laptop may sleep for a night, and its kernel then goes on.
SILENT_GRACE = 24 * 3600.0
#: Between looking up what a request names and recording the request.
_MARGIN = 5.0
_log = logging.getLogger(__name__)


def check_ttl(ttl_seconds: int | None) -> int | None:
    """Return how long something is kept, None for ever.

    Raises
    ------
    InvalidInputError
        It is less than an hour or more than ten years.
    """
    if ttl_seconds is not None and not SHORTEST_TTL <= ttl_seconds <= LONGEST_TTL:
        raise InvalidInputError(
            f"ttl_seconds is {ttl_seconds}; give {SHORTEST_TTL} (an hour) to {LONGEST_TTL} "
            "(ten years), or null to keep it for ever."
        )
    return ttl_seconds


def expiry(ttl_seconds: int | None, now: float) -> float | None:
    """Return when something ends that is kept for so long; raises as `check_ttl` does."""
    ttl = check_ttl(ttl_seconds)
    return None if ttl is None else now + ttl


def removable_before(now: float, oldest_open: float | None) -> float:
    """Return the moment before which a checkpoint must have expired for its folder to go.

    A request that came in before a checkpoint expired may still read it, so it stays until all of
    those have their results.
    """
    return (now if oldest_open is None else min(now, oldest_open)) - _MARGIN


def heard_before(now: float, awake_since: float, timeout: float) -> float | None:
    """Return the last heartbeat from before which a session has fallen silent; None for none.

    While this server itself slept or was down, nobody could be heard.
    """
    return now - timeout if now - awake_since > timeout else None


def sweep_once(house: House, now: float, awake_since: float = 0.0) -> int:
    """Let go of all whose time is over; returns how many checkpoints were removed.

    Parameters
    ----------
    house
        Whose things.
    now
        The time, in seconds since the epoch.
    awake_since
        Since when the server has been able to hear heartbeats.
    """
    endings = Endings(house.database)
    timeout = float(getattr(house.settings, "session_timeout", 300.0))
    silent = heard_before(now, awake_since, timeout)
    if silent is not None:
        endings.end_silent(silent, now, f"No heartbeat came for {timeout:g} seconds.")
    endings.let_go(now - FINISHED_GRACE, now - SILENT_GRACE, now)
    removed = endings.remove_expired(removable_before(now, endings.oldest_open()))
    for each in removed:
        discard(house.home.checkpoints, each.directory)
    return len(removed)


@dataclass
class Wakefulness:
    """Tells since when this process has been awake, from the times between its rounds.

    Parameters
    ----------
    since
        When it began, or woke.
    seen
        Its last round.
    """

    since: float
    seen: float

    def round(self, now: float, every: float) -> None:
        """Note a round; one that comes far too late, or before the last, follows a sleep."""
        if not 0 <= now - self.seen <= 2 * every + _MARGIN:
            self.since = now
        self.seen = now


async def sweep_forever(house: House, every: float) -> None:
    """Sweep once in so many seconds, until cancelled."""
    now = time.time()
    awake = Wakefulness(now, now)
    while True:
        await asyncio.sleep(every)
        now = time.time()
        awake.round(now, every)
        try:
            await asyncio.to_thread(sweep_once, house, now, awake.since)
        except Exception:  # one bad round must not end all others
            _log.exception("Sweeping failed; the next try is in %g seconds.", every)
