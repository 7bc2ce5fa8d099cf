"""The README's example does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"


def test_the_script_runs_and_its_loss_falls() -> None:
    (script,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    # No warning either: a script leaves no connection open.
    command = [sys.executable, "-W", "error", "-c", script]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=dict(os.environ), check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert not ran.stderr
    losses = [float(line) for line in ran.stdout.split()]
    assert len(losses) == 10
    assert losses[-1] < losses[0] / 4


def test_every_magic_is_named() -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    from tinker_nb.notebook.extension import load, unload

    make: Any = InteractiveShell  # its constructor carries no types
    shell = make(config=Config({"HistoryManager": {"enabled": False}}))
    load(shell)
    try:
        magics = shell.magics_manager.magics
        names = {name for kind in magics.values() for name in kind if name.startswith("tinker_")}
    finally:
        unload(shell)
    text = README.read_text(encoding="utf-8")
    assert not [name for name in names - {"tinker_wait_async"} if f"%{name}" not in text]
