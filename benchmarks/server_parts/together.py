"""Five calls at once beside the same calls one by one, near and far from the server."""

from __future__ import annotations

import json
from functools import partial
from urllib.parse import urlsplit

from benchmarks.client_parts.lines import table
from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import PACKAGES, Tell, in_turns, output
from benchmarks.client_parts.stub import running
from benchmarks.server_parts.verdicts import at_least, heads, of_packages
from benchmarks.serving import running_server

DELAY = 0.02
_ROUNDS = 12


def together(runs: int, tell: Tell) -> str:
    """Return the table of five calls in both forms."""
    with running_server() as server:
        parts = urlsplit(server.base_url)
        way = (str(parts.hostname), str(parts.port), str(DELAY))
        with running("benchmarks.server_parts.delay", *way) as far_url:
            key = server.api_key.get_secret_value()
            far = partial(_measure, url=far_url, key=key)
            near = partial(_measure, url=server.base_url, key=key)
            distant = in_turns(PACKAGES, runs, far, lambda said: tell(f"far: {said}"))
            close = in_turns(PACKAGES, runs, near, lambda said: tell(f"near: {said}"))
    lines = [
        *of_packages(distant, f"{1000 * DELAY:.0f} ms each way", at_least(4.0)),
        *of_packages(close, "no delay", at_least(2.5)),
    ]
    return table(heads("one by one", "at once"), lines)


def _measure(package: str, url: str, key: str) -> Figures:
    command = ["-m", "benchmarks.server_parts.five", package, url, str(_ROUNDS)]
    figures: Figures = json.loads(output(command, TINKER_API_KEY=key))
    return figures
