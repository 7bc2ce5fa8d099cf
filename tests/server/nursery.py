"""Starts servers that can be killed: each is a fork of this process, which has loaded torch once.

Reads ``DATA_DIR PORT MODEL`` lines from stdin and answers each with the new server's process id,
once that listens.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # threads do not outlive a fork

import signal
import sys
import tempfile
from pathlib import Path

from pydantic import SecretStr

from tests.server.conftest import KEY
from tinker_nb.server.app import create_app
from tinker_nb.server.config import Settings
from tinker_nb.server.house import open_house
from tinker_nb.server.serving import build_server
from tinker_nb.server.sockets import listen


def serve(data_dir: str, port: int, model: str, ready: int) -> None:
    """Serve until killed; tells through a pipe that it listens."""
    settings = Settings(data_dir=Path(data_dir), model=model, api_key=SecretStr(KEY))
    house = open_house(settings)
    with listen("127.0.0.1", port) as bound:
        server = build_server(house, lambda: os.write(ready, b"."))  # type: ignore[arg-type]
        server.run(sockets=[bound])


def warm(model: str) -> None:
    """Load everything that a server loads, once for all of them."""
    with tempfile.TemporaryDirectory() as directory:
        house = open_house(Settings(data_dir=Path(directory), model=model))
        create_app(house).openapi()
        house.home.leave()


def main() -> None:
    """Fork a server for every line."""
    warm(sys.argv[1])
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    for line in sys.stdin:
        data_dir, port, model = line.split()
        heard, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            serve(data_dir, int(port), model, told)
            os._exit(0)
        os.close(told)
        up = os.read(heard, 1) == b"."
        os.close(heard)
        sys.stdout.write(f"{pid if up else 0}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
