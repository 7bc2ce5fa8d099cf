"""Logs: to stderr, as text or as JSON lines, with nothing of what was sent in them.

A request is told by its method, the template of its path, its status and its time; never by its
headers, its query or its body.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from tinker_nb.server.config import LogFormat, LogLevel

access = logging.getLogger("tinker_nb.server.access")

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_JSON = "%(levelname)s %(name)s %(message)s"


def setup_logging(form: LogFormat, level: LogLevel) -> None:
    """Send everything that is logged in this process to stderr.

    ``level`` is for our own words. Libraries are heard from WARNING on at most: below, some of
    them log what they are given.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_json_lines() if form == "json" else logging.Formatter(_TEXT))
    own = getattr(logging, level.upper())
    logging.basicConfig(level=max(own, logging.WARNING), handlers=[handler], force=True)
    logging.getLogger("tinker_nb").setLevel(own)


def _json_lines() -> logging.Formatter:
    return JsonFormatter(
        _JSON, rename_fields={"levelname": "level", "name": "logger"}, timestamp=True
    )


def answered(facts: dict[str, Any]) -> None:
    """Log that a request was answered."""
    access.info("%(method)s %(path)s %(status)d in %(milliseconds).1f ms", facts, extra=dict(facts))


def failed(facts: dict[str, Any]) -> None:
    """Log, with its traceback, that a request ran into an error nobody foresaw."""
    access.exception("%(method)s %(path)s failed", facts, extra=dict(facts))
