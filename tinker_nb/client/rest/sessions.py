"""Operations on sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel

from tinker_nb.client.exchange import Request, json_payload
from tinker_nb.client.operations import future_of
from tinker_nb.client.rest.base import RestOperations
from tinker_nb.client.rest.checks import check_page, check_project, check_scope, checked
from tinker_nb.client.rest.paths import session_route, with_query
from tinker_nb.errors import APIResponseValidationError, RequestFailedError
from tinker_nb.wire.rest import AccessScope
from tinker_nb.wire.sessions import (
    AssignProjectRequest,
    GetSessionResponse,
    ListSessionsResponse,
    SessionSearchRequest,
    SessionSearchResponse,
    SessionTraceResponse,
)


class SessionOperations(RestOperations):
    """Sessions.

    Attributes
    ----------
    trace_pause
        Seconds between two questions whether a trace is ready.
    """

    trace_pause: ClassVar[float] = 5.0

    async def list_sessions_async(
        self, limit: int = 20, offset: int = 0, access_scope: AccessScope = "owned"
    ) -> ListSessionsResponse:
        """Return one page of the list of sessions.

        Parameters
        ----------
        limit, offset
            How many, and how many to leave out before them.
        access_scope
            Those ``"owned"`` by you, or ``"accessible"`` to you.

        Examples
        --------
        >>> rest.list_sessions().result().sessions
        >>> (await rest.list_sessions_async()).sessions
        """
        check_page(limit, offset)
        check_scope(access_scope)
        path = with_query("/api/v1/sessions", limit=limit, offset=offset, access_scope=access_scope)
        return await self._ask("list_sessions", Request("GET", path), ListSessionsResponse)

    list_sessions = future_of(list_sessions_async)

    async def get_session_async(
        self, session_id: str, access_scope: AccessScope = "owned"
    ) -> GetSessionResponse:
        """Return what a session has made.

        Parameters
        ----------
        session_id
            The session.
        access_scope
            ``"owned"`` by you, or ``"accessible"`` to you.

        Examples
        --------
        >>> rest.get_session("SESSION").result().training_run_ids
        >>> (await rest.get_session_async("SESSION")).training_run_ids
        """
        check_scope(access_scope)
        path = with_query(session_route(session_id), access_scope=access_scope)
        return await self._ask("get_session", Request("GET", path), GetSessionResponse)

    get_session = future_of(get_session_async)

    async def assign_session_project_async(self, session_id: str, project_id: str) -> None:
        """Move a session, with its runs and samplers, into a project.

        Parameters
        ----------
        session_id
            The session.
        project_id
            The project; a session cannot be taken out of projects again.

        Examples
        --------
        >>> rest.assign_session_project("SESSION", "PROJECT").result()
        >>> await rest.assign_session_project_async("SESSION", "PROJECT")
        """
        check_project(project_id)
        body = json_payload(AssignProjectRequest(project_id=project_id).to_wire())
        request = Request("PUT", f"{session_route(session_id)}/project", body)
        await self._do("assign_session_project", request)

    assign_session_project = future_of(assign_session_project_async)

    async def export_session_trace_async(self, session_id: str) -> str:
        """Let the server write a session's time line, and return the URL to fetch it from.

        The file is a Perfetto trace. Its URL needs no key and is valid for about an hour. Making
        the trace may take minutes.

        Parameters
        ----------
        session_id
            The session.

        Raises
        ------
        RequestFailedError
            The server could not make it.

        Examples
        --------
        >>> url = rest.export_session_trace("SESSION").result()
        >>> url = await rest.export_session_trace_async("SESSION")
        """
        request = Request("GET", f"{session_route(session_id)}/trace_export")
        while True:
            said = await self._ask("export_session_trace", request, SessionTraceResponse)
            if said.status != "pending":
                return _trace_url(said, session_id)
            await asyncio.sleep(self.trace_pause)

    export_session_trace = future_of(export_session_trace_async)

    async def search_sessions_async(
        self, request: SessionSearchRequest | Mapping[str, Any]
    ) -> SessionSearchResponse:
        """Search the sessions of your organization, newest first.

        Parameters
        ----------
        request
            What to look for. For the next page, ask again with ``cursor`` set to the answer's
            ``next_cursor``.

        Examples
        --------
        >>> rest.search_sessions(SessionSearchRequest(display_name="nightly")).result().sessions
        >>> (await rest.search_sessions_async(SessionSearchRequest(limit=10))).sessions
        """
        # Dumped first: code written for the official SDK gives a model of its own.
        fields = request.model_dump(mode="json") if isinstance(request, BaseModel) else request
        body = json_payload(checked(SessionSearchRequest, fields).to_wire())
        sent = Request("POST", "/api/v1/sessions/search", body)
        return await self._ask("search_sessions", sent, SessionSearchResponse)

    search_sessions = future_of(search_sessions_async)


def _trace_url(said: SessionTraceResponse, session_id: str) -> str:
    if said.status == "failed":
        raise RequestFailedError(
            f"The trace of session {session_id} could not be made: {said.error or 'no reason'}."
        )
    if not said.url:
        raise APIResponseValidationError("The server says that the trace is ready, but not where.")
    return said.url
