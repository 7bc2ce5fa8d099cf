"""What the server adds: to computing a request, and to a result that is there.

Raw HTTP over one connection that stays open: a request is submitted, and the poll for it waits
before it is done.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.client_parts.lines import table
from benchmarks.client_parts.measure import Figures
from benchmarks.client_parts.runs import Tell
from benchmarks.report import median, percentile
from benchmarks.server_parts.beside import BARE, SERVED, running_peer, side_by_side
from benchmarks.server_parts.verdicts import heads, of_overhead
from benchmarks.serving import client_of, running_server
from benchmarks.training import make_data, new_model
from tinker_nb import Datum, EmbeddedServer, ModelInput
from tinker_nb.wire.protobuf import (
    CONTENT_TYPE,
    ForwardBackwardRequest,
    encode_forward_backward,
)

_CALLS = 40
_API = "/api/v1"


@dataclass(frozen=True)
class Timed:
    """One request: its id, when its result came (since the epoch), and the seconds it took."""

    request_id: str
    arrived: float
    accepted: float
    wall: float


class Line:
    """One open connection to a server.

    Parameters
    ----------
    server
        The server.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        parts = urlsplit(server.base_url)
        self._http = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        self._headers = {"X-API-Key": server.api_key.get_secret_value(), "Accept": CONTENT_TYPE}

    def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """Send a body and return the answer's."""
        self._http.request("POST", _API + path, body, {**self._headers, "Content-Type": kind})
        answer = self._http.getresponse()
        said = answer.read()
        assert answer.status == 200, said
        return said

    def timed(self, path: str, body: bytes) -> Timed:
        """Submit a request, wait for its result, and say how long both took."""
        began = time.perf_counter()
        request_id = json.loads(self.post(path, body, CONTENT_TYPE))["request_id"]
        accepted = time.perf_counter() - began
        self.post("/retrieve_future", json.dumps({"request_id": request_id}).encode())
        arrived, wall = time.time(), time.perf_counter() - began
        return Timed(request_id, arrived, accepted, wall)

    def close(self) -> None:
        """Hang up."""
        self._http.close()


def overhead(runs: int, tell: Tell) -> str:
    """Return the table of what the server adds."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running_server(Path(directory)) as server,
        client_of(server) as service,
        running_peer() as peer,
    ):
        served = partial(_served, server, Path(directory), new_model(service).model_id)
        sides = {BARE: partial(peer.do, "compute"), SERVED: served}
        results = side_by_side("overhead", runs, tell, sides)
    return table(heads("the engine's trainer alone"), of_overhead(results))


def _served(server: EmbeddedServer, directory: Path, model_id: str) -> Figures:
    whole = make_data()[:1]
    short = [Datum(ModelInput.from_ints([1]), {"target_tokens": [2], "weights": [1.0]})]
    trained = ForwardBackwardRequest(model_id, whole, "cross_entropy")
    scored = ForwardBackwardRequest(model_id, short, "cross_entropy", forward_only=True)
    # A connection of its own for each run: the server closes one that is idle for a while.
    with closing(Line(server)) as connection:
        slow = _timed(connection, "/forward_backward", encode_forward_backward(trained))
        fast = _timed(connection, "/forward", encode_forward_backward(scored))
    quick = lateness(fast, recorded(directory, fast))
    return {
        "wall": 1000 * median([each.wall for each in slow]),
        "accepted": 1000 * median([each.accepted for each in slow]),
        "late": median(lateness(slow, recorded(directory, slow))),
        "quick": median(quick),
        "slowest": percentile(quick, 0.99),
        "quick_wall": 1000 * median([each.wall for each in fast]),
    }


def _timed(connection: Line, path: str, body: bytes) -> list[Timed]:
    connection.timed(path, body)  # all is warm
    return [connection.timed(path, body) for _ in range(_CALLS)]


def recorded(directory: Path, requests: Sequence[Timed]) -> dict[str, float]:
    """Return when the server recorded the results, by request id: before their commit."""
    (file,) = directory.glob("*.sqlite")
    marks = ", ".join("?" * len(requests))
    question = f"SELECT request_id, finished_at FROM futures WHERE request_id IN ({marks})"
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
        return dict(database.execute(question, [each.request_id for each in requests]))


def lateness(requests: Sequence[Timed], finished: dict[str, float]) -> list[float]:
    """Return the milliseconds from each result's record to its arrival."""
    return [1000 * (each.arrived - finished[each.request_id]) for each in requests]
