"""One server: how to reach it, what it said of itself, and calls that are answered at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from tinker_nb._version import __version__
from tinker_nb.client.batches import Batches
from tinker_nb.client.dialects.official import Dialect
from tinker_nb.client.dialects.recognition import dialect_named, listed_endpoints, recognise
from tinker_nb.client.exchange import Reply, Request, json_payload
from tinker_nb.client.history import History
from tinker_nb.client.retry import DEFAULT_POLICY, RetryPolicy, is_transient
from tinker_nb.client.routes import Route
from tinker_nb.client.shared import Shared
from tinker_nb.client.transport import Patience, Transport, verdict
from tinker_nb.errors import (
    APIResponseValidationError,
    APIStatusError,
    NotSupportedByServer,
)
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.responses import ClientConfigResponse, ClientDynamicConfigResponse

M = TypeVar("M", bound=WireModel)
_NO_SUCH_ENDPOINT = (404, 405, 501)
#: What frameworks say of a path they do not know, whatever the path.
_BARE = ("", "no explanation", "not found", "404 not found", "404 page not found")
_UNLISTED = "it is not among the endpoints it lists"
_ROOT_TRIES = 3


@dataclass(frozen=True)
class Greeting:
    """What a server said of itself.

    Parameters
    ----------
    dialect
        How to speak to it.
    config
        Its wishes: sizes, limits, what it offers.
    can_cancel
        Whether it stops work that nobody waits for any more.
    poll_patience
        How patient to be while it works on a request.
    endpoints
        All it has, where it lists them.
    """

    dialect: Dialect
    config: ClientConfigResponse = field(default_factory=ClientConfigResponse)
    can_cancel: bool = False
    poll_patience: RetryPolicy = DEFAULT_POLICY
    endpoints: frozenset[Route] | None = None

    @property
    def takes_any_order(self) -> bool:
        """Whether calls that commute may reach it in any order.

        The protocol lets the chunks of one call do so. That separate calls may, is known of the
        embedded server only, which alone lists its endpoints.
        """
        return self.endpoints is not None

    def why_not(self, operation: str) -> str | None:
        """Say why it is known to lack an operation; None where it has it, or may have it."""
        if operation in self.dialect.missing:
            return self.dialect.missing[operation]
        routes = self.dialect.routes(operation)
        if self.endpoints is None or not routes or self.endpoints.intersection(routes):
            return None
        return _UNLISTED


class Server:
    """One server, on whichever loop it is spoken to.

    Parameters
    ----------
    transport
        Sends to it.
    dialect
        How to speak to it; it is asked when not given.
    """

    def __init__(self, transport: Transport, dialect: str | None = None) -> None:
        self.transport = transport
        self.history = History()
        self._told = dialect_named(dialect) if dialect is not None else None
        self._greeting = Shared(self._greet)
        self.batches = Batches(transport)

    def __str__(self) -> str:
        endpoint, known = self.transport.endpoint, self._greeting.value
        name = known.dialect.name if known is not None else "The server"
        return f"{name} at {endpoint.base_url}" if endpoint is not None else name

    @property
    def known(self) -> Greeting | None:
        """What the server said of itself, when it has."""
        return self._greeting.value

    async def greeting(self) -> Greeting:
        """Return what the server says of itself, asking it on first use."""
        return self._greeting.value or await self._greeting.get()

    # Calls that are answered at once

    async def ask(self, operation: str, request: Request, answer: type[M]) -> M:
        """Send a request and read its JSON answer.

        Parameters
        ----------
        operation
            The client's method, for the message when this server lacks it.
        request
            What to send.
        answer
            What comes back.

        Raises
        ------
        NotSupportedByServer
            The server lacks it; nothing was sent where that was known before.
        APIError
            No answer, a status that says no, or an answer that breaks the protocol.
        """
        reply = await self.tell(operation, request)
        try:
            return answer.model_validate(reply.json_object())
        except ValidationError as error:
            raise APIResponseValidationError(
                f"The answer of {request.path} does not follow the protocol."
            ) from error

    async def tell(
        self, operation: str, request: Request, special: Mapping[int, Patience] | None = None
    ) -> Reply:
        """Send a request and return its good answer unread; raises what `ask` does.

        ``special`` is another patience for some statuses, as `Transport.send` takes it.
        """
        await self.require(operation)
        dialect = (await self.greeting()).dialect
        with self.naming(operation):
            placed = request.at(dialect.at(operation, request.path))
            return await self.transport.send(
                placed, understood=dialect.understood, special=special or {}
            )

    async def require(self, operation: str) -> None:
        """Raise `NotSupportedByServer` when the server lacks an operation, as far as it says."""
        await self.greeting()
        self.refuse_missing(operation)

    def refuse_missing(self, operation: str) -> None:
        """Raise `NotSupportedByServer` when the server is known by now to lack an operation."""
        reason = self.known.why_not(operation) if self.known is not None else None
        if reason is not None:
            raise NotSupportedByServer(operation, str(self), reason=reason)

    @contextlib.contextmanager
    def naming(self, operation: str = "") -> Iterator[None]:
        """Let what the server cannot do say which server it is, and which operation is not there.

        Parameters
        ----------
        operation
            The client's method; an answer that its endpoint is not there is an error of its own.
        """
        try:
            yield
        except NotSupportedByServer as error:
            raise NotSupportedByServer(error.operation, str(self), reason=error.reason) from error
        except APIStatusError as error:
            if not operation or not is_no_such_endpoint(error):
                raise
            raise NotSupportedByServer(operation, str(self)) from error

    # How it presents itself

    async def _greet(self) -> Greeting:
        said = await self._ask_config()
        config = said or ClientConfigResponse()
        await self.transport.follow(config)
        dynamic, root = await asyncio.gather(self._ask_dynamic(), self._ask_root())
        dialect = self._told or recognise(root, said is not None)
        can_cancel = dynamic.sample_cancel_enabled and "cancel_future" not in dialect.missing
        patience = await self._poll_patience(config)
        return Greeting(dialect, config, can_cancel, patience, listed_endpoints(root))

    async def _poll_patience(self, config: ClientConfigResponse) -> RetryPolicy:
        retry = (await self.transport.ready()).retry
        # It has the request: where nothing answers it may only be restarting.
        pause = config.billing_exception_max_pause_duration_sec
        return replace(retry, refused_patience=retry.patience, billing_patience=pause)

    async def _ask_config(self) -> ClientConfigResponse | None:
        """Return the server's wishes; None where there is no such endpoint."""
        request = _hello("/api/v1/client/config")
        try:
            reply = await self.transport.send(request)
        except APIStatusError as error:
            if error.status_code in _NO_SUCH_ENDPOINT:
                return None
            raise
        return ClientConfigResponse.model_validate(reply.json_object())

    async def _ask_root(self) -> Mapping[str, Any] | None:
        """Return what stands at the root, where that is a JSON object."""
        for _ in range(_ROOT_TRIES):
            tried = await self.transport.once(Request("GET", "/"))
            if isinstance(tried, Reply) and tried.status == 200:
                return _object(tried)
            if not is_transient(verdict(tried)[0]):
                break
        return None

    async def _ask_dynamic(self) -> ClientDynamicConfigResponse:
        """Return what may change while the server runs; many servers do not say."""
        tried = await self.transport.once(_hello("/api/v1/client/dynamic_config"))
        said = _object(tried) if isinstance(tried, Reply) and tried.status == 200 else None
        return ClientDynamicConfigResponse.model_validate(said or {})


def _hello(path: str) -> Request:
    return Request("POST", path, json_payload({"sdk_version": __version__}), timeout=15.0)


def _object(reply: Reply) -> Mapping[str, Any] | None:
    try:
        return reply.json_object()
    except APIResponseValidationError:
        return None


def is_no_such_endpoint(error: APIStatusError) -> bool:
    """Tell an endpoint that is not there from a thing that is not there.

    Web frameworks answer an unknown path with one and the same sentence; a server that knows the
    path names what it did not find.
    """
    if error.status_code in (405, 501):
        return True
    return error.status_code == 404 and _says_nothing(error.body)


def _says_nothing(body: object) -> bool:
    if isinstance(body, dict):
        said = body.get("detail", body.get("error", body.get("message", body or "")))
    else:
        said = body
    if not isinstance(said, str):
        return said is None
    words = said.strip().rstrip(".!").lower()
    return words in _BARE or words.startswith(("<!doctype html", "<html"))
