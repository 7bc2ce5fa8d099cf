"""Futures of requests that were submitted earlier, by this or another process."""

from __future__ import annotations

import asyncio
from typing import Any

from tinker_nb.client.addresses import Known
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.journey import Journey
from tinker_nb.client.kinds import kind_named
from tinker_nb.client.operations import Call, Numbers
from tinker_nb.client.references import FutureReference
from tinker_nb.client.server import Greeting, Server
from tinker_nb.client.states import FutureState
from tinker_nb.client.work import Work
from tinker_nb.wire.metrics import merge_outputs
from tinker_nb.wire.results import ForwardBackwardOutput


def collected(
    server: Server, reference: FutureReference, loop: asyncio.AbstractEventLoop
) -> TinkerFuture[Any]:
    """Return the future that a reference names, collected on a loop."""
    kind, accepted = kind_named(reference.kind), reference.accepted()
    future: TinkerFuture[Any] = TinkerFuture(kind.name)
    call: Call[Any] = Call(kind, _nothing_to_ask, _reader(kind.result))
    journey = Journey(call, future, server, Known(""), int, accepted=accepted)
    future._change(FutureState.ACCEPTED, request_id=accepted[0].request_id)
    Work(future, journey).start(loop)
    return future


async def _nothing_to_ask(_: str, __: Numbers, ___: Greeting) -> list[Any]:
    return []


def _reader(result: type[Any]) -> Any:
    return merge_outputs if result is ForwardBackwardOutput else _only


def _only(results: list[Any]) -> Any:
    return results[0]
