"""ServiceClient: the way in. Makes training and sampling clients on one server."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
from collections.abc import Coroutine, Mapping
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlencode

from pydantic import SecretStr, ValidationError

from tinker_nb.client import calls
from tinker_nb.client.background import settle
from tinker_nb.client.endpoint import Endpoint, find_endpoint
from tinker_nb.client.exchange import Request, json_payload
from tinker_nb.client.futures import TinkerFuture
from tinker_nb.client.loops import loop_thread, wait_async
from tinker_nb.client.operations import blocking_of
from tinker_nb.client.retry import DEFAULT_POLICY, RetryPolicy
from tinker_nb.client.sampling import SamplingClient
from tinker_nb.client.session import Session
from tinker_nb.client.training import TrainingClient
from tinker_nb.client.transport import Transport
from tinker_nb.client.work import give_up_all
from tinker_nb.errors import (
    APIResponseValidationError,
    InvalidInputError,
    TinkerError,
)
from tinker_nb.wire.base import WireModel
from tinker_nb.wire.params import LoraConfig
from tinker_nb.wire.requests import CreateSamplingSessionRequest, GetInfoRequest
from tinker_nb.wire.responses import (
    CreateSamplingSessionResponse,
    GetInfoResponse,
    GetServerCapabilitiesResponse,
)

logger = logging.getLogger(__name__)
T = TypeVar("T")
M = TypeVar("M", bound=WireModel)


class ServiceClient:
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
    retry
        How patient to be with a server that fails.

    Examples
    --------
    >>> with ServiceClient(base_url="http://127.0.0.1:8000") as service:
    ...     training = service.create_lora_training_client("tiny-chat", rank=16)
    >>> async with ServiceClient() as service:
    ...     training = await service.create_lora_training_client_async("tiny-chat")
    """

    def __init__(
        self,
        user_metadata: Mapping[str, Any] | None = None,
        project_id: str | None = None,
        *,
        display_name: str | None = None,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        retry: RetryPolicy = DEFAULT_POLICY,
    ) -> None:
        endpoint = find_endpoint(base_url, api_key, retry)
        self._connect(Transport(endpoint), user_metadata, project_id, display_name)

    @classmethod
    def of_starting(
        cls, endpoint: concurrent.futures.Future[Endpoint], *, display_name: str | None = None
    ) -> Self:
        """Return the client of a server that is still starting; its calls wait for that."""
        client = cls.__new__(cls)
        client._connect(Transport(endpoint), None, None, display_name)
        return client

    def _connect(
        self,
        transport: Transport,
        user_metadata: Mapping[str, Any] | None,
        project_id: str | None,
        display_name: str | None,
    ) -> None:
        self.transport = transport
        self.session = Session(
            self.transport,
            user_metadata=user_metadata,
            display_name=display_name,
            project_id=project_id or os.environ.get("TINKER_PROJECT_ID"),
        )

    @property
    def base_url(self) -> str | None:
        """Where the server is; None while it is starting."""
        endpoint = self.transport.endpoint
        return endpoint.base_url if endpoint is not None else None

    def __repr__(self) -> str:
        return f"<ServiceClient {self.base_url or 'of a server that is starting'}>"

    # Training clients

    async def create_lora_training_client_async(
        self,
        base_model: str,
        rank: int = 32,
        seed: int | None = None,
        train_mlp: bool = True,
        train_attn: bool = True,
        train_unembed: bool = True,
        user_metadata: dict[str, Any] | None = None,
    ) -> TrainingClient:
        """Make a LoRA model on a base model, and wait until it is there.

        Parameters
        ----------
        base_model
            Its name; see `get_server_capabilities`.
        rank
            Rank of the adapter.
        seed
            Seed of its initial values.
        train_mlp, train_attn, train_unembed
            Which layers get one; at least one group.
        user_metadata
            Kept with the model.

        Raises
        ------
        InvalidInputError
            A wrong argument; nothing was sent.
        RequestFailedError
            The server could not make it.

        Examples
        --------
        >>> training = service.create_lora_training_client("tiny-chat", rank=16)
        >>> training = await service.create_lora_training_client_async("tiny-chat", rank=16)
        """
        lora = _lora_config(rank, seed, train_mlp, train_attn, train_unembed)
        source = calls.at_hand(base_model)
        return await self.start_training(source, lora, user_metadata, asyncio.get_running_loop())

    create_lora_training_client = blocking_of(create_lora_training_client_async)

    def start_training(
        self,
        base_model: calls.Source[str],
        lora: LoraConfig,
        user_metadata: dict[str, Any] | None,
        loop: asyncio.AbstractEventLoop,
    ) -> TrainingClient:
        """Start to make a LoRA model on a loop, and return its client at once."""
        client = TrainingClient(self, calls.create_model(base_model, lora, user_metadata))
        client.start_creation(loop)
        return client

    # Sampling clients

    async def create_sampling_client_async(
        self, model_path: str | None = None, base_model: str | None = None
    ) -> SamplingClient:
        """Make a sampler of a checkpoint or of a base model, and wait until it is there.

        Parameters
        ----------
        model_path
            ``tinker://RUN/sampler_weights/NAME``.
        base_model
            Name of a base model, to sample from it as it is.

        Examples
        --------
        >>> sampler = service.create_sampling_client(base_model="tiny-chat")
        >>> sampler = await service.create_sampling_client_async(base_model="tiny-chat")
        """
        return await self.start_sampler(model_path, calls.at_hand(base_model))

    create_sampling_client = blocking_of(create_sampling_client_async)

    def start_sampler(
        self, model_path: str | None, base_model: calls.Source[str | None]
    ) -> SamplingClient:
        """Start to make a sampler and return it at once."""
        if model_path and not model_path.startswith("tinker://"):
            raise InvalidInputError(f"A model_path begins with tinker://, not like {model_path!r}.")
        made = self._in_background(
            "CreateSamplingSession", self._sampling_session(model_path, base_model)
        )
        return SamplingClient(self, made)

    async def _sampling_session(
        self, model_path: str | None, base_model: calls.Source[str | None]
    ) -> CreateSamplingSessionResponse:
        name = await base_model()
        if not model_path and not name:
            raise InvalidInputError("Give a model_path or a base_model to sample from.")
        body = CreateSamplingSessionRequest(
            session_id=await self.session.resolve(),
            sampling_session_seq_id=next(self.session.sampling_seq_ids),
            base_model=name,
            model_path=model_path,
        )
        return await self._ask(
            "POST", "/api/v1/create_sampling_session", CreateSamplingSessionResponse, body
        )

    # What the server is

    async def get_server_capabilities_async(self) -> GetServerCapabilitiesResponse:
        """Return the models the server has.

        Examples
        --------
        >>> service.get_server_capabilities().supported_models
        >>> (await service.get_server_capabilities_async()).supported_models
        """
        return await self._ask(
            "GET", "/api/v1/get_server_capabilities", GetServerCapabilitiesResponse
        )

    get_server_capabilities = blocking_of(get_server_capabilities_async)

    async def get_tokenizer_files_async(self, base_model: str) -> dict[str, str | None]:
        """Return the texts of a model's tokenizer files by name, from the embedded server.

        Examples
        --------
        >>> tokenizer = ChatTokenizer.from_files(service.get_tokenizer_files("tiny-chat"))
        >>> files = await service.get_tokenizer_files_async("tiny-chat")
        """
        path = f"/api/v1/tokenizer?{urlencode({'model': base_model})}"
        reply = await self.transport.send(Request("GET", path))
        return reply.json_object()

    get_tokenizer_files = blocking_of(get_tokenizer_files_async)

    async def model_info(self, model_id: str) -> GetInfoResponse:
        """Return what the server says of a model."""
        return await self._ask(
            "POST", "/api/v1/get_info", GetInfoResponse, GetInfoRequest(model_id=model_id)
        )

    # Ending

    async def close_async(
        self,
        status: Literal["success", "errored", "interrupted"] = "success",
        detail: str | None = None,
    ) -> None:
        """End the session and close the connections; what is still under way is given up."""
        give_up_all(self.transport, "The client was closed before the result came.")
        try:
            await wait_async(loop_thread().submit(self.session.finish(status, detail)))
        except TinkerError as error:
            # A server that is gone has ended the session in its own way.
            logger.info("The session could not be finished: %s", error)
        finally:
            await self.transport.aclose()

    close = blocking_of(close_async)

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

    # Shared

    async def _ask(
        self, method: str, path: str, answer: type[M], body: WireModel | None = None
    ) -> M:
        payload = json_payload(body.to_wire()) if body is not None else None
        reply = await self.transport.send(Request(method, path, payload))
        try:
            return answer.model_validate(reply.json_object())
        except ValidationError as error:
            raise APIResponseValidationError(
                f"The answer of {path} does not follow the protocol."
            ) from error

    @staticmethod
    def _in_background(kind: str, coroutine: Coroutine[Any, Any, T]) -> TinkerFuture[T]:
        """Run a coroutine on the loop thread; its outcome settles the future returned."""
        future: TinkerFuture[T] = TinkerFuture(kind)
        loop_thread().submit(settle(future, coroutine))
        return future


def _lora_config(
    rank: int, seed: int | None, train_mlp: bool, train_attn: bool, train_unembed: bool
) -> LoraConfig:
    if rank < 1:
        raise InvalidInputError(f"The rank must be at least 1, not {rank}.")
    if not (train_mlp or train_attn or train_unembed):
        raise InvalidInputError("Nothing would be trained: leave at least one layer group on.")
    return LoraConfig(
        rank=rank,
        seed=seed,
        train_mlp=train_mlp,
        train_attn=train_attn,
        train_unembed=train_unembed,
    )


def _end_status(kind: type[BaseException] | None) -> Literal["success", "errored", "interrupted"]:
    if kind is None:
        return "success"
    return "interrupted" if issubclass(kind, KeyboardInterrupt) else "errored"
