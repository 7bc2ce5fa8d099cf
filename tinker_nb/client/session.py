"""A session with a server: made on first use, kept alive by heartbeats on the loop thread.

Heartbeats go on while user code blocks its own event loop for minutes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import threading
from collections.abc import Mapping
from typing import Any

from tinker_nb._version import __version__
from tinker_nb.client.exchange import Reply, Request, json_payload
from tinker_nb.client.loops import loop_thread, wait_async
from tinker_nb.client.transport import Transport
from tinker_nb.errors import NotFoundError
from tinker_nb.wire.requests import (
    CreateSessionRequest,
    FinishSessionRequest,
    SessionHeartbeatRequest,
)
from tinker_nb.wire.responses import CreateSessionResponse

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 10.0


class Session:
    """One session; also the address of calls that need its id.

    Parameters
    ----------
    transport
        Where it is.
    user_metadata, display_name, project_id
        Told to the server.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        user_metadata: Mapping[str, Any] | None = None,
        display_name: str | None = None,
        project_id: str | None = None,
    ) -> None:
        self._transport = transport
        self._request = CreateSessionRequest(
            sdk_version=__version__,
            user_metadata=dict(user_metadata or {}),
            display_name=display_name,
            project_id=project_id,
        )
        self._lock = threading.Lock()
        self._created: concurrent.futures.Future[str] | None = None
        self._heart: concurrent.futures.Future[None] | None = None
        self.model_seq_ids = itertools.count()
        self.sampling_seq_ids = itertools.count()

    async def resolve(self) -> str:
        """Return the session's id, making the session on first use."""
        return await wait_async(self._creation())

    @property
    def session_id(self) -> str | None:
        """The id, when the session exists."""
        made = self._created
        return made.result() if made is not None and made.done() and not made.exception() else None

    def _creation(self) -> concurrent.futures.Future[str]:
        with self._lock:
            failed = (
                self._created is not None and self._created.done() and self._created.exception()
            )
            if self._created is None or failed:
                self._created = loop_thread().submit(self._create())
            return self._created

    async def _create(self) -> str:
        await _tolerant(self._transport, "/api/v1/client/config", {"sdk_version": __version__})
        request = Request("POST", "/api/v1/create_session", json_payload(self._request.to_wire()))
        said = CreateSessionResponse.model_validate(
            (await self._transport.send(request)).json_object()
        )
        for level, text in (
            (logging.INFO, said.info_message),
            (logging.WARNING, said.warning_message),
        ):
            if text:
                logger.log(level, "The server says: %s", text)
        self._heart = loop_thread().submit(self._beat(said.session_id))
        return said.session_id

    async def _beat(self, session_id: str) -> None:
        body = json_payload(SessionHeartbeatRequest(session_id=session_id).to_wire())
        request = Request("POST", "/api/v1/session_heartbeat", body, timeout=10.0)
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            tried = await self._transport.once(request)
            if isinstance(tried, Reply) and tried.status == 410:
                logger.warning("The server has ended session %s.", session_id)
                return

    async def finish(self, reason: str = "success", detail: str | None = None) -> None:
        """End the session, when there is one; a server without that endpoint is no error."""
        session_id, self._created = self.session_id, None
        if self._heart is not None:
            self._heart.cancel()
        if session_id is None:
            return
        body = FinishSessionRequest(reason={"type": reason}, detail=detail).model_dump()
        await _tolerant(self._transport, f"/api/v1/sessions/{session_id}/finish", body)


async def _tolerant(transport: Transport, path: str, body: Mapping[str, Any]) -> None:
    """Tell a server something that it may not understand."""
    try:
        await transport.send(Request("POST", path, json_payload(body), timeout=15.0))
    except NotFoundError:
        logger.debug("The server has no %s.", path)
