"""Which dialect a server speaks, from how it presents itself. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinker_nb.client.dialects.earlier import EarlierJson, SkyRL
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.dialects.tinkerbell import Tinkerbell
from tinker_nb.client.routes import Route, route
from tinker_nb.errors import ConfigurationError

DIALECTS: Mapping[str, type[Dialect]] = {
    each.key: each for each in (Dialect, EarlierJson, SkyRL, Tinkerbell)
}


def dialect_named(key: str) -> Dialect:
    """Return a dialect by the name a user gives it; raises `ConfigurationError`."""
    if key not in DIALECTS:
        raise ConfigurationError(f"{key!r} is no dialect; one of {', '.join(DIALECTS)}.")
    return DIALECTS[key]()


def recognise(root: Mapping[str, Any] | None, has_client_config: bool) -> Dialect:
    """Return the dialect of a server (sections 1.4 and 8 of the protocol).

    Parameters
    ----------
    root
        What ``GET /`` answered, where that was a JSON object.
    has_client_config
        Whether ``POST /api/v1/client/config`` is there. Every server of the current protocol has
        it, for the official SDK cannot do without.
    """
    name = str((root or {}).get("name", ""))
    if name.startswith("Tinkerbell"):
        return Tinkerbell()
    if name == "Tinker API Mock":
        return SkyRL()
    return Dialect() if has_client_config else EarlierJson()


def listed_endpoints(root: Mapping[str, Any] | None) -> frozenset[Route] | None:
    """Return all endpoints a server has, from what ``GET /`` answered; None where it does not say.

    Only the embedded server lists all it has. Others have lists too, of what is worth a mention.
    """
    found = (root or {}).get("endpoints")
    if (root or {}).get("name") != "tinker_nb" or not isinstance(found, dict):
        return None
    return frozenset(
        route(method, path)
        for path, methods in found.items()
        if isinstance(methods, list)
        for method in methods
        if isinstance(method, str)
    )
