"""HTTP/1.1 by hand, as little of it as two clients need: the stub must cost next to nothing.

A web framework would take longer for one request than the faster of the measured clients, and the
two share one machine. There is no pipelining, no chunked body and no deadline in here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple

JSON = "application/json"
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


class Incoming(NamedTuple):
    """One request."""

    method: bytes
    path: bytes
    body: bytes


def answer(status: int, body: bytes, content_type: str = JSON) -> bytes:
    """Return a whole HTTP answer."""
    phrase = HTTPStatus(status).phrase
    head = f"HTTP/1.1 {status} {phrase}\r\ncontent-type: {content_type}\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class Connection(asyncio.Protocol):
    """One connection.

    Parameters
    ----------
    handle
        Answers a request; None means that it keeps the connection and calls `reply` later.
    """

    def __init__(self, handle: Callable[[Connection, Incoming], bytes | None]) -> None:
        self._handle = handle
        self._pieces: list[bytes] = []  # joined once: a body of training data comes in many
        self._have = self._wanted = 0  # bytes that are here, and that a whole request has
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where answers go."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take what came; answer when a request is whole."""
        self._pieces.append(data)
        self._have += len(data)
        if self._have >= self._wanted:
            self._look(b"".join(self._pieces))

    def _look(self, seen: bytes) -> None:
        head_end = seen.find(_HEAD_END)
        if head_end < 0:
            return
        head, start = seen[: head_end + 2], head_end + len(_HEAD_END)
        if _CHUNKED.search(head):
            self.reply(answer(HTTPStatus.LENGTH_REQUIRED, b"{}"))
            return
        found = _LENGTH.search(head)
        self._wanted = start + (int(found[1]) if found else 0)
        if len(seen) >= self._wanted:
            self._pieces, self._have, self._wanted = [], 0, 0
            self._take(head, seen[start:])

    def _take(self, head: bytes, body: bytes) -> None:
        method, path, _ = head.split(b" ", 2)
        said = self._handle(self, Incoming(method, path.partition(b"?")[0], body))
        if said is not None:
            self.reply(said)

    def reply(self, whole: bytes) -> None:
        """Send an answer; whoever hung up gets none."""
        if not self._transport.is_closing():
            self._transport.write(whole)
