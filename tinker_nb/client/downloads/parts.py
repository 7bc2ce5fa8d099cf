"""A file that is not whole yet, and what the answer to a request for its rest means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from tinker_nb.client.downloads.plain_get import Opening

_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")


class Part:
    """What there is of a file: ``NAME.part``, and beside it which edition of the file it is of.

    Parameters
    ----------
    target
        The whole file.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._edition = target.with_name(f"{target.name}.part.tag")

    @property
    def is_begun(self) -> bool:
        """Whether there is anything of it."""
        return self.path.is_file() and not self.path.is_symlink()

    @property
    def size(self) -> int:
        """How many bytes there are; a link counts for nothing and is replaced."""
        return self.path.stat().st_size if self.is_begun else 0

    @property
    def edition(self) -> str | None:
        """What the server called the edition of the file, when it did."""
        if not self.is_begun or not self._edition.is_file():
            return None
        text = self._edition.read_text(encoding="ascii", errors="replace")
        return text if _can_be_sent(text) else None

    @property
    def wish(self) -> dict[str, str]:
        """The headers that ask for the rest, or nothing when all of it is missing."""
        if not self.size:
            return {}
        wish = {"Range": f"bytes={self.size}-"}
        if self.edition:
            wish["If-Range"] = self.edition
        return wish

    def open(self, start: int, edition: str | None) -> BinaryIO:
        """Open it to write on from a place; at the very start, of a new edition."""
        if start:
            return self.path.open("ab")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.drop()
        if edition:
            self._edition.write_text(edition, encoding="ascii")
        return self.path.open("wb")

    def drop(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        self._edition.unlink(missing_ok=True)

    def finish(self) -> int:
        """Give the whole file its name; returns how many bytes it has."""
        size = self.size
        self.path.replace(self.target)
        self._edition.unlink(missing_ok=True)
        return size


@dataclass(frozen=True)
class Body:
    """Bytes follow: from where, how long the whole file is, and which edition it is."""

    start: int
    total: int | None
    edition: str | None


#: Bytes follow; all bytes are there already; what is there does not fit; the URL is used up; or
#: an error.
Reading = Body | Literal["whole", "misfit", "expired", "error"]


def read_opening(opening: Opening, have: int, edition: str | None) -> Reading:
    """Say what an answer means for a part of ``have`` bytes."""
    status, headers = opening.status, opening.headers
    named = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if status == 200:
        return Body(0, _number(headers.get("content-length")), edition_of(headers))
    if status == 206:
        if named is None or named[1] is None or int(named[1]) != have:
            return "misfit"
        if edition and edition_of(headers) not in (None, edition):
            return "misfit"
        return Body(have, _number(named[3]), edition)
    if status == 416 and have:
        return "whole" if named is not None and named[3] == str(have) else "misfit"
    return "expired" if status in (401, 403, 410) else "error"


def edition_of(headers: Mapping[str, str]) -> str | None:
    """Return what tells one edition of a file from the next, in a form If-Range takes."""
    tag = headers.get("etag", "")
    found = headers.get("last-modified") if not tag or tag.startswith("W/") else tag
    return found if found and _can_be_sent(found) else None


def _can_be_sent(text: str) -> bool:
    return text.isascii() and text.isprintable() and text != ""


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None
