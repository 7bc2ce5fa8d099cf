"""Names of files that come from a server: which are safe inside a folder."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

from tinker_nb.errors import APIResponseValidationError


def safe_parts(name: str) -> tuple[str, ...]:
    """Return the parts of a relative file name; raises on one that leads elsewhere."""
    parts = tuple(name.split("/"))
    leads_away = any(part in ("", ".", "..") for part in parts)
    # Refused everywhere, so that a checkpoint is as good or bad on every system.
    on_windows = "\\" in name or PureWindowsPath(name).anchor or PureWindowsPath(name).drive
    if leads_away or on_windows or not name.isprintable():
        raise unsafe(name, "it does not name a file inside the folder")
    return parts


def place(folder: Path, name: str) -> Path:
    """Return where a file goes; raises when a link on the way there leads elsewhere."""
    path = folder
    for part in safe_parts(name):
        path /= part
        if path.is_symlink():
            raise unsafe(name, f"{path} is a link that is there already")
    return path


def unsafe(name: str, why: str) -> APIResponseValidationError:
    """Return the error of a file that must not be written."""
    return APIResponseValidationError(
        f"The file {name!r} is refused: {why}.",
        advice="Nothing was written for it; do not trust this checkpoint.",
    )
