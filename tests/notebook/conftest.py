"""A real kernel with the extension loaded, and a client that reads what its cells say."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel


@dataclass
class Ran:
    """What a cell said: its texts, its displays, and its error."""

    text: str = ""
    displays: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""


class Kernel:
    """A running kernel."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self._client = manager, client

    def start(self, code: str) -> str:
        """Send a cell and do not wait for it."""
        parent: str = self._client.execute(code)
        return parent

    def finish(self, parent: str, timeout: float = 120) -> Ran:
        """Wait for a cell and return what it said."""
        ran = Ran()
        while True:
            message = self._client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != parent:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    ran.text += content["text"]
                case "display_data" | "execute_result":
                    ran.displays.append(content["data"])
                case "error":
                    ran.error = f"{content['ename']}: {content['evalue']}"
                case "status" if content["execution_state"] == "idle":
                    return ran

    def run(self, code: str, timeout: float = 120) -> Ran:
        """Run a cell."""
        return self.finish(self.start(code), timeout)

    def good(self, code: str, timeout: float = 120) -> Ran:
        """Run a cell that must not fail."""
        ran = self.run(code, timeout)
        assert not ran.error, ran.error
        return ran

    def wait_for(self, expression: str, value: str) -> None:
        """Run short cells until an expression has a value; the loop runs between them."""
        for _ in range(1200):
            if self.good(
                f"import asyncio; await asyncio.sleep(0.05); print({expression})"
            ).text == (f"{value}\n"):
                return
        raise AssertionError(f"{expression} never became {value}")


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A kernel with the extension, connected to an embedded server of its own."""
    data_dir: Path = tmp_path_factory.mktemp("data")
    manager, client = start_new_kernel(kernel_name="python3", env=dict(os.environ))
    try:
        kernel = Kernel(manager, client)
        kernel.good("%load_ext tinker_nb")
        kernel.good(f"server = %tinker_connect --data-dir {data_dir}")
        kernel.good("lora = %tinker_lora --rank 4 --seed 0")
        kernel.good(
            "from tinker_nb.data import toy\n"
            "examples = toy.pig_latin_conversations(64, seed=1, split='train')"
        )
        kernel.good("await lora")
        yield kernel
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()
