"""Downloading a checkpoint into a folder: its files one by one, or an archive of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinker_nb.client.downloads.archives import check_free, unpack
from tinker_nb.client.downloads.fetching import AskUrls, Fetch, SignedUrls
from tinker_nb.client.downloads.file_names import place
from tinker_nb.client.downloads.parts import Part
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.errors import APIResponseValidationError, ConfigurationError, TinkerError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadProgress:
    """How far a download is.

    Parameters
    ----------
    file
        The file that is being fetched, by its name in the checkpoint.
    bytes_done, bytes_total
        Of this file; the total is None while it is not known.
    files_done, files_total
        Of the whole download.
    """

    file: str
    bytes_done: int
    bytes_total: int | None
    files_done: int
    files_total: int


Progress = Callable[[DownloadProgress], None]


async def download_files(
    ask: AskUrls, folder: Path, policy: RetryPolicy, progress: Progress | None
) -> list[Path]:
    """Fetch every file of a checkpoint, one after the other, and return where they are.

    Raises
    ------
    APIResponseValidationError
        A file's name leads out of the folder, or its size is not what was said.
    APIError
        A file could not be fetched; what there is of it stays.
    ConfigurationError
        A file cannot be written.
    """
    urls = SignedUrls(ask)
    names = sorted(await urls.all())
    if not names:
        raise APIResponseValidationError("The server says that this checkpoint has no files.")
    targets = [place(folder, name) for name in names]  # all of them, before anything is written
    for done, (name, target) in enumerate(zip(names, targets, strict=True)):
        await _fetch(urls, name, target, policy, _Listener(progress, name, done, len(names)))
    return targets


async def download_archive(
    ask: Callable[[], Awaitable[str]], folder: Path, policy: RetryPolicy, progress: Progress | None
) -> list[Path]:
    """Fetch a checkpoint's archive, unpack it as a new folder, and return where its files are.

    Raises
    ------
    InvalidInputError
        The folder is there already, and not empty.
    APIResponseValidationError
        The archive is broken, or holds what must not be unpacked; the folder is as it was.
    APIError
        It could not be fetched; what there is of it stays, beside the folder.
    ConfigurationError
        It cannot be written.
    """
    check_free(folder)
    archive = folder.with_name(f".{folder.name}.download.tar")
    name = f"{folder.name}.tar"

    async def ask_named() -> dict[str, str]:
        return {name: await ask()}

    await _fetch(SignedUrls(ask_named), name, archive, policy, _Listener(progress, name, 0, 1))
    try:
        with _disk_errors(folder):
            return await asyncio.to_thread(unpack, archive, folder)
    finally:
        archive.unlink(missing_ok=True)


async def _fetch(
    urls: SignedUrls, name: str, target: Path, policy: RetryPolicy, listener: _Listener
) -> None:
    with _disk_errors(target):
        listener.finished(await Fetch(urls, name, Part(target), policy, listener.tell).run())


@dataclass(frozen=True)
class _Listener:
    """Who hears how far a download is; when it fails, the download goes on."""

    progress: Progress | None
    file: str
    files_done: int
    files_total: int

    def tell(self, done: int, total: int | None) -> None:
        self._say(DownloadProgress(self.file, done, total, self.files_done, self.files_total))

    def finished(self, size: int) -> None:
        done = self.files_done + 1
        self._say(DownloadProgress(self.file, size, size, done, self.files_total))

    def _say(self, state: DownloadProgress) -> None:
        if self.progress is None:
            return
        try:
            self.progress(state)
        except Exception:
            logger.exception("The progress callback of a download failed")


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into an error that says what to do."""
    try:
        yield
    except TinkerError:
        raise
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror or error}.",
            advice="Make room or choose another folder, then call download_checkpoint again.",
        ) from error
