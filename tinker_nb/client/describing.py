"""The operations of a service client that say what the server is and has."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tinker_nb.client.capabilities import Capabilities, capabilities_of
from tinker_nb.client.exchange import Request, json_payload
from tinker_nb.client.operations import blocking_of
from tinker_nb.client.server import Server
from tinker_nb.errors import NotSupportedByServer
from tinker_nb.wire.requests import GetInfoRequest
from tinker_nb.wire.responses import GetInfoResponse, GetServerCapabilitiesResponse

if TYPE_CHECKING:
    from tinker_nb.data.chat import ChatTokenizer


class Describes:
    """What a service client can tell of its server."""

    server: Server

    @property
    def base_url(self) -> str | None:
        """Where the server is; None while it is starting."""
        server = getattr(self, "server", None)  # none yet, where making this client failed
        endpoint = server.transport.endpoint if server is not None else None
        return endpoint.base_url if endpoint is not None else None

    async def get_server_capabilities_async(self) -> GetServerCapabilitiesResponse:
        """Return the models the server has.

        Examples
        --------
        >>> service.get_server_capabilities().supported_models
        >>> (await service.get_server_capabilities_async()).supported_models
        """
        request = Request("GET", "/api/v1/get_server_capabilities")
        return await self.server.ask(
            "get_server_capabilities", request, GetServerCapabilitiesResponse
        )

    get_server_capabilities = blocking_of(get_server_capabilities_async)

    async def capabilities_async(self) -> Capabilities:
        """Return which operations this server has; printed, it is a table.

        Examples
        --------
        >>> print(service.capabilities())
        >>> (await service.capabilities_async()).lacks("save_state")
        """
        return capabilities_of(await self.server.greeting(), self.base_url or "")

    capabilities = blocking_of(capabilities_async)

    async def get_tokenizer_files_async(self, base_model: str) -> dict[str, str | None]:
        """Return the texts of a model's tokenizer files by name, from the embedded server.

        Examples
        --------
        >>> tokenizer = ChatTokenizer.from_files(service.get_tokenizer_files("tiny-chat"))
        >>> files = await service.get_tokenizer_files_async("tiny-chat")
        """
        path = f"/api/v1/tokenizer?{urlencode({'model': base_model})}"
        reply = await self.server.tell("get_tokenizer_files", Request("GET", path))
        return reply.json_object()

    get_tokenizer_files = blocking_of(get_tokenizer_files_async)

    async def model_info(self, model_id: str) -> GetInfoResponse:
        """Return what the server says of a model."""
        body = GetInfoRequest(model_id=model_id).to_wire()
        request = Request("POST", "/api/v1/get_info", json_payload(body))
        return await self.server.ask("get_info", request, GetInfoResponse)

    async def tokenizer_of(self, model: str | None, tokenizer_id: str | None) -> ChatTokenizer:
        """Return a model's tokenizer: the server's own files, else those of its public name."""
        from tinker_nb.data.chat import ChatTokenizer

        try:
            return ChatTokenizer.from_files(await self.get_tokenizer_files_async(model or ""))
        except NotSupportedByServer:
            return ChatTokenizer.from_pretrained((tokenizer_id or model or "").partition(":")[0])
