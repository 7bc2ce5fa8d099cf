"""Operations that bring a checkpoint's files here."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import urljoin

from tinker_nb.client.exchange import Reply, Request
from tinker_nb.client.operations import future_of
from tinker_nb.client.rest.base import RestOperations, read
from tinker_nb.client.rest.paths import (
    checkpoint_of,
    checkpoint_route,
    external_checkpoint,
)
from tinker_nb.client.retry import Failure
from tinker_nb.errors import (
    APIResponseValidationError,
    InvalidInputError,
    NotFoundError,
    NotSupportedByServer,
)
from tinker_nb.wire.paths import CheckpointPath, parse_checkpoint_path
from tinker_nb.wire.rest import CheckpointArchiveUrlResponse, ExternalWeightsUrlsResponse

if TYPE_CHECKING:
    from tinker_nb.client.downloads.downloading import Progress

_ARCHIVE_TRIES = 6
_LONGEST_PAUSE = 300.0
_ARCHIVE_LIFE = timedelta(minutes=15)  # of a URL whose server does not say


class FileOperations(RestOperations):
    """Where a checkpoint's files are, and fetching them.

    Attributes
    ----------
    archive_pause
        Seconds between two questions for an archive that is being made.
    """

    archive_pause: ClassVar[float] = 30.0

    async def get_external_weights_urls_async(
        self, tinker_path: str
    ) -> ExternalWeightsUrlsResponse:
        """Return the URL of each file of an export; they need no key.

        Parameters
        ----------
        tinker_path
            ``tinker://RUN/external_weights/NAME``, as `TrainingClient.save_weights_external`
            gives it.

        Examples
        --------
        >>> rest.get_external_weights_urls("tinker://RUN/external_weights/final").result().urls
        >>> await rest.get_external_weights_urls_async("tinker://RUN/external_weights/final")
        """
        route = checkpoint_route(external_checkpoint(tinker_path), "external_weights_urls")
        request = Request("GET", route)
        answer = ExternalWeightsUrlsResponse
        return await self._ask("get_external_weights_urls", request, answer)

    get_external_weights_urls = future_of(get_external_weights_urls_async)

    async def get_checkpoint_archive_url_async(
        self, training_run_id: str, checkpoint_id: str
    ) -> CheckpointArchiveUrlResponse:
        """Return the URL of a checkpoint's archive; older servers and SkyRL have one.

        Parameters
        ----------
        training_run_id
            The run, which is the ``model_id`` of its training client.
        checkpoint_id
            Such as ``sampler_weights/step-1``; see `list_checkpoints`.

        Examples
        --------
        >>> rest.get_checkpoint_archive_url("RUN", "sampler_weights/step-1").result().url
        >>> await rest.get_checkpoint_archive_url_async("RUN", "sampler_weights/step-1")
        """
        checkpoint = checkpoint_of(training_run_id, checkpoint_id)
        return await self._archive_url("get_checkpoint_archive_url", checkpoint)

    get_checkpoint_archive_url = future_of(get_checkpoint_archive_url_async)

    async def get_checkpoint_archive_url_from_tinker_path_async(
        self, tinker_path: str
    ) -> CheckpointArchiveUrlResponse:
        """Return the URL of a checkpoint's archive; older servers and SkyRL have one.

        Parameters
        ----------
        tinker_path
            The checkpoint.

        Examples
        --------
        >>> path = "tinker://RUN/sampler_weights/step-1"
        >>> rest.get_checkpoint_archive_url_from_tinker_path(path).result().url
        >>> await rest.get_checkpoint_archive_url_from_tinker_path_async(path)
        """
        operation = "get_checkpoint_archive_url_from_tinker_path"
        return await self._archive_url(operation, parse_checkpoint_path(tinker_path))

    get_checkpoint_archive_url_from_tinker_path = future_of(
        get_checkpoint_archive_url_from_tinker_path_async
    )

    async def download_checkpoint_async(
        self, tinker_path: str, folder: str | PathLike[str], *, progress: Progress | None = None
    ) -> list[Path]:
        """Fetch a checkpoint's files into a folder, and return where they are.

        An export is fetched file by file. When it is interrupted, call it again: it goes on
        where it stopped. Any other checkpoint is fetched as an archive, where the server has
        those; the folder must then be new or empty.

        Parameters
        ----------
        tinker_path
            ``tinker://RUN/external_weights/NAME``, or any checkpoint the server has an archive of.
        folder
            Where to.
        progress
            Called with a `DownloadProgress` about every megabyte, on the loop that does the work.

        Raises
        ------
        InvalidInputError
            There is nothing to fetch for this path, or the folder is taken.
        APIResponseValidationError
            What came must not be written, or is not what was announced.
        APIError
            A file could not be fetched.
        ConfigurationError
            The disk is full, or the folder not yours to write in.

        Examples
        --------
        >>> path = training.save_weights_external("final").result().path
        >>> files = rest.download_checkpoint(path, "final").result()
        >>> files = await rest.download_checkpoint_async(path, "final")
        """
        await self._server.require("download_checkpoint")
        # Loaded with the first download: httpx is a good part of what importing us would cost.
        from tinker_nb.client.downloads.downloading import download_archive, download_files

        checkpoint, target = parse_checkpoint_path(tinker_path), _full(folder)
        policy = (await self._server.transport.ready()).retry

        async def ask_urls() -> Mapping[str, str]:
            return (await self.get_external_weights_urls_async(tinker_path)).urls

        async def ask_archive() -> str:
            return await self._archive_to_download(checkpoint)

        if checkpoint.kind == "external_weights":
            return await download_files(ask_urls, target, policy, progress)
        return await download_archive(ask_archive, target, policy, progress)

    download_checkpoint = future_of(download_checkpoint_async)

    async def _archive_to_download(self, checkpoint: CheckpointPath) -> str:
        try:
            return (await self._archive_url("get_checkpoint_archive_url", checkpoint)).url
        except (NotFoundError, NotSupportedByServer) as error:
            raise InvalidInputError(
                f"The server has no archive of {checkpoint}.",
                advice="Check the path. If it is right, export the weights first with "
                "TrainingClient.save_weights_external(name), and download what that returns.",
            ) from error

    async def _archive_url(
        self, operation: str, checkpoint: CheckpointPath
    ) -> CheckpointArchiveUrlResponse:
        path = checkpoint_route(checkpoint, "archive")
        request = Request("GET", path, headers={"Accept": "application/json"})
        special = {503: self._while_made}
        reply = await self._server.tell(operation, request, special)
        base_url = (await self._server.transport.ready()).base_url
        return read_archive_url(reply, f"{base_url}{path}", datetime.now(UTC))

    def _while_made(self, failure: Failure, attempt: int) -> float | None:
        """Return how long to wait for an archive that is being made."""
        if attempt + 1 >= _ARCHIVE_TRIES:
            return None
        asked = (failure.headers or {}).get("retry-after", "")
        return min(float(asked), _LONGEST_PAUSE) if asked.isdecimal() else self.archive_pause


def read_archive_url(reply: Reply, asked: str, now: datetime) -> CheckpointArchiveUrlResponse:
    """Read where an archive is: a redirect, which is not followed, or JSON."""
    soon = now + _ARCHIVE_LIFE
    if reply.status < 300:
        return read({"expires": soon, **reply.json_object()}, CheckpointArchiveUrlResponse)
    if "location" not in reply.headers:
        raise APIResponseValidationError("The server points to an archive without saying where.")
    return CheckpointArchiveUrlResponse(
        url=urljoin(asked, reply.headers["location"]),
        expires=_http_date(reply.headers.get("expires")) or soon,
    )


def _http_date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def _full(folder: str | PathLike[str]) -> Path:
    return Path(folder).expanduser().resolve()
