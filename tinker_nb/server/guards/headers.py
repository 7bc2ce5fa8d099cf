"""Who may ask, and in what form: told from the headers alone, before a body is read.

A page of any site can make its visitor's browser send requests to a server on the same machine.
Two headers that no page can forge give it away: ``Host`` names the site when a name was bent to
a loopback address (DNS rebinding), and ``Origin`` names it on every post across sites.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from tinker_nb.server.answers import refusal
from tinker_nb.server.guards.keys import is_loopback, needs_key, opens
from tinker_nb.wire.protobuf import CONTENT_TYPE

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s\[\]:@/?#\\]+)(:\d*)?")
_JSON = re.compile(r"application/([\w.!#$&^-]+\+)?json")
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PROTOBUF_PATHS = frozenset({"/api/v1/forward", "/api/v1/forward_backward"})


@dataclass(frozen=True)
class Refused:
    """A "no" with its status and its reason."""

    status: int
    detail: str


Check = Callable[[Scope], Refused | None]


class HeaderGuard:
    """Answers with the first of its checks' objections, having read nothing of the body."""

    def __init__(self, app: ASGIApp, checks: Sequence[Check]) -> None:
        self._app = app
        self._checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it."""
        objections = (check(scope) for check in self._checks if scope["type"] == "http")
        refused = next((objection for objection in objections if objection is not None), None)
        if refused is None:
            await self._app(scope, receive, send)
        else:
            await refusal(refused.status, refused.detail)(scope, receive, send)


def headers(scope: Scope, name: bytes) -> list[str]:
    """Return all values of a header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


# Host --------------------------------------------------------------------------------------------


def host_check(listen_host: str, allowed: Iterable[str]) -> Check:
    """Return the check that a request was meant for this server, not for a name bent to it.

    Loopback names and addresses, the address listened at and the ``allowed`` names are right. A
    server that can be reached from elsewhere takes every bare address too: nobody can bend one.
    """
    names = {host_name(name) or name for name in (listen_host, *allowed)}
    remote = not is_loopback(listen_host)

    def check(scope: Scope) -> Refused | None:
        given = headers(scope, b"host")
        name = host_name(given[0]) if len(given) == 1 else None
        if name is not None and (name in names or is_loopback(name) or (remote and _is_ip(name))):
            return None
        wrong = f"The Host header {given[0][:100]!r}" if given else "A missing Host header"
        return Refused(
            403, f"{wrong} is not a name of this server; --allow-host lets another name in."
        )

    return check


def host_name(header: str) -> str | None:
    """Return the name or address in a ``Host`` header, without port; None for what is neither."""
    found = _HOST.fullmatch(header.strip().lower())
    return found[1].strip("[]").removesuffix(".") if found else None


def _is_ip(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


# Origin ------------------------------------------------------------------------------------------


def origin_check(allowed: Iterable[str]) -> Check:
    """Return the check that no page of another site is asking."""
    origins = frozenset(origin.lower() for origin in allowed)

    def check(scope: Scope) -> Refused | None:
        # The host check went before, so the Host header is a name of this server.
        own = [f"{scheme}://{host}" for host in headers(scope, b"host") for scheme in _SCHEMES]
        for origin in headers(scope, b"origin"):
            if origin.lower() not in origins and origin.lower() not in map(str.lower, own):
                return Refused(
                    403,
                    f"Pages of {origin[:100]!r} may not call this server; "
                    "--allow-origin lets an origin in.",
                )
        return None

    return check


_SCHEMES = ("http", "https")  # the latter behind a proxy that speaks it


# Key ---------------------------------------------------------------------------------------------


def key_check(key: SecretStr | None) -> Check:
    """Return the check that ``X-API-Key`` holds the key; without a key everything passes."""
    missing = "The header X-API-Key is missing or does not hold this server's key."

    def check(scope: Scope) -> Refused | None:
        if key is None or not needs_key(scope["path"]):
            return None
        presented = next(iter(headers(scope, b"x-api-key")), "")
        return None if opens(key, presented.encode("latin-1")) else Refused(401, missing)

    return check


# Content type ------------------------------------------------------------------------------------


def content_check(scope: Scope) -> Refused | None:
    """Refuse a body that is neither JSON nor, where it is understood, protobuf."""
    if scope["method"] not in _WITH_BODY:
        return None
    kind = media_type(scope)
    if kind is None and not _brings_body(scope):
        return None
    if kind is not None and is_json(kind):
        return None
    if kind == CONTENT_TYPE and scope["path"] in _PROTOBUF_PATHS:
        return None
    return Refused(415, _advice(kind, scope["path"]))


def encoding_check(scope: Scope) -> Refused | None:
    """Refuse a compressed body."""
    for encoding in headers(scope, b"content-encoding"):
        if encoding.lower() != "identity":
            return Refused(400, f"Content-Encoding {encoding[:100]!r} is not taken; send it plain.")
    return None


def media_type(scope: Scope) -> str | None:
    """Return the body's content type without its parameters; None where none is given."""
    given = headers(scope, b"content-type")
    # More than one is ambiguous, so it is none that anybody knows.
    return ",".join(given).partition(";")[0].strip().lower() if given else None


def is_json(kind: str) -> bool:
    """Say whether a content type is JSON."""
    return _JSON.fullmatch(kind) is not None


def _brings_body(scope: Scope) -> bool:
    lengths = headers(scope, b"content-length")
    return bool(headers(scope, b"transfer-encoding")) or any(
        length.strip() != "0" for length in lengths
    )


def _advice(kind: str | None, path: str) -> str:
    taken = f"application/json or {CONTENT_TYPE}" if path in _PROTOBUF_PATHS else "application/json"
    wrong = "The body has no content type" if kind is None else f"{kind[:100]!r} is not taken here"
    return f"{wrong}; send the header Content-Type: {taken}."
