"""A server in a process of its own that can be killed, and starts again in a moment."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Nursery:
    """A server at one address that is killed and started again on the same data."""

    def __init__(self, data_dir: Path, model: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._line = f"{data_dir} {self.port} {model}\n"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.server.nursery", str(model)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._pid = 0

    def start(self) -> None:
        """Start a server and wait until it listens."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(self._line)
        self._process.stdin.flush()
        self._pid = int(self._process.stdout.readline())
        assert self._pid, "the server did not come up"

    @property
    def pid(self) -> int:
        """The process id of the server that runs now."""
        return self._pid

    def kill(self) -> None:
        """End the server without a word, and wait until it is gone."""
        os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            while True:
                os.kill(self._pid, 0)
                time.sleep(0.001)

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()
