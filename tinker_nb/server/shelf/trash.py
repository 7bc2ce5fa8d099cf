"""Folders of checkpoints that go away: out of sight at once, and deleted after."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from pathlib import Path


def discard(checkpoints: Path, name: str) -> None:
    """Delete a checkpoint's folder; one that is gone already is no error.

    It is renamed first: who begins to read it now finds nothing, not half of it, and what a crash
    leaves is cleared at the next start, as everything is whose name is hidden.
    """
    if not name or name != Path(name).name or name.startswith("."):
        return  # no name of a checkpoint's folder, so nothing of ours
    hidden = checkpoints / f".trash-{secrets.token_hex(8)}"
    with contextlib.suppress(FileNotFoundError):
        (checkpoints / name).rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
