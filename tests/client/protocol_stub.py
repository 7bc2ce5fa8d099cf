"""A server of the protocol with its data in memory, which shows what came and how it came.

`protocol_stub` runs it. It greets, keeps sessions and futures, and has the endpoints of
`stub_rest` and `stub_files`; more of them come in with ``routers``. What a test wants to be
different it sets on the `Stub`.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 20.0
API = "/api/v1"
#: What a client sends on its own: recorded as `Stub.greetings`, never refused, never held up.
GREETINGS = {"/", *(f"{API}/{name}" for name in ("client/config", "client/dynamic_config"))}
GREETINGS |= {f"{API}/{name}" for name in ("session_heartbeat", "telemetry", "healthz")}


@dataclass(frozen=True)
class Seen:
    """One request that came, its path as it was on the wire."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        """The JSON body; None without one."""
        return json.loads(self.content) if self.content else None


class Meeting:
    """The next requests, which wait until all of them are there at the same time."""

    def __init__(self, size: int) -> None:
        self._missing = size
        self._barrier = asyncio.Barrier(size)

    async def join(self) -> None:
        if self._missing == 0:
            return
        self._missing -= 1
        async with asyncio.timeout(PATIENCE):
            await self._barrier.wait()


@dataclass
class Stub:
    """What the server knows, and what it has seen.

    Attributes
    ----------
    config
        What client/config answers.
    refusal
        Status and body that answer everything but greetings, while set.
    refuse_once
        The same, each for one request, before all else.
    meeting
        Holds requests up until enough of them are there.
    sessions, runs, samplers, projects
        By id.
    checkpoints
        By run and checkpoint id.
    futures
        Results, or ``{"error", "category"}``, by request id.
    traces, archives
        What the next questions are answered with; the last one stays.
    is_newer
        Whether lists hold things that no client knows yet.
    files, file_faults
        What the file host has, and how its next answers go wrong.
    """

    url: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    refusal: tuple[int, Any] | None = None
    refuse_once: list[tuple[int, Any]] = field(default_factory=list)
    meeting: Meeting | None = None
    sessions: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    samplers: dict[str, dict[str, Any]] = field(default_factory=dict)
    projects: set[str] = field(default_factory=set)
    checkpoints: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    futures: dict[str, dict[str, Any]] = field(default_factory=dict)
    traces: list[dict[str, Any]] = field(default_factory=list)
    archives: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    is_newer: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    file_faults: list[Any] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    greetings: list[Seen] = field(default_factory=list)
    inside: int = 0
    most_inside: int = 0
    connections: int = 0
    connections_made: int = 0

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._numbers = itertools.count()

    def promise(self, result: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Keep a result under a new request id, and return the answer that names it."""
        request_id = f"future-{next(self._numbers)}"
        self.futures[request_id] = result
        return {"request_id": request_id, **more}

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Change what somebody may wait for."""
        with self._changed:
            yield
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; a test fails when it never is."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), "it never came to that"


class Watch:
    """Records each request, and refuses it or holds it up where the stub says so."""

    def __init__(self, app: ASGIApp, stub: Stub) -> None:
        self._app, self._stub = app, stub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = await _seen(scope, receive)
        if seen.path in GREETINGS:
            self._stub.greetings.append(seen)
            await self._app(scope, _once(seen.content, receive), send)
            return
        with self._recorded(seen):
            await self._pass_on(seen, scope, receive, send)

    @contextmanager
    def _recorded(self, seen: Seen) -> Iterator[None]:
        stub = self._stub
        with stub.changing():
            stub.seen.append(seen)
            stub.inside += 1
            stub.most_inside = max(stub.most_inside, stub.inside)
        try:
            yield
        finally:
            with stub.changing():
                stub.inside -= 1

    async def _pass_on(self, seen: Seen, scope: Scope, receive: Receive, send: Send) -> None:
        stub = self._stub
        try:
            if stub.meeting is not None:
                await stub.meeting.join()
        except (TimeoutError, asyncio.BrokenBarrierError):
            await JSONResponse({"detail": "They never met."}, 418)(scope, receive, send)
            return
        refusal = stub.refuse_once.pop(0) if stub.refuse_once else stub.refusal
        if refusal is not None:
            await JSONResponse(refusal[1], refusal[0])(scope, receive, send)
        else:
            await self._app(scope, _once(seen.content, receive), send)


async def _seen(scope: Scope, receive: Receive) -> Seen:
    content, more = b"", True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
    return Seen(
        scope["method"],
        scope["raw_path"].decode(),
        tuple(sorted(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))),
        {name.decode().lower(): value.decode() for name, value in scope["headers"]},
        content,
    )


def _once(content: bytes, receive: Receive) -> Receive:
    """Give a body that was read already to whoever reads it now."""
    left: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


def session_router(stub: Stub) -> APIRouter:
    """Return greetings, sessions and futures."""
    router = APIRouter(prefix=API)

    @router.post("/client/config")
    def config() -> Any:
        return stub.config

    @router.post("/client/dynamic_config")
    @router.post("/session_heartbeat")
    def nothing() -> Any:
        return {}

    @router.post("/telemetry")
    def telemetry() -> Any:
        return {"status": "accepted"}

    @router.get("/healthz")
    def health() -> Any:
        return {"status": "ok"}

    @router.post("/create_session")
    async def create_session(request: Request) -> Any:
        session_id = f"session-{next(stub._numbers)}"
        stub.sessions[session_id] = {"runs": [], "samplers": [], **await request.json()}
        return {"session_id": session_id}

    @router.post("/sessions/{session_id}/finish")
    async def finish(session_id: str, request: Request) -> Any:
        if session_id not in stub.sessions:
            return refused(404, f"There is no session {session_id}.")
        stub.sessions[session_id]["finished"] = (await request.json())["reason"]["type"]
        return {}

    @router.post("/retrieve_future")
    async def retrieve_future(request: Request) -> Any:
        request_id = (await request.json())["request_id"]
        return stub.futures.get(request_id) or refused(404, f"There is no future {request_id}.")

    return router


def refused(status: int, detail: str) -> JSONResponse:
    """Return an answer that says no."""
    return JSONResponse({"detail": detail}, status)


class _Server(uvicorn.Server):
    """Tells when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def protocol_stub(
    *routers: Callable[[Stub], APIRouter], stub: Stub | None = None
) -> Iterator[Stub]:
    """Serve a stub, with more endpoints where given, on a free port while the block runs."""
    stub = stub or Stub()
    server = _Server(_config(stub, routers))
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as bound:
        bound.bind(("127.0.0.1", 0))
        stub.url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            assert server.ready.wait(PATIENCE)
            yield stub
        finally:
            server.should_exit = True
            thread.join(PATIENCE)
            assert not thread.is_alive()


def _config(stub: Stub, routers: Sequence[Callable[[Stub], APIRouter]]) -> uvicorn.Config:
    class Counted(H11Protocol):
        """Counts the connections that are open."""

        def connection_made(self, transport: Any) -> None:
            with stub.changing():
                stub.connections += 1
                stub.connections_made += 1
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            with stub.changing():
                stub.connections -= 1

    app = FastAPI(openapi_url=None, redirect_slashes=False)
    for router in (session_router, *routers):
        app.include_router(router(stub))
    app.add_middleware(Watch, stub=stub)
    return uvicorn.Config(
        app, http=Counted, ws="none", lifespan="off", log_config=None, access_log=False
    )
