"""The key: making one, and letting nobody in without it."""

from __future__ import annotations

import ipaddress
import secrets

from pydantic import SecretStr

from tinker_nb.server.shelf.signing import is_signed_download

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


def needs_key(path: str) -> bool:
    """Say whether a path is closed without the key; only health and signed links are open."""
    return path not in _OPEN_PATHS and not is_signed_download(path)
