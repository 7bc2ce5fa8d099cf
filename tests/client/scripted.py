"""A server that answers as a test says: only for faults, which a real one does not make."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Seen:
    """One request that came."""

    path: str
    body: Any
    headers: dict[str, str]


@dataclass(frozen=True)
class Say:
    """One answer to give; ``drop`` closes the connection without one."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: bool = False


Script = Callable[[Seen], Say | None]


@dataclass
class ScriptedServer:
    """Where it is, and what it has seen."""

    url: str
    seen: list[Seen]

    def count(self, path: str) -> int:
        """How many requests came for a path."""
        return sum(each.path == path for each in self.seen)


def usual(seen: Seen) -> Say:
    """What a server says when all goes well; ids are taken from the request."""
    path = seen.path.removeprefix("/api/v1/")
    body = seen.body if isinstance(seen.body, dict) else {}
    answers: dict[str, Any] = {
        "create_session": {"session_id": "S"},
        "create_model": {"request_id": "create"},
        "optim_step": {"request_id": f"optim-{body.get('seq_id')}"},
        "retrieve_future": {"model_id": "S:train:0", "metrics": {"step": 1.0}},
    }
    return Say(200, answers.get(path, {}))


@contextmanager
def scripted_server(script: Script) -> Iterator[ScriptedServer]:
    """Run a server whose answers come from the script, or from `usual` where it says None."""
    seen: list[Seen] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_json = self.headers.get("Content-Type", "").startswith("application/json")
            body = json.loads(raw or b"{}") if is_json else raw
            request = Seen(self.path, body, {k.lower(): v for k, v in self.headers.items()})
            seen.append(request)
            self._give(script(request) or usual(request))

        do_GET = do_POST  # noqa: N815  # the name http.server calls

        def _give(self, say: Say) -> None:
            if say.drop:
                self.close_connection = True
                return
            content = say.body if isinstance(say.body, bytes) else json.dumps(say.body).encode()
            self.send_response(say.status)
            for name, value in ({"Content-Type": "application/json"} | say.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 512  # many clients knock at once

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield ScriptedServer(f"http://127.0.0.1:{server.server_port}", seen)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
