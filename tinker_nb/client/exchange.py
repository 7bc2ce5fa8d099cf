"""One HTTP exchange as plain values, and what an answer means. No I/O."""

from __future__ import annotations

import itertools
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import SecretStr

from tinker_nb.client.retry import Failure
from tinker_nb.errors import (
    APIResponseValidationError,
    APIStatusError,
    TinkerError,
    status_error_class,
)

JSON = "application/json"
_PREFIX, _count = uuid.uuid4().hex, itertools.count(1)
_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True)
class Payload:
    """A request's body and its content type."""

    content: bytes = field(repr=False)  # large, and a token may be in it
    content_type: str = JSON


def json_payload(body: Mapping[str, Any]) -> Payload:
    """Return a JSON body."""
    return Payload(_ENCODE(body).encode())


@dataclass(frozen=True)
class Request:
    """What to send."""

    method: str
    path: str
    payload: Payload | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0
    lane: Literal["submit", "poll"] = "submit"
    sealed: Mapping[str, SecretStr] = field(default_factory=dict)  # headers that are secrets

    def keyed(self) -> Request:
        """Return the request with an idempotency key of its own, where it changes something."""
        if self.method == "GET" or "X-Idempotency-Key" in self.headers:
            return self
        # One random prefix and a count: to ask for chance each time costs more than all the rest.
        # The process's number keeps the keys of a fork apart.
        key = f"{_PREFIX}-{os.getpid()}-{next(_count)}"
        return replace(self, headers={**self.headers, "X-Idempotency-Key": key})

    def at(self, path: str) -> Request:
        """Return the same request to another path."""
        return replace(self, path=path)


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    content_type: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """Return the body as JSON; raises `APIResponseValidationError` when it is not."""
        try:
            return json.loads(self.content)
        except ValueError as error:
            raise APIResponseValidationError(
                f"The server answered {self.status} with a body that is not JSON."
            ) from error

    def json_object(self) -> dict[str, Any]:
        """Return the body as a JSON object; raises `APIResponseValidationError` otherwise."""
        body = self.json()
        if not isinstance(body, dict):
            raise APIResponseValidationError("The server answered with JSON that is no object.")
        return body


@dataclass(frozen=True)
class Accepted:
    """What the server said when it took a request."""

    request_id: str
    model_id: str | None = None
    sample_sequence_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoAnswer:
    """An exchange that ended without an answer."""

    failure: Failure
    error: TinkerError


def detail_of(reply: Reply) -> tuple[str, object]:
    """Return what an error answer says, as a sentence, and its parsed body."""
    try:
        body = json.loads(reply.content)
    except ValueError:
        text = reply.content[:200].decode("utf-8", "replace").strip()
        return text or "no explanation", text
    detail = body.get("detail", body.get("error")) if isinstance(body, dict) else None
    return (detail if isinstance(detail, str) else json.dumps(detail or body)[:500]), body


def status_error(reply: Reply, *, request_id: str | None = None) -> APIStatusError:
    """Return the typed error of an answer with status 400 or more."""
    detail, body = detail_of(reply)
    return status_error_class(reply.status)(
        f"The server answered {reply.status}: {detail}",
        status_code=reply.status,
        body=body,
        request_id=request_id,
    )
