"""Links to files that open without the key: signed, for one checkpoint, and soon over."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from itsdangerous import BadSignature, URLSafeTimedSerializer

from tinker_nb.server.store.tables import CheckpointRow

DOWNLOADS = "/api/v1/downloads"
_LIFE = 15 * 60  # seconds
_SIGNED = re.compile(rf"{DOWNLOADS}/[A-Za-z0-9_.-]+/[^/]+")
_FILE_NAME = "links"
_LENGTH = 32


def is_signed_download(path: str) -> bool:
    """Say whether a path has the form of a signed link; its route checks the signature."""
    return _SIGNED.fullmatch(path) is not None


@dataclass(frozen=True)
class Pass:
    """What a link opens: a checkpoint, as long as it is the one that was saved then."""

    path: str
    directory: str


class Links:
    """Makes links and reads them; the secret lies beside the data, so a restart spoils none."""

    def __init__(self, home: Path) -> None:
        self._serializer = URLSafeTimedSerializer(
            _secret(home / _FILE_NAME),
            salt="checkpoint files",
            signer_kwargs={"digest_method": sha256},
        )

    def address(self, base_url: str, row: CheckpointRow, file: str) -> str:
        """Return the URL of a file in a checkpoint."""
        token = self._serializer.dumps([row.path, row.directory])
        text = token if isinstance(token, str) else token.decode()
        return f"{base_url.rstrip('/')}{DOWNLOADS}/{text}/{quote(file, safe='')}"

    def read(self, token: str) -> Pass | None:
        """Return what a link opens; None when it is not ours, or too old."""
        try:
            path, directory = self._serializer.loads(token, max_age=_LIFE)
        except (BadSignature, ValueError):
            return None
        return Pass(path, directory)


def links_expire() -> datetime:
    """Return when links that are made now are over."""
    return (datetime.now(UTC) + timedelta(seconds=_LIFE)).replace(microsecond=0)


def _secret(file: Path) -> bytes:
    """Return the secret in a file that only its owner can read, making it where it is missing."""
    try:
        found = file.read_bytes()
    except FileNotFoundError:
        found = b""
    return found if len(found) == _LENGTH else _new_secret(file)


def _new_secret(file: Path) -> bytes:
    secret = secrets.token_bytes(_LENGTH)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(secret)
    beside.replace(file)
    return secret
