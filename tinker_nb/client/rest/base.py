"""What all groups of REST operations share: the server they speak to, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import SecretStr, ValidationError

from tinker_nb.client.endpoint import find_endpoint
from tinker_nb.client.exchange import Reply, Request
from tinker_nb.client.operations import blocking_of
from tinker_nb.client.retry import DEFAULT_POLICY, RetryPolicy
from tinker_nb.client.sealing import sealing
from tinker_nb.client.server import Server
from tinker_nb.client.transport import Transport
from tinker_nb.errors import APIResponseValidationError
from tinker_nb.wire.base import WireModel

M = TypeVar("M", bound=WireModel)


class RestOperations:
    """Operations on one server that need no session."""

    _server: Server
    _is_owner: bool

    @sealing
    def __init__(
        self,
        *,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        retry: RetryPolicy = DEFAULT_POLICY,
    ) -> None:
        self._server = Server(Transport(find_endpoint(base_url, api_key, retry)))
        self._is_owner = True

    @classmethod
    def on(cls, server: Server) -> Self:
        """Return a client on a server that somebody else closes."""
        client = cls.__new__(cls)
        client._server, client._is_owner = server, False
        return client

    @property
    def base_url(self) -> str | None:
        """Where the server is; None while it is starting."""
        server = getattr(self, "_server", None)  # none yet, where making this client failed
        endpoint = server.transport.endpoint if server is not None else None
        return endpoint.base_url if endpoint is not None else None

    def __repr__(self) -> str:
        where = self.base_url or "of a server that is starting"
        return f"<{type(self).__name__} {where}>"

    def get_telemetry(self) -> object | None:
        """Return None: this client sends no telemetry."""
        return None

    # Ending

    async def close_async(self) -> None:
        """Close the connections; those of a `ServiceClient` stay open, for they are its own.

        Examples
        --------
        >>> rest.close()
        >>> await rest.close_async()
        """
        if self._is_owner:
            await self._server.transport.aclose()

    close = blocking_of(close_async)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        await self.close_async()

    # Asking

    async def _ask(self, operation: str, request: Request, answer: type[M]) -> M:
        return await self._server.ask(operation, request, answer)

    async def _do(self, operation: str, request: Request) -> None:
        refuse_redirect(await self._server.tell(operation, request))


def read(fields: Mapping[str, Any], answer: type[M]) -> M:
    """Return a JSON answer as what it should be; raises `APIResponseValidationError`."""
    try:
        return answer.model_validate(fields)
    except ValidationError as error:
        raise APIResponseValidationError(
            f"The server's answer is no {answer.__name__} of the protocol."
        ) from error


def refuse_redirect(reply: Reply) -> None:
    """Raise when the server points elsewhere: what was asked has not been done then."""
    if reply.status >= 300:
        raise APIResponseValidationError(
            f"The server answered {reply.status}, which points elsewhere: nothing was done."
        )
