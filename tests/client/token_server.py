"""A server that exchanges keys for JWTs, and says whenever a key was shown."""

from __future__ import annotations

import base64
import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.client.scripted import Say, ScriptedServer, Seen

PATIENCE = 20.0
EXCHANGE = "/api/v1/auth/token"
ASKED = "/api/v1/get_server_capabilities"
INVALID = {"WWW-Authenticate": 'Bearer realm="tinker", error="invalid_token"'}


def jwt(**claims: Any) -> str:
    """Return a JWT that nobody has signed."""
    head, body = (base64.urlsafe_b64encode(json.dumps(each).encode()) for each in ({}, claims))
    return f"eyJ{head.decode()}.{body.decode().rstrip('=')}.unsigned"


@dataclass
class TokenServer:
    """The script of such a server.

    Attributes
    ----------
    config
        What client/config answers.
    lifetime
        For how many seconds its tokens are good.
    claims
        What they say besides.
    exchanges
        What the next exchanges are answered with, in place of a token; None stays one.
    refused
        Tokens it no longer takes, and with what it says so.
    before
        Called with each request, before it is answered.
    """

    config: dict[str, Any] = field(default_factory=lambda: {"pjwt_auth_enabled": True})
    lifetime: float = 3600.0
    claims: dict[str, Any] = field(default_factory=dict)
    exchanges: list[Say | None] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    refusal: dict[str, str] = field(default_factory=lambda: dict(INVALID))
    before: Callable[[Seen], None] = lambda _: None
    clock: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.issued: list[str] = []
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)

    def __call__(self, seen: Seen) -> Say | None:
        self.before(seen)
        if seen.path == EXCHANGE:
            return self._exchanged()
        key = seen.headers.get("x-api-key")
        if key in self.refused:
            return Say(401, {"detail": f"Who is {key}?"}, self.refusal)
        answers = {"/api/v1/client/config": self.config, ASKED: {"supported_models": []}}
        return Say(200, answers[seen.path]) if seen.path in answers else None

    def _exchanged(self) -> Say:
        with self._changed:
            said = self.exchanges.pop(0) if self.exchanges else None
            if said is None:
                now = self.clock()
                times = {"iat": now, "exp": now + self.lifetime}
                self.issued.append(jwt(number=next(self._numbers), **times, **self.claims))
                said = Say(200, {"jwt": self.issued[-1]})
            self._changed.notify_all()
        return said

    def wait_for_issued(self, count: int) -> None:
        """Wait until so many tokens were issued; a test fails when they never are."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.issued) >= count, PATIENCE)


def shown(server: ScriptedServer) -> list[tuple[str, str | None, Any]]:
    """Return where which key was shown and with what body, but for what only our client asks."""
    return [
        (each.path, each.headers.get("x-api-key"), each.body)
        for each in server.seen
        if each.path != "/"
    ]


def keys_for(server: ScriptedServer, path: str) -> list[str | None]:
    """Return the keys that were shown at a path."""
    return [each.headers.get("x-api-key") for each in server.seen if each.path == path]
