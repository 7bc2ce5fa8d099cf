"""Running the application: one ready line, and an orderly stop."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn

from tinker_nb.server.app import create_app
from tinker_nb.server.house import House


class _Server(uvicorn.Server):
    """A uvicorn server that tells when it is ready, and wakes whoever waits when it stops."""

    def __init__(self, config: uvicorn.Config, house: House, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._house = house
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the waiting polls first: they would hold the connections open."""
        self._house.desk.close()
        await super().shutdown(sockets)


def build_server(house: House, ready: Callable[[], None]) -> uvicorn.Server:
    """Return a server for an opened house."""
    config = uvicorn.Config(
        create_app(house),
        log_config=None,
        access_log=False,
        # One more than the polls' own grace, so that their answers get out.
        timeout_graceful_shutdown=int(house.settings.stop_grace) + 1,
    )
    return _Server(config, house, ready)


def serve(
    house: House, bound: socket.socket, ready: Callable[[], None], *, until_stdin_closes: bool
) -> None:
    """Serve until a signal comes, or until stdin ends where asked for."""
    server = build_server(house, ready)
    # uvicorn raises the signals it caught once more at its end; by then they have been obeyed.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _obeyed)
    if until_stdin_closes:
        watcher = threading.Thread(target=_stop_at_end_of_stdin, args=(server,), daemon=True)
        watcher.start()
    server.run(sockets=[bound])


def _obeyed(_: int, __: FrameType | None) -> None:
    """Do nothing."""


def _stop_at_end_of_stdin(server: uvicorn.Server) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    server.should_exit = True
