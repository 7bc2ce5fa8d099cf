"""Fetching files that anybody may fetch who knows their URL.

Signed URLs lead to other servers, often of other companies. They must see neither the key nor any
other header of ours, so nothing here knows the client's connections: httpx is used on its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import httpx

from tinker_nb.client.endpoint import is_loopback
from tinker_nb.client.link import failure_of
from tinker_nb.client.retry import Failure
from tinker_nb.errors import APIConnectionError, APIError, APIResponseValidationError

T = TypeVar("T")
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_HEADERS = {
    "User-Agent": "tinker_nb",
    # Lengths and ranges must count the bytes of the file itself.
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True)
class Opening:
    """What a server says before the file itself."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Missed:
    """A try that did not give the whole file; without ``failure`` the next may begin at once."""

    failure: Failure | None
    error: APIError


#: Takes the file's bytes as they come.
Receive = Callable[[Opening, AsyncIterator[bytes]], Awaitable[T]]


async def plain_get(url: str, headers: Mapping[str, str], receive: Receive[T]) -> T | Missed:
    """Fetch a URL one time; returns what ``receive`` made of it, or that the connection broke."""
    if not url.startswith(("http://", "https://")):
        raise APIResponseValidationError("The server gave something that is no URL to fetch.")
    # A proxy from the environment must not swallow calls to this machine.
    client = httpx.AsyncClient(
        headers=_HEADERS,
        trust_env=not is_loopback(url),
        follow_redirects=True,
        max_redirects=5,
        timeout=_TIMEOUT,
    )
    try:
        async with client, client.stream("GET", url, headers=dict(headers)) as answer:
            opening = Opening(answer.status_code, answer.headers)
            # Each piece as it comes: one that is still being gathered would be lost in a break.
            return await receive(opening, answer.aiter_raw())
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        # Not as its cause: whoever reads the URL in there could fetch the file.
        wrong = type(error).__name__
    except httpx.HTTPError as error:
        return Missed(failure_of(error), _broken(error))
    raise APIResponseValidationError(f"The URL the server gave leads nowhere: {wrong}.")


def _broken(error: httpx.HTTPError) -> APIConnectionError:
    return APIConnectionError(
        f"The connection broke while a file was fetched: {type(error).__name__}.",
        advice="Call download_checkpoint again: it goes on where it stopped.",
    )
