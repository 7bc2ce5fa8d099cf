"""The stub's file host, as signed URLs lead to: ranges, editions, and ways in which it fails."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from tests.client.protocol_stub import Stub, refused


@dataclass(frozen=True)
class FileFault:
    """How one answer of the file host goes wrong.

    Parameters
    ----------
    cut
        Break the connection after so many bytes.
    status
        Say no.
    headers
        Say this instead of the truth.
    no_ranges
        Send everything, whatever part was asked for.
    """

    cut: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    no_ranges: bool = False


class _Cut(Response):
    """Promises all of its body, sends the beginning, and breaks the connection."""

    def __init__(self, whole: Response, after: int) -> None:
        super().__init__(status_code=whole.status_code, headers=dict(whole.headers))
        self.body = bytes(whole.body)[:after]

    async def __call__(self, _: Scope, __: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        # The server closes the connection of whoever ends without having sent everything.
        await send({"type": "http.response.body", "body": self.body, "more_body": True})


def file_router(stub: Stub) -> APIRouter:
    """Return the file host."""
    router = APIRouter()

    @router.get("/files/{name:path}")
    def file(name: str, request: Request) -> Response:
        fault = stub.file_faults.pop(0) if stub.file_faults else FileFault()
        if fault.status is not None:
            return Response("<no/>", fault.status, fault.headers)
        if name not in stub.files:
            return refused(404, f"There is no file {name}.")
        answer = _ranged(stub.files[name], request, fault)
        answer.headers.update(fault.headers)
        return answer if fault.cut is None else _Cut(answer, fault.cut)

    @router.get("/moved/{name:path}")
    def moved(name: str) -> Any:
        return RedirectResponse(f"/files/{name}", 302)

    return router


def edition(content: bytes) -> str:
    """Return the ETag of a file."""
    return f'"{hashlib.sha256(content).hexdigest()[:16]}"'


def _ranged(content: bytes, request: Request, fault: FileFault) -> Response:
    headers = {"ETag": edition(content), "Content-Type": "application/octet-stream"}
    wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
    same = request.headers.get("if-range", headers["ETag"]) == headers["ETag"]
    if wanted is None or not same or fault.no_ranges:
        return Response(content, headers=headers)
    start, total = int(wanted[1]), len(content)
    if start >= total:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{total}"})
    headers["Content-Range"] = f"bytes {start}-{total - 1}/{total}"
    return Response(content[start:], 206, headers)
