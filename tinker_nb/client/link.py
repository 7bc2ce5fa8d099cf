"""The connections of one event loop: the only module that sends. httpx lives here alone."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import NoAnswer, Reply, Request
from tinker_nb.client.retry import Failure
from tinker_nb.errors import APIConnectionError, APITimeoutError

_CONNECT_TIMEOUT = 5.0


class Link:
    """The connections of one loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._url = endpoint.base_url
        secure = endpoint.base_url.startswith("https:")
        # Polls are held for long; submissions must not wait behind them.
        self._lanes = {
            lane: asyncio.Semaphore(endpoint.max_in_flight) for lane in ("submit", "poll")
        }
        key = endpoint.api_key.get_secret_value() if endpoint.api_key else None
        self._client = httpx.AsyncClient(
            base_url=endpoint.base_url.rstrip("/"),
            headers={"User-Agent": "tinker_nb", **({"X-API-Key": key} if key else {})},
            # A proxy from the environment must not swallow calls to this machine.
            trust_env=not endpoint.is_loopback,
            verify=secure,
            # Our own semaphore queues requests: the pool's clock would fail them while a
            # blocking cell stops the loop.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    async def send(self, request: Request) -> Reply | NoAnswer:
        """Send a request one time and return whatever comes of it."""
        try:
            return await self._exchange(request)
        except httpx.HTTPError as error:
            return NoAnswer(failure_of(error), _unreachable(error, self._url))

    async def _exchange(self, request: Request) -> Reply:
        payload, sent = request.payload, dict(request.headers)
        if request.method != "GET":
            sent["Content-Type"] = payload.content_type if payload else "application/json"
        async with self._lanes[request.lane]:
            answer = await self._client.request(
                request.method,
                request.path,
                content=payload.content if payload else None,
                headers=sent,
                timeout=httpx.Timeout(request.timeout, connect=_CONNECT_TIMEOUT, pool=None),
            )
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        return Reply(answer.status_code, kind, answer.content, answer.headers)

    async def aclose(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RuntimeError):  # the loop of an idle connection may be gone
            await self._client.aclose()


def failure_of(error: httpx.HTTPError) -> Failure:
    """Return what a failed exchange means for a retry."""
    if isinstance(error, httpx.ConnectError):
        return Failure(refused=True, reason="nothing answers")
    if isinstance(error, httpx.TimeoutException):
        return Failure(reason="no answer in time")
    return Failure(reason="the connection broke")


def _unreachable(error: httpx.HTTPError, url: str) -> APIConnectionError:
    if isinstance(error, httpx.ConnectError):
        return APIConnectionError(
            f"Nothing answers at {url}.",
            advice="Start a server there (`tinker-nb serve`), let %tinker_connect start the "
            "embedded one, or check the URL.",
        )
    if isinstance(error, httpx.TimeoutException):
        return APITimeoutError(f"The server at {url} did not answer in time.")
    return APIConnectionError(
        f"The connection to {url} broke: {type(error).__name__}.",
        advice="Check that the server still runs, then submit the call again.",
    )
