"""The embedded server in a process of its own, started as a user starts it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinker_nb import EmbeddedServer, ServiceClient, start_server


@contextmanager
def running_server(directory: Path | None = None) -> Iterator[EmbeddedServer]:
    """Run an embedded server on a new data directory, made for it where none is given."""
    with tempfile.TemporaryDirectory() as temporary:
        server = start_server(data_dir=directory or temporary)
        try:
            yield server
        finally:
            server.stop()


def client_of(server: EmbeddedServer) -> ServiceClient:
    """Return our client of a server."""
    return ServiceClient(base_url=server.base_url, api_key=server.api_key)
