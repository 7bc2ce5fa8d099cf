"""Files of checkpoints: signed links to them, and the files themselves."""

from __future__ import annotations

from email.utils import format_datetime

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from tinker_nb.errors import UnknownNameError
from tinker_nb.server.answers import answer
from tinker_nb.server.house import House
from tinker_nb.server.routes.asked import NamedCheckpoint, TheListing, found_checkpoint
from tinker_nb.server.routes.common import TheHouse
from tinker_nb.server.shelf.giving import ARCHIVE, archived, given_files
from tinker_nb.server.shelf.signing import DOWNLOADS, Links, links_expire
from tinker_nb.server.store.tables import CheckpointRow
from tinker_nb.wire.rest import ExternalWeightsUrlsResponse

router = APIRouter()
_ONE = "/api/v1/training_runs/{model_id}/checkpoints/{kind}/{name}"
#: A link is as good as a key while it lives: nothing may keep it, or guess at what it gives.
_HEADERS = {
    "Cache-Control": "private, no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.get(f"{_ONE}/external_weights_urls")
async def external_weights_urls(
    row: NamedCheckpoint, request: Request, house: TheHouse
) -> Response:
    """Link to each file of a checkpoint; exports have their name from here, but all may be had."""
    links, base_url = Links(house.home.directory), str(request.base_url)
    urls = {name: links.address(base_url, row, name) for name in _files(house, row)}
    return answer(ExternalWeightsUrlsResponse(urls=urls, expires=links_expire()))


@router.get(f"{_ONE}/archive")
async def archive_link(row: NamedCheckpoint, request: Request, house: TheHouse) -> Response:
    """Lead to an archive of a checkpoint, as earlier SDKs fetch it."""
    _files(house, row)
    url = Links(house.home.directory).address(str(request.base_url), row, ARCHIVE)
    expires = format_datetime(links_expire(), usegmt=True)
    return JSONResponse({}, 302, {"Location": url, "Expires": expires})


@router.get(f"{DOWNLOADS}/{{token}}/{{file}}")
async def download(token: str, file: str, house: TheHouse, listing: TheListing) -> Response:
    """Give a file, or an archive of all; the link alone opens it."""
    opened = Links(house.home.directory).read(token)
    if opened is None:
        # 403 is what file hosts say here, and what makes a client ask for new links.
        raise HTTPException(403, "This link is wrong or too old; ask for a new one.")
    row = found_checkpoint(listing, opened.path)
    if row.directory != opened.directory:
        raise HTTPException(403, f"{row.path} was saved anew; ask for a new link.")
    names, folder = _files(house, row), house.home.checkpoints / row.directory
    if file == ARCHIVE and ARCHIVE not in names:
        headers = {**_HEADERS, "Content-Disposition": f'attachment; filename="{ARCHIVE}"'}
        return StreamingResponse(archived(folder, names), 200, headers, "application/gzip")
    if file not in names:
        raise UnknownNameError(f"{row.path} has no file {file!r}.")
    return FileResponse(
        folder / file, headers=_HEADERS, media_type="application/octet-stream", filename=file
    )


def _files(house: House, row: CheckpointRow) -> list[str]:
    names = given_files(house.home.checkpoints / row.directory, row.kind)
    if not names:
        raise UnknownNameError(f"The files of {row.path} are gone; use another checkpoint.")
    return names
