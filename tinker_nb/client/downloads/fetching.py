"""Fetching one file by a signed URL: resumed where it stopped, and whole or not there at all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import BinaryIO

from tinker_nb.client.downloads.parts import Body, Part, read_opening
from tinker_nb.client.downloads.plain_get import Missed, Opening, plain_get
from tinker_nb.client.exchange import Reply, status_error
from tinker_nb.client.retry import Failure, RetryPolicy, retry_delay
from tinker_nb.errors import APIConnectionError, APIError, APIResponseValidationError

_ERROR_BYTES = 2000
_STEP = 1 << 20  # bytes
#: Asks for the URLs of all files by name.
AskUrls = Callable[[], Awaitable[Mapping[str, str]]]
#: Hears how many bytes there are, of how many.
Tell = Callable[[int, int | None], None]


class SignedUrls:
    """The URLs of a download, asked for again when they have expired.

    Parameters
    ----------
    ask
        Asks the server for them.
    """

    def __init__(self, ask: AskUrls) -> None:
        self._ask = ask
        self._urls: Mapping[str, str] | None = None

    async def all(self) -> Mapping[str, str]:
        """Return all URLs by the names of their files."""
        if self._urls is None:
            self._urls = await self._ask()
        return self._urls

    async def of(self, name: str) -> str:
        """Return a file's URL."""
        url = (await self.all()).get(name)
        if url is None:
            raise APIResponseValidationError(f"The server does not offer {name!r} any more.")
        return url

    def forget(self) -> None:
        """Ask again with the next file."""
        self._urls = None


class Fetch:
    """Fetching of one file.

    Parameters
    ----------
    urls, name
        Where it is.
    part
        What there is of it.
    policy
        How patient to be; what counts is the time without any progress.
    tell
        Hears how far it is.
    """

    def __init__(
        self, urls: SignedUrls, name: str, part: Part, policy: RetryPolicy, tell: Tell
    ) -> None:
        self._urls, self._name, self._part = urls, name, part
        self._policy, self._tell = policy, tell
        self._may_renew = True

    async def run(self) -> int:
        """Fetch what is missing, give the file its name and return how many bytes it has.

        Raises
        ------
        APIError
            It could not be fetched; what there is of it stays.
        OSError
            It could not be written.
        """
        began, attempt = time.monotonic(), 0
        while True:
            size = self._part.size
            url = await self._urls.of(self._name)
            missed = await plain_get(url, self._part.wish, self._receive)
            if missed is None:
                return self._part.finish()
            if self._part.size > size:
                began, attempt, self._may_renew = time.monotonic(), 0, True
            await self._pause(missed, attempt, time.monotonic() - began)
            attempt += 1

    async def _pause(self, missed: Missed, attempt: int, elapsed: float) -> None:
        """Wait until the next try; raises when there is to be none."""
        if missed.failure is None:
            return
        chance = random.random()  # noqa: S311  # spreads clients in time, guards nothing
        wait = retry_delay(
            missed.failure, attempt=attempt, elapsed=elapsed, chance=chance, policy=self._policy
        )
        if wait is None:
            raise missed.error
        await asyncio.sleep(wait)

    async def _receive(self, opening: Opening, pieces: AsyncIterator[bytes]) -> Missed | None:
        """Take one answer; returns what went wrong, or None when the file is whole."""
        have = self._part.size
        reading = read_opening(opening, have, self._part.edition)
        if isinstance(reading, Body):
            return await self._write(reading, opening, pieces)
        if reading == "misfit":
            return self._begin_anew(have)
        if reading == "whole":
            self._tell(have, have)
            return None
        error = await _said(opening, pieces)
        if reading == "expired" and self._may_renew:
            self._may_renew = False
            self._urls.forget()
            return Missed(None, error)
        return Missed(Failure(opening.status, opening.headers), error)

    def _begin_anew(self, have: int) -> Missed:
        """Drop what is there; without anything there, the next answer would be the same."""
        self._part.drop()
        error = APIResponseValidationError(f"The server sent a wrong part of {self._name!r}.")
        if not have:
            raise error
        return Missed(None, error)

    async def _write(
        self, body: Body, opening: Opening, pieces: AsyncIterator[bytes]
    ) -> Missed | None:
        if opening.headers.get("content-encoding", "identity") != "identity":
            raise APIResponseValidationError(f"The server sent {self._name!r} encoded.")
        done = body.start
        with self._part.open(body.start, body.edition) as file:
            self._tell(done, body.total)
            async for written in _written(file, pieces):
                done += written
                self._tell(done, body.total)
        return self._verified(done, body.total)

    def _verified(self, done: int, total: int | None) -> Missed | None:
        if total is None or done == total:
            return None
        if done > total:
            self._part.drop()
            raise APIResponseValidationError(
                f"{self._name!r} has {done} bytes and should have {total}."
            )
        error = APIConnectionError(f"{self._name!r} ended after {done} of {total} bytes.")
        return Missed(Failure(reason="the file ended early"), error)


async def _written(file: BinaryIO, pieces: AsyncIterator[bytes]) -> AsyncIterator[int]:
    """Write what comes, and tell how much after each step; a break loses nothing of it."""
    waiting = bytearray()
    try:
        async for piece in pieces:
            waiting += piece
            if len(waiting) >= _STEP:
                full, waiting = waiting, bytearray()
                # In a thread: a slow disk must stop neither heartbeats nor the notebook.
                await asyncio.to_thread(file.write, full)
                yield len(full)
    finally:
        file.write(waiting)
    yield len(waiting)


async def _said(opening: Opening, pieces: AsyncIterator[bytes]) -> APIError:
    """Return the error of an answer that brings no file."""
    text = b""
    async for piece in pieces:
        text += piece
        if len(text) > _ERROR_BYTES:
            break
    kind = opening.headers.get("content-type", "")
    return status_error(Reply(opening.status, kind, text, opening.headers))
