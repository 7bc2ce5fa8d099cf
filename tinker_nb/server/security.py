"""The key: making one, and letting nobody in without it."""

from __future__ import annotations

import ipaddress
import secrets

from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from tinker_nb.server.answers import refusal

_OPEN_PATHS = frozenset({"/healthz", "/api/v1/healthz"})


def new_key() -> SecretStr:
    """Return a random key, in the form the official SDK takes."""
    return SecretStr(f"tml-{secrets.token_urlsafe(32)}")


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def opens(expected: SecretStr, presented: bytes | None) -> bool:
    """Compare a presented key with the expected one, in a time that tells nothing."""
    return secrets.compare_digest(expected.get_secret_value().encode(), presented or b"")


class KeyGuard:
    """Answers 401 to everything but healthz unless ``X-API-Key`` holds the key."""

    def __init__(self, app: ASGIApp, key: SecretStr | None) -> None:
        self._app = app
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or refuse it before anything of it is read."""
        if scope["type"] != "http" or self._lets_in(scope):
            await self._app(scope, receive, send)
            return
        missing = "The header X-API-Key is missing or does not hold this server's key."
        await refusal(401, missing)(scope, receive, send)

    def _lets_in(self, scope: Scope) -> bool:
        if self._key is None or scope["path"] in _OPEN_PATHS:
            return True
        presented = next((v for name, v in scope["headers"] if name == b"x-api-key"), None)
        return opens(self._key, presented)
