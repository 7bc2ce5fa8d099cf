"""Requests for which some statuses mean something else than they usually do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from tinker_nb.client.exchange import Reply, Request
from tinker_nb.client.retry import Failure
from tinker_nb.client.server import Server
from tinker_nb.client.transport import verdict

#: Seconds until the next try, or None to give up; from the failure and the number of retries.
Patience = Callable[[Failure, int], float | None]


def give_up(_: Failure, __: int) -> None:
    """Make a status final."""


async def tell(
    server: Server, operation: str, request: Request, special: Mapping[int, Patience]
) -> Reply:
    """Send a request as `Server.tell` does, with another patience for some statuses."""
    dialect, placed = await server.placed(operation, request)
    policy, keyed = (await server.transport.ready()).retry, placed.keyed()
    started, attempt = time.monotonic(), 0
    while True:
        tried = await server.transport.once(keyed)
        if isinstance(tried, Reply):
            tried = dialect.understood(tried)
        if isinstance(tried, Reply) and tried.status < 400:
            return tried
        failure, error = verdict(tried)
        patience = special.get(failure.status or 0)
        if patience is not None:
            wait = patience(failure, attempt)
        else:
            wait = server.transport.retry_in(failure, attempt, started, policy)
        if wait is None:
            with server.naming(operation):
                raise error
        attempt += 1
        await asyncio.sleep(wait)
