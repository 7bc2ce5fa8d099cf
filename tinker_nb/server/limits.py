"""The largest body: refused by its announced length, or as soon as too much of it has come."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinker_nb.server.answers import refusal


class BodyLimit:
    """Answers 413 to a body that is too large, having read no more than the limit of it."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _announced(scope) > self._limit:
            await refusal(413, self._words())(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        seen = 0

        async def counting() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise HTTPException(413, self._words())
            return message

        return counting

    def _words(self) -> str:
        return f"The body is larger than {self._limit} bytes; send less data per call."


def _announced(scope: Scope) -> int:
    value = next((v for name, v in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0
