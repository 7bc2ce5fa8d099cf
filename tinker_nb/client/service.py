"""ServiceClient: the way in. Makes training and sampling clients on one server."""

from __future__ import annotations

import concurrent.futures
import logging
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import SecretStr

from tinker_nb.client.collecting import collected
from tinker_nb.client.custom_call import MakesLosses
from tinker_nb.client.describing import Describes
from tinker_nb.client.endpoint import CONSOLE, Endpoint, find_endpoint
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.loops import loop_thread, running_loop, wait_async
from tinker_nb.client.making import MakesClients
from tinker_nb.client.operations import ended_future_of, future_of
from tinker_nb.client.references import FutureReference, reference_to
from tinker_nb.client.retry import DEFAULT_POLICY, RetryPolicy
from tinker_nb.client.sealing import sealing
from tinker_nb.client.server import Server
from tinker_nb.client.session import Session
from tinker_nb.client.transport import Transport
from tinker_nb.client.work import give_up_all
from tinker_nb.errors import TinkerError

if TYPE_CHECKING:
    from tinker_nb.client.rest.client import RestClient

logger = logging.getLogger(__name__)
EndStatus = Literal["success", "errored", "interrupted"]


class ServiceClient(MakesClients, MakesLosses, Describes):
    """A connection to one Tinker-compatible server.

    Nothing is sent before the first call. Its session lives, with heartbeats, on the library's own
    loop thread until `close`.

    Parameters
    ----------
    user_metadata, project_id, display_name
        Told to the server about the session.
    base_url
        The server; ``TINKER_BASE_URL`` or the hosted service when not given.
    api_key
        The key; ``TINKER_API_KEY`` when not given. A server on this machine may need none.
    default_headers_overrides
        Headers sent with each request.
    retry
        How patient to be with a server that fails.
    dialect
        How to speak to the server: ``official``, ``json``, ``skyrl`` or ``tinkerbell``. The server
        is asked what it is when not given.

    Examples
    --------
    >>> with ServiceClient(base_url="http://127.0.0.1:8000") as service:
    ...     training = service.create_lora_training_client("tiny-chat", rank=16)
    >>> async with ServiceClient() as service:
    ...     training = await service.create_lora_training_client_async("tiny-chat")
    """

    @sealing
    def __init__(
        self,
        user_metadata: Mapping[str, Any] | None = None,
        project_id: str | None = None,
        *,
        display_name: str | None = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        default_headers_overrides: Mapping[str, str] | None = None,
        retry: RetryPolicy = DEFAULT_POLICY,
        dialect: str | None = None,
    ) -> None:
        endpoint = find_endpoint(base_url, api_key, retry, default_headers_overrides)
        server = Server(Transport(endpoint), dialect)
        self._connect(server, user_metadata, project_id, display_name)

    @classmethod
    def of_starting(
        cls, endpoint: concurrent.futures.Future[Endpoint], *, display_name: str | None = None
    ) -> Self:
        """Return the client of a server that is still starting; its calls wait for that."""
        client = cls.__new__(cls)
        client._connect(Server(Transport(endpoint)), None, None, display_name)
        return client

    def _connect(
        self,
        server: Server,
        user_metadata: Mapping[str, Any] | None,
        project_id: str | None,
        display_name: str | None,
    ) -> None:
        self.server = server
        self.losses = {}
        self.session = Session(
            server,
            user_metadata=user_metadata,
            display_name=display_name,
            project_id=project_id or os.environ.get("TINKER_PROJECT_ID") or None,
        )

    @property
    def holder(self) -> Session:
        """The session, begun with this; the official SDK has it under this name."""
        loop_thread().submit(self.session.resolve())
        return self.session

    def __repr__(self) -> str:
        return f"<ServiceClient {self.base_url or 'of a server that is starting'}>"

    # Other clients of the same server

    def create_rest_client(self) -> RestClient:
        """Return the client of the server's records: runs, checkpoints, sessions."""
        from tinker_nb.client.rest.client import RestClient

        return RestClient.on(self.server)

    @sealing
    async def copy_weights_async(
        self,
        path: str,
        *,
        ttl_seconds: int | None = None,
        weights_access_token: str | SecretStr | None = None,
    ) -> str:
        """Copy weights into this client's project, and return the path of the copy.

        Parameters
        ----------
        path
            ``tinker://RUN/KIND/NAME``.
        ttl_seconds
            How long the copy is kept, one hour to ten years; for ever when not given.
        weights_access_token
            Opens weights of another account.

        Examples
        --------
        >>> service.copy_weights("tinker://RUN/weights/step-10").result()
        >>> await service.copy_weights_async("tinker://RUN/weights/step-10")
        """
        return await self.create_rest_client().copy_weights_async(
            path,
            self.session.project_id,
            ttl_seconds=ttl_seconds,
            weights_access_token=weights_access_token,
        )

    copy_weights = future_of(copy_weights_async)

    # Results of other processes

    def rebuild_future(self, request_id: str | Sequence[str], kind: str) -> TinkerFuture[Any]:
        """Return the future of a request that this or another process submitted earlier.

        Parameters
        ----------
        request_id
            The server's id; several for a call whose data travelled in several requests.
        kind
            What was asked: ``ForwardBackward``, ``OptimStep``, ``Sample`` …

        Raises
        ------
        InvalidInputError
            There is no such kind.

        Examples
        --------
        >>> service.rebuild_future("f-12", "OptimStep").result()
        >>> await service.rebuild_future("f-12", "OptimStep")
        """
        return self.collect(reference_to(self.base_url or "", request_id, kind))

    def collect(self, reference: FutureReference) -> TinkerFuture[Any]:
        """Return the future that a reference names; see `TinkerFuture.reference`.

        Examples
        --------
        >>> service.collect(FutureReference.from_dict(stored)).result()
        >>> await service.collect(FutureReference.from_dict(stored))
        """
        return collected(self.server, reference, running_loop() or loop_thread().loop)

    # Ending

    async def close_async(self, status: EndStatus = "success", detail: str | None = None) -> None:
        """End the session and close the connections; what is still under way is given up.

        Parameters
        ----------
        status
            How the session ended.
        detail
            More on that, for the server.

        Examples
        --------
        >>> service.close()
        >>> await service.close_async("errored", "out of data")
        """
        give_up_all(self.server.transport, "The client was closed before the result came.")
        try:
            await wait_async(loop_thread().submit(self.session.finish(status, detail)))
        except TinkerError as error:
            # A server that is gone has ended the session in its own way.
            logger.info("The session could not be finished: %s", error)
        finally:
            await self.server.transport.aclose()

    close = ended_future_of(close_async)

    def get_console_url(self) -> str:
        """Return the page of this session in the hosted service's console."""
        session_id = self.session.session_id
        return f"{CONSOLE}/sessions/{session_id}" if session_id else f"{CONSOLE}/sessions"

    def get_telemetry(self) -> None:
        """Return nothing: this client sends no telemetry."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close(_end_status(kind))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close_async(_end_status(kind))


def _end_status(kind: type[BaseException] | None) -> EndStatus:
    if kind is None:
        return "success"
    return "interrupted" if issubclass(kind, KeyboardInterrupt) else "errored"


@sealing
def rebuild_future(
    base_url: str,
    request_id: str | Sequence[str],
    kind: str,
    *,
    api_key: str | SecretStr | None = None,
) -> TinkerFuture[Any]:
    """Return the future of a request that another process submitted earlier.

    Parameters
    ----------
    base_url
        The server.
    request_id
        The server's id; several for a call whose data travelled in several requests.
    kind
        What was asked: ``ForwardBackward``, ``OptimStep``, ``Sample`` …
    api_key
        The key; ``TINKER_API_KEY`` when not given.

    Examples
    --------
    >>> rebuild_future("http://127.0.0.1:8000", "f-12", "OptimStep").result()
    >>> await rebuild_future("http://127.0.0.1:8000", "f-12", "OptimStep")
    """
    return ServiceClient(base_url=base_url, api_key=api_key).rebuild_future(request_id, kind)
