"""Start the embedded server as a process of its own that stops with its owner.

This module knows only the server's command line and its one ready line; nothing of the server is
imported here.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from tinker_nb.errors import ServerStartError

KEY_VARIABLE = "TINKER_NB_SERVE_KEY"
_READY = re.compile(r"ready at (http://\S+)")
_NEEDS = ("torch", "transformers", "peft", "fastapi", "uvicorn", "sqlalchemy", "typer")


@dataclass
class EmbeddedServer:
    """A running embedded server. Its repr never shows the key."""

    base_url: str
    api_key: SecretStr
    process: subprocess.Popen[str] = field(repr=False)

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process.poll() is None

    def stop(self, timeout: float = 12.0) -> None:
        """Stop the server and wait until it is gone; may be repeated.

        What is being done is given up, and none of it has happened; what was acknowledged is kept.
        """
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()
        if sys.platform != "win32":  # there the signal would end it without a word
            self.process.terminate()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout)
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        atexit.unregister(self.stop)


def start_server(
    *,
    model: str = "tiny-chat",
    data_dir: str | Path | None = None,
    download: bool = False,
    timeout: float = 120.0,
) -> EmbeddedServer:
    """Start the embedded server and wait until it is ready.

    It listens on a free port of this machine only, with a random key. When this process ends in
    any way it finishes what was asked, and stops.

    Parameters
    ----------
    model
        ``tiny-chat``, a Hugging Face directory, or a hub name.
    data_dir
        Where it keeps runs and checkpoints; a user directory when not given.
    download
        Whether a hub name that is not in the local cache may be fetched.
    timeout
        Seconds to wait.

    Raises
    ------
    ServerStartError
        It is not installed, or did not come up; the message holds what it said.
    """
    _check_installed()
    key = SecretStr(f"tml-{secrets.token_urlsafe(32)}")
    process = _spawn(model, data_dir, key, download=download)
    lines: queue.Queue[str] = queue.Queue()
    said: deque[str] = deque(maxlen=20)
    for pipe, sink in ((process.stdout, lines.put), (process.stderr, said.append)):
        assert pipe is not None
        threading.Thread(target=_drain, args=(pipe, sink), daemon=True).start()
    url = _await_ready(process, lines, said, timeout)
    server = EmbeddedServer(url, key, process)
    atexit.register(server.stop)
    return server


def _check_installed() -> None:
    missing = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ServerStartError(
            f"The embedded server needs {', '.join(missing)}, which are not installed.",
            advice='Install it with: pip install "tinker-nb[local]".',
        )


def _spawn(
    model: str, data_dir: str | Path | None, key: SecretStr, *, download: bool
) -> subprocess.Popen[str]:
    command = [
        *(sys.executable, "-m", "tinker_nb", "serve", "--port", "0", "--until-stdin-closes"),
        *("--model", model, "--api-key-env", KEY_VARIABLE),
        *(("--data-dir", str(data_dir)) if data_dir is not None else ()),
        *(("--download",) if download else ()),
    ]
    return subprocess.Popen(  # noqa: S603  # our own interpreter and module; no shell
        command,
        # The server's stdin is our end of a pipe: it closes when this process ends in any way.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # The key goes by environment: a command line can be read by every user of the machine.
        env={**os.environ, KEY_VARIABLE: key.get_secret_value()},
        # An interrupt of the notebook's cell must not reach the server.
        start_new_session=True,
    )


def _drain(pipe: IO[str], sink: object) -> None:
    """Read a pipe to its end, so that the server never blocks on writing."""
    assert callable(sink)
    with contextlib.suppress(ValueError):  # the pipe was closed by stop()
        for line in pipe:
            sink(line.rstrip())


def _await_ready(
    process: subprocess.Popen[str], lines: queue.Queue[str], said: deque[str], timeout: float
) -> str:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and process.poll() is None:
        try:
            found = _READY.search(lines.get(timeout=0.2))
        except queue.Empty:
            continue
        if found:
            return found[1]
    process.kill()
    process.wait()
    words = " ".join(said) or f"no word (exit status {process.returncode})"
    raise ServerStartError(f"The embedded server did not come up. It said: {words}")
