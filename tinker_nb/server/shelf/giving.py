"""A checkpoint's files as they are given out: one by one, or as one archive."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

ARCHIVE = "archive.tar.gz"
_CHUNK = 1 << 16
_ADAPTER = "adapter_"
_EXPORT = "external_weights"


def given_files(folder: Path, kind: str) -> list[str]:
    """Return the names of the files in a checkpoint that are given out.

    Of an export that is everything. Of other checkpoints it is the adapter, which anything can
    load; the optimizer's state beside it means something to this server only.
    """
    try:
        with os.scandir(folder) as entries:
            found = [each.name for each in entries if each.is_file(follow_symlinks=False)]
    except OSError:
        return []
    wanted = "" if kind == _EXPORT else _ADAPTER
    return sorted(name for name in found if name.startswith(wanted) and name[0] != ".")


def archived(folder: Path, names: list[str]) -> Iterator[bytes]:
    """Yield a compressed archive of some files, a little at a time whatever their size.

    A pipe lies between the thread that writes and whoever takes: when nobody takes any more, its
    end closes, and the thread ends with its next write.
    """
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1, "archive") as pool:
        written = pool.submit(_write, folder, names, writing)
        with os.fdopen(reading, "rb", buffering=0) as pipe:
            yield from iter(partial(pipe.read, _CHUNK), b"")
        written.result()


def _write(folder: Path, names: list[str], writing: int) -> None:
    with (
        os.fdopen(writing, "wb") as pipe,
        # Weights hardly shrink: more effort would only cost time.
        gzip.GzipFile(fileobj=pipe, mode="wb", compresslevel=1, filename="", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        for name in names:
            with _opened(folder / name) as file:
                archive.addfile(_entry(archive, name, file), file)


def _opened(path: Path) -> BinaryIO:
    """Open a regular file, and no link put in its place."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    return os.fdopen(descriptor, "rb")


def _entry(archive: tarfile.TarFile, name: str, file: BinaryIO) -> tarfile.TarInfo:
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{name} is no file.")
    entry = tarfile.TarInfo(name)
    # Neither owner nor mode: they tell of this machine, and mean nothing on another.
    entry.size, entry.mtime = status.st_size, int(status.st_mtime)
    return entry
