"""A proxy that does to requests what bad networks and busy servers do to them.

It stands between the client and a real server, so that a test can see what the server truly did.
"""

from __future__ import annotations

import asyncio
import enum
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tinker_nb.client.loops import LoopThread

_HOP_BY_HOP = {"content-length", "transfer-encoding", "connection", "date", "server"}
_WAIT = 30.0


class Way(enum.Enum):
    """How an answer reaches the client."""

    WHOLE = enum.auto()
    DROPPED = enum.auto()  # the connection is closed in order, and nothing came
    RESET = enum.auto()  # the connection breaks, and nothing came
    CUT = enum.auto()  # the connection is closed in the middle of the body
    SHORT = enum.auto()  # the body is shorter than was announced
    HALTED = enum.auto()  # after half of the body nothing more comes


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What happens to one request.

    Parameters
    ----------
    name
        What a person calls it.
    passes
        How often the server gets it; it may be several times at once.
    given
        Which of the server's answers the client gets.
    way
        How it gets it.
    said
        What it gets instead.
    delay
        Seconds for which the answer is held back.
    """

    name: str
    passes: int = 1
    given: int = 0
    way: Way = Way.WHOLE
    said: Said | None = None
    delay: float = 0.0

    def __str__(self) -> str:
        return self.name


def say(
    status: int,
    body: object = b"",
    name: str = "",
    *,
    kind: str = "application/json",
    **headers: str,
) -> Fault:
    """Return the fault of a proxy that answers by itself; the server never hears of it."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {each.replace("_", "-"): value for each, value in headers.items()}
    said = Said(status, content, {"Content-Type": kind, **named})
    return Fault(name or str(status), passes=0, said=said)


PAGE = b"<html><body>The gateway is busy.</body></html>"
DROPPED = Fault("dropped", passes=0, way=Way.DROPPED)
RESET = Fault("reset", passes=0, way=Way.RESET)
LOST = Fault("done-but-lost", way=Way.DROPPED)
LOST_RESET = Fault("done-but-reset", way=Way.RESET)
CUT = Fault("cut", way=Way.CUT)
SHORT = Fault("short", way=Way.SHORT)
HALTED = Fault("halted", way=Way.HALTED)
SLOW = Fault("slow", delay=0.1)
FIRST_OF_TWO = Fault("first-of-two", passes=2)
SECOND_OF_TWO = Fault("second-of-two", passes=2, given=1)
PAGE_200 = say(200, PAGE, "page-200", kind="text/html")
PAGE_502 = say(502, PAGE, "page-502", kind="text/html")
EMPTY = say(200, b"", "empty")
EMPTY_BINARY = say(200, b"", "empty-binary", kind="application/x-protobuf")


@dataclass(frozen=True)
class Asked:
    """A request as a plan sees it.

    Parameters
    ----------
    name
        The last part of its path, such as ``optim_step``.
    kind
        Which call a poll is for, such as ``OptimStep``; empty for what is no poll.
    number
        How many there were before: of this path, or for the same future.
    """

    name: str
    kind: str
    number: int


#: Says what happens to a request.
Plan = Callable[[Asked], Fault | None]


def no_faults(_: Asked) -> None:
    """Let everything pass."""


def first(fault: Fault, *names: str, times: int = 1) -> Plan:
    """Let a fault happen to the first requests of some paths, or polls of each future."""
    return lambda asked: fault if asked.name in names and asked.number < times else None


def once(fault: Fault, name: str, kind: str = "", *, times: int = 1) -> Plan:
    """Let a fault happen to the very first requests of a path, or polls for a kind of call."""
    left = [fault] * times

    def plan(asked: Asked) -> Fault | None:
        is_meant = (asked.name, asked.kind) == (name, kind)
        return left.pop() if is_meant and left else None

    return plan


def always(fault: Fault, name: str, kind: str = "") -> Plan:
    """Let a fault happen to every request of a path, or every poll for a kind of call."""
    return lambda asked: fault if (asked.name, asked.kind) == (name, kind) else None


def at_random(seed: int, faults: Mapping[str, Sequence[Fault]], *, most: int = 3) -> Plan:
    """Let faults happen by chance, not more than ``most`` times in a row.

    Parameters
    ----------
    seed
        The same faults happen to the same requests, whatever the order in which they come.
    faults
        What may happen to the requests of a path; those under ``""`` to all others.
    most
        From which request of a path, or poll of a future, on nothing happens any more.
    """

    def plan(asked: Asked) -> Fault | None:
        chance = random.Random(f"{seed} {asked.name} {asked.kind} {asked.number}")
        if asked.number >= most or chance.random() < 0.3:
            return None
        return chance.choice(faults.get(asked.name, faults[""]))

    return plan


@dataclass(frozen=True)
class Passed:
    """One request that came, and what happened to it."""

    asked: Asked
    fault: Fault | None


class FaultProxy:
    """Passes requests on to a server, with the faults of a plan. Made by `fault_proxy`."""

    def __init__(self, upstream: str, plan: Plan) -> None:
        self.plan = plan
        self.url = ""
        self.passed: list[Passed] = []
        self._upstream = upstream
        self._counts: Counter[tuple[str, str]] = Counter()
        self._gate = asyncio.Event()
        self._gate.set()
        self._thread = LoopThread()
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    # What a test asks of it

    def requests(self, name: str, kind: str = "") -> list[Passed]:
        """Return what came for a path, or as polls for a kind of call."""
        return [each for each in self.passed if (each.asked.name, each.asked.kind) == (name, kind)]

    def hold(self) -> None:
        """Let no request pass until `release`."""
        self._thread.loop.call_soon_threadsafe(self._gate.clear)

    def release(self) -> None:
        """Let the requests pass that were held."""
        self._thread.loop.call_soon_threadsafe(self._gate.set)

    def connections(self) -> int:
        """Return how many connections of clients are open."""
        return self._thread.submit(self._count()).result(_WAIT)

    async def _count(self) -> int:
        assert self._runner is not None
        assert self._runner.server is not None
        # A handler may still be at work for a client that has left.
        return sum(each.transport is not None for each in self._runner.server.connections)

    # Its life

    def start(self) -> None:
        """Begin to listen."""
        self.url = self._thread.submit(self._start()).result(_WAIT)

    async def _start(self) -> str:
        # Bodies pass as they are, packed or not, and however large.
        self._session = aiohttp.ClientSession(
            auto_decompress=False, connector=aiohttp.TCPConnector(limit=0)
        )
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """Stop to listen, and let go of everything."""
        self.release()
        self._thread.submit(self._stop()).result(_WAIT)
        self._thread.stop()

    async def _stop(self) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._session.close()
        await self._runner.cleanup()

    # One request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = self._asked(request, body)
        fault = self.plan(asked)
        self.passed.append(Passed(asked, fault))
        await self._gate.wait()
        does = fault or Fault("none")
        answers = await asyncio.gather(*(self._forward(request, body) for _ in range(does.passes)))
        await asyncio.sleep(does.delay)
        said = does.said or (answers[does.given] if answers else None)
        return await _give(request, said, does.way)

    def _asked(self, request: web.Request, body: bytes) -> Asked:
        name = request.path.rpartition("/")[2]
        is_poll = name == "retrieve_future"
        subject = str(json.loads(body).get("request_id")) if is_poll else ""
        number = self._counts[name, subject]
        self._counts[name, subject] += 1
        kind = request.headers.get("X-Tinker-Request-Type", "") if is_poll else ""
        return Asked(name, kind, number)

    async def _forward(self, request: web.Request, body: bytes) -> Said:
        assert self._session is not None
        async with self._session.request(
            request.method,
            self._upstream + request.path_qs,
            data=body,
            headers=_passed_on(request.headers),
            allow_redirects=False,
        ) as answer:
            return Said(answer.status, await answer.read(), _passed_on(answer.headers))


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


async def _give(request: web.Request, said: Said | None, way: Way) -> web.StreamResponse:
    if way is Way.WHOLE:
        assert said is not None
        return web.Response(status=said.status, body=said.body, headers=said.headers)
    if way in (Way.DROPPED, Way.RESET):
        _hang_up(request, reset=way is Way.RESET)
        return web.Response()
    assert said is not None
    return await _give_part(request, said, way)


async def _give_part(request: web.Request, said: Said, way: Way) -> web.StreamResponse:
    """Begin the answer; the connection ends before the answer does."""
    announced, given = len(said.body), said.body[: len(said.body) // 2]
    if way is Way.SHORT:
        announced, given = len(said.body) + 7, said.body
    answer = web.StreamResponse(status=said.status, headers=said.headers)
    answer.content_length = announced
    await answer.prepare(request)
    await answer.write(given)
    if way is Way.HALTED:
        await asyncio.Event().wait()  # until the proxy stops
    _hang_up(request, reset=False)
    return answer


def _hang_up(request: web.Request, *, reset: bool) -> None:
    transport = request.transport
    if transport is None:
        return  # the client was faster
    if not reset:
        transport.close()
        return
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


@contextmanager
def fault_proxy(upstream: str, plan: Plan = no_faults) -> Iterator[FaultProxy]:
    """Run a proxy in front of a server, in a thread of its own."""
    proxy = FaultProxy(upstream, plan)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
