"""The official SDK of before protobuf, unmodified: fetched beside the present one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.conftest import KEY, Served

VERSION = "0.24.1"
SCRIPT = Path(__file__).with_name("earlier_sdk.py")


@pytest.fixture(scope="module")
def earlier_sdk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package alone, in a folder of its own; what it needs is here for the present one."""
    site = tmp_path_factory.mktemp("earlier")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    command = [*install, str(site), f"tinker=={VERSION}"]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        pytest.skip(f"tinker {VERSION} cannot be fetched from here")
    return site


def test_a_cookbook_loop(earlier_sdk: Path, served: Served) -> None:
    environment = {**os.environ, "PYTHONPATH": str(earlier_sdk), "TINKER_TELEMETRY": "0"}
    command = [sys.executable, str(SCRIPT), VERSION, served.url, KEY]
    done = subprocess.run(
        command, env=environment, check=False, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
