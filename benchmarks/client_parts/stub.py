"""Starting the stub server in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]


def running_stub(*options: str) -> AbstractContextManager[str]:
    """Run a stub server with some command line options; gives its URL."""
    return running("benchmarks.stub_server", *options)


@contextmanager
def running(module: str, *options: str) -> Iterator[str]:
    """Run a module that listens, tells its port, and ends when its stdin does; gives its URL."""
    command = [sys.executable, "-m", module, *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
        finally:
            process.stdin.close()  # it ends when this does


def cpu_of_stub(url: str) -> float:
    """Return the CPU seconds that a stub has used so far."""
    with urllib.request.urlopen(f"{url}/stub", timeout=10) as answer:
        return float(json.load(answer)["cpu"])
