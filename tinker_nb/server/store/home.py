"""The data directory: one server at a time, and the key for its owner's eyes only."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pydantic import SecretStr

from tinker_nb.errors import ConfigurationError

_MOST_SIBLINGS = 100


@dataclass
class Home:
    """A data directory held by this server; the lock goes with `leave` or with the process."""

    directory: Path
    _lock: IO[str]

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.directory / "tinker_nb.sqlite"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are kept."""
        return self.directory / "checkpoints"

    def prepare_checkpoints(self) -> None:
        """Make the checkpoints' place, and clear what a crash left half written."""
        self.checkpoints.mkdir(exist_ok=True)
        for leftover in self.checkpoints.glob(".*"):
            shutil.rmtree(leftover)

    def write_key(self, key: SecretStr) -> Path:
        """Write the key to a file that only its owner can read."""
        file = self.directory / "key"
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(key.get_secret_value())
        return file

    def leave(self) -> None:
        """Let another server have it."""
        self._lock.close()


def enter_home(directory: Path) -> Home:
    """Make the directory where it is missing, and hold it.

    Raises
    ------
    ConfigurationError
        It cannot be written, or another server holds it.
    """
    home = _try_home(directory)
    if home is None:
        raise ConfigurationError(
            f"Another server uses the data directory {directory}; give another --data-dir."
        )
    return home


def enter_default_home(directory: Path) -> Home:
    """Hold the user's own directory, or one beside it while other servers hold it."""
    for candidate in _candidates(directory):
        home = _try_home(candidate)
        if home is not None:
            return home
    raise ConfigurationError(f"Too many servers use {directory}; give a --data-dir.")


def _candidates(directory: Path) -> Iterator[Path]:
    yield directory
    for number in range(2, _MOST_SIBLINGS):
        yield directory.with_name(f"{directory.name}-{number}")


def _try_home(directory: Path) -> Home | None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (directory / "lock").open("w")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigurationError(
            f"{directory} cannot be used as data directory: {reason}."
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return Home(directory, lock)
