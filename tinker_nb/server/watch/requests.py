"""What is noted of each request: figures, a log line, and that the server is in use."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tinker_nb.server.answers import refusal
from tinker_nb.server.watch import logs
from tinker_nb.server.watch.idle import Activity
from tinker_nb.server.watch.metrics import Metrics

#: Stands for all paths without a route: a path can hold anything, and there is no end of them.
NO_ROUTE = "(none)"


@dataclass
class _Answer:
    """What is known of an answer so far."""

    start: float = field(default_factory=time.perf_counter)
    status: int = 500
    begun: bool = False
    noted: bool = False


class Watch:
    """Notes each request; outside of all guards, so that what they refuse is noted too."""

    def __init__(self, app: ASGIApp, metrics: Metrics, activity: Activity) -> None:
        self._app = app
        self._metrics = metrics
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note it when it is answered."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._activity.request(scope["path"]):
            await self._watched(scope, receive, send)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer()

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.begun, answer.status = True, message["status"]
            elif not message.get("more_body", False):
                # Before its end is sent: who has an answer finds it in the figures.
                self._note(scope, answer)
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:
            logs.failed(_facts(scope))
            if answer.begun:
                raise  # the connection breaks, so that nobody takes half an answer for a whole
            # The framework's own answer would break the connection after it.
            await unexpected(error)(scope, receive, sending)
        finally:
            self._note(scope, answer)

    def _note(self, scope: Scope, answer: _Answer) -> None:
        if answer.noted:
            return
        answer.noted = True
        facts, seconds = _facts(scope), time.perf_counter() - answer.start
        self._metrics.observe_request(facts["method"], facts["path"], answer.status, seconds)
        logs.answered({**facts, "status": answer.status, "milliseconds": round(seconds * 1000, 1)})


def unexpected(error: Exception) -> Response:
    """Return the answer to a request that ran into an error nobody foresaw."""
    return refusal(500, f"The server failed on this request ({type(error).__name__}).")


def _facts(scope: Scope) -> dict[str, Any]:
    """Return what may be told of a request."""
    facts = {"method": scope["method"], "path": path_template(scope)}
    request_id = scope.get("state", {}).get("request_id")
    return facts if request_id is None else {**facts, "request_id": request_id}


def path_template(scope: Scope) -> str:
    """Return the path of the route that was found, with names in place of what they match."""
    return getattr(scope.get("route"), "path", NO_ROUTE)
