"""The connections of one event loop: the only module that sends. httpx lives here alone.

Requests go straight to an httpx transport, without the layers of an httpx client (redirects,
cookies, authentication), none of which this protocol uses. Under httpx sits aiohttp's connection
pool: httpx's own pool looks through all its connections for each request, which with a thousand
open polls takes most of a client's time (measured in ``benchmarks/client.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
import traceback
import urllib.request
from collections.abc import Awaitable
from functools import lru_cache
from typing import cast

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from pydantic import SecretStr

from tinker_nb.client.credentials import refuse_unsendable
from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import NoAnswer, Reply, Request
from tinker_nb.client.keys import KeySource
from tinker_nb.client.limits import Budget
from tinker_nb.client.retry import Failure
from tinker_nb.client.tokens import is_refused_token
from tinker_nb.errors import APIConnectionError, APITimeoutError, TinkerError

_CONNECT_TIMEOUT = 5.0
_KEEP_ALIVE = 4.5  # servers close idle connections after five seconds and more
# What is in flight on one loop, by number and by bytes; the official SDK's figures.
_SUBMISSIONS, _SUBMITTED_BYTES = 400, 50_000_000
_POLLS = 2000
_SLOW_SECONDS, _SLOW_SUBMISSIONS = 10.0, 10
_TOKEN_IN_BODY = re.compile(rb'"weights_access_token":"([^"]+)"')


class Link:
    """The connections of one loop."""

    def __init__(self, endpoint: Endpoint, keys: KeySource) -> None:
        self._endpoint, self._keys = endpoint, keys
        self._url = endpoint.base_url.rstrip("/")
        # Polls are held for long; submissions must not wait behind them.
        self._budgets = {
            "submit": Budget(_SUBMISSIONS, _SUBMITTED_BYTES),
            "poll": Budget(_POLLS, _SUBMITTED_BYTES),
        }
        # Opened only as a request is made, so that no variable and no attribute holds them.
        self._sealed = _sealed(endpoint)
        self._headers = {
            "Host": httpx.URL(self._url).netloc.decode(),
            "User-Agent": "tinker_nb",
            "Accept": "application/json",
            # On one machine packing and unpacking only costs time.
            "Accept-Encoding": "identity" if endpoint.is_loopback else "gzip, deflate",
        }
        self._transport = _transport(endpoint)
        self._reading: set[httpx.AsyncByteStream] = set()
        self._target = lru_cache(maxsize=64)(lambda path: httpx.URL(self._url + path))

    async def send(self, request: Request) -> Reply | NoAnswer:
        """Send a request one time, in its turn, and return whatever comes of it."""
        return await self._guarded(self._in_turn(request))

    async def show(self, request: Request, key: SecretStr | None) -> Reply | NoAnswer:
        """Send a request with a key of its own, out of turn: all the others may wait for it."""
        return await self._guarded(self._once(request, key))

    async def _guarded(self, sending: Awaitable[Reply | NoAnswer]) -> Reply | NoAnswer:
        before = sys.exception()
        try:
            return await sending
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            return NoAnswer(failure_of(error), _unreachable(error, self._url))
        except BaseException as error:
            # Frames below this one hold the key, and a notebook may show a traceback's variables.
            _bare(error, before)
            raise

    async def _in_turn(self, request: Request) -> Reply | NoAnswer:
        budget = self._budgets[request.lane]
        async with budget.taking(len(request.payload.content) if request.payload else 0):
            tried = await self._opened(request)
            too_many = isinstance(tried, Reply) and tried.status == httpx.codes.TOO_MANY_REQUESTS
            if too_many and request.lane == "submit":
                budget.slow_down(time.monotonic() + _SLOW_SECONDS, _SLOW_SUBMISSIONS)
        return tried

    async def _opened(self, request: Request) -> Reply | NoAnswer:
        """Send a request with what opens the server now, again where that was refused as stale."""
        key = await self._keys.now(self._endpoint)
        if isinstance(key, NoAnswer):
            return key
        reply = await self._once(request, key)
        if not is_refused_token(reply.status, reply.headers):
            return reply
        other = await self._keys.instead_of(key, self._endpoint)
        if other is None or isinstance(other, NoAnswer):
            return other or reply
        return await self._once(request, other)

    async def _once(self, request: Request, key: SecretStr | None) -> Reply:
        answer = await self._transport.handle_async_request(self._request(request, key))
        content = await self._whole_body(answer)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if answer.status_code >= httpx.codes.BAD_REQUEST:
            content = self._masked(content, request, key)  # errors quote it
        return Reply(answer.status_code, kind, content, answer.headers)

    def _masked(self, content: bytes, request: Request, key: SecretStr | None) -> bytes:
        """Return what a server says, without the secrets it may have repeated from a request."""
        secrets = [*self._sealed.values(), *request.sealed.values()]
        secrets += [key] if key is not None else []
        sealed = [each.get_secret_value().encode() for each in secrets]
        sealed += _TOKEN_IN_BODY.findall(request.payload.content) if request.payload else []
        for secret in filter(None, sealed):
            content = content.replace(secret, b"(secret)")
        return content

    def _request(self, request: Request, key: SecretStr | None) -> httpx.Request:
        secrets = {**self._sealed, **request.sealed}
        sealed = {name: each.get_secret_value() for name, each in secrets.items()}
        if key is not None:
            sealed["X-API-Key"] = key.get_secret_value()
        payload, headers = request.payload, {**self._headers, **sealed, **request.headers}
        if request.method != "GET":
            headers["Content-Type"] = payload.content_type if payload else "application/json"
        timeout = {
            "connect": _CONNECT_TIMEOUT,
            "read": request.timeout,
            "write": request.timeout,
            # Our own budgets queue requests: a pool's clock would fail them while a blocking cell
            # stops the loop.
            "pool": None,
        }
        sent = httpx.Request(
            request.method,
            self._target(request.path),
            headers=headers,
            content=payload.content if payload else b"",
            extensions={"timeout": timeout},
        )
        sent.headers.encoding = "ascii"  # else it is looked for again with every access
        return sent

    async def _whole_body(self, answer: httpx.Response) -> bytes:
        """Return an answer's body; one that is not packed goes round httpx's unpacking."""
        answer.headers.encoding = "latin-1"
        stream = cast("httpx.AsyncByteStream", answer.stream)
        self._reading.add(stream)
        try:
            if "content-encoding" in answer.headers:
                return await answer.aread()
            return b"".join([part async for part in stream])
        finally:
            self._reading.discard(stream)
            await stream.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        with contextlib.suppress(RuntimeError):  # the loop of an idle connection may be gone
            for stream in list(self._reading):
                await stream.aclose()  # else who reads it would never hear of the end
            await self._transport.aclose()
            await asyncio.sleep(0)  # transports say goodbye in the loop's next round


def _sealed(endpoint: Endpoint) -> dict[str, SecretStr]:
    """Return the headers that nobody may read but the server."""
    sealed = dict(endpoint.headers)
    if endpoint.api_key:
        sealed["X-API-Key"] = endpoint.api_key
    for name, value in sealed.items():
        refuse_unsendable(name, value)
    return sealed


def _bare(error: BaseException | None, before: BaseException | None) -> None:
    """Take the frames off an error and what it came from, up to one that was there before."""
    if error is None or error is before or error.__traceback__ is None:
        return
    if isinstance(error, Exception) and not isinstance(error, TinkerError):
        # A mistake of ours: where it was is kept as text, in which there are no variables.
        error.add_note("Below:\n" + "".join(traceback.format_tb(error.__traceback__)))
    error.__traceback__ = None
    _bare(error.__cause__, before)
    _bare(error.__context__, before)


def _transport(endpoint: Endpoint) -> httpx.AsyncBaseTransport:
    """Return the transport for a server: aiohttp's pool, or httpx's own behind a proxy."""
    secure = endpoint.base_url.startswith("https:")
    proxies = {} if endpoint.is_loopback else urllib.request.getproxies()
    proxy = proxies.get("https" if secure else "http") or proxies.get("all")
    if proxy and not urllib.request.proxy_bypass(httpx.URL(endpoint.base_url).host):
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        return httpx.AsyncHTTPTransport(verify=secure, limits=limits, proxy=proxy)
    transport = AiohttpTransport(verify=secure)
    transport.client = lambda: _session(transport)
    return transport


def _session(transport: AiohttpTransport) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=transport.ssl_context
    )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


def failure_of(error: Exception) -> Failure:
    """Return what a failed exchange means for a retry."""
    if _is_refused(error):
        return Failure(refused=True, reason="nothing answers")
    if _is_timeout(error):
        return Failure(reason="no answer in time")
    return Failure(reason="the connection broke")


# httpx-aiohttp maps each connection that broke or was refused to httpx.ConnectTimeout, so what
# really happened is read from the cause.


def _is_refused(error: Exception) -> bool:
    cause = error.__cause__
    if isinstance(cause, aiohttp.ClientSSLError):
        return False  # somebody answered, with a certificate that is no good
    return isinstance(error, httpx.ConnectError) or isinstance(cause, aiohttp.ClientConnectorError)


def _is_timeout(error: Exception) -> bool:
    cause = error.__cause__
    broken = isinstance(cause, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError)
    too_late = isinstance(cause, aiohttp.ServerTimeoutError)
    return isinstance(error, httpx.TimeoutException) and (too_late or not broken)


def _unreachable(error: Exception, url: str) -> APIConnectionError:
    if _is_refused(error):
        return APIConnectionError(
            f"Nothing answers at {url}.",
            advice="Start a server there (`tinker-nb serve`), let %tinker_connect start the "
            "embedded one, or check the URL.",
        )
    if _is_timeout(error):
        return APITimeoutError(f"The server at {url} did not answer in time.")
    return APIConnectionError(
        f"The connection to {url} broke: {type(error.__cause__ or error).__name__}.",
        advice="Check that the server still runs, then submit the call again.",
    )
