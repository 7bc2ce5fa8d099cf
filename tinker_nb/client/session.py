"""A session with a server: made on first use, kept alive by heartbeats on the loop thread.

Heartbeats go on while user code blocks its own event loop for minutes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import itertools
import logging
import os
from collections.abc import Mapping
from typing import Any

from tinker_nb._version import __version__
from tinker_nb.client.calls import made
from tinker_nb.client.exchange import Reply, Request, json_payload
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.retry import RetryPolicy
from tinker_nb.client.server import Server
from tinker_nb.client.shared import Shared
from tinker_nb.errors import NotFoundError
from tinker_nb.wire.requests import (
    CreateSessionRequest,
    FinishSessionRequest,
    SessionHeartbeatRequest,
)
from tinker_nb.wire.responses import CreateSessionResponse

logger = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 10.0
#: Nobody waits for minutes to close a client: a session that is not finished ends by itself.
_AT_THE_END = RetryPolicy(patience=5.0)


class Session:
    """One session; also the address of calls that need its id.

    Parameters
    ----------
    server
        Where it is.
    user_metadata, display_name, project_id
        Told to the server.
    """

    def __init__(
        self,
        server: Server,
        *,
        user_metadata: Mapping[str, Any] | None = None,
        display_name: str | None = None,
        project_id: str | None = None,
    ) -> None:
        self._server = server
        tags = dict.fromkeys(os.environ.get("TINKER_TAGS", "").split(","))
        self._request = made(
            CreateSessionRequest,
            tags=[tag for tag in tags if tag],
            sdk_version=__version__,
            user_metadata=dict(user_metadata or {}),
            display_name=display_name,
            project_id=project_id,
        )
        self._created = Shared(self._create)
        self._heart: concurrent.futures.Future[None] | None = None
        self._is_ours = True
        self.project_id = project_id
        self.model_seq_ids = itertools.count()
        self.sampling_seq_ids = itertools.count()
        self.custom_loss_seq_ids = itertools.count()

    async def resolve(self) -> str:
        """Return the session's id, making the session on first use.

        Where a server has no sessions, the id is empty.
        """
        return await self._created.get()

    def join(self, session_id: str) -> None:
        """Help to keep another process's session alive; ending it stays with that process."""
        self._is_ours = False
        self._created.set(session_id)
        self._heart = loop_thread().submit(self._beat(session_id))

    @property
    def session_id(self) -> str | None:
        """The id, when the session exists."""
        return self._created.value

    async def _create(self) -> str:
        if not (await self._server.greeting()).dialect.has_sessions:
            return ""
        said = await self._server.ask(
            "create_session",
            Request("POST", "/api/v1/create_session", json_payload(self._request.to_wire())),
            CreateSessionResponse,
        )
        _pass_on(said)
        self._heart = loop_thread().submit(self._beat(said.session_id))
        return said.session_id

    async def _beat(self, session_id: str) -> None:
        body = json_payload(SessionHeartbeatRequest(session_id=session_id).to_wire())
        request = Request("POST", "/api/v1/session_heartbeat", body, timeout=10.0)
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            tried = await self._server.transport.once(request)
            if isinstance(tried, Reply) and tried.status == 410:
                logger.warning("The server has ended session %s.", session_id)
                return

    async def finish(self, reason: str = "success", detail: str | None = None) -> None:
        """End the session, when there is one; a server without that endpoint is no error."""
        session_id = self.session_id
        self._created.forget()
        if self._heart is not None:
            self._heart.cancel()
        if not session_id or not self._is_ours:
            return
        body = FinishSessionRequest(reason={"type": reason}, detail=detail).model_dump()
        path = f"/api/v1/sessions/{session_id}/finish"
        try:
            request = Request("POST", path, json_payload(body), timeout=5.0)
            await self._server.transport.send(request, policy=_AT_THE_END)
        except NotFoundError:
            logger.debug("The server has no %s.", path)


def _pass_on(said: CreateSessionResponse) -> None:
    """Log what the server wants to tell the user."""
    for level, text in (
        (logging.INFO, said.info_message),
        (logging.WARNING, said.warning_message),
        (logging.ERROR, said.error_message),
    ):
        if text:
            logger.log(level, "The server says: %s", text)
