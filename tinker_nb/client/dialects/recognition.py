"""Which dialect a server speaks, from how it presents itself. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tinker_nb.client.dialects.earlier import EarlierJson, SkyRL
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.dialects.tinkerbell import Tinkerbell
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
