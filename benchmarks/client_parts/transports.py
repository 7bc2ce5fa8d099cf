"""What a thousand samples cost over bare transports, without any client of the protocol above.

``python -m benchmarks.client_parts.transports NAME URL`` makes one run and prints its figures.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from benchmarks.client_parts.measure import SAMPLES, TOKENS, Figures, clocked

#: Sends a body to a URL and returns the answer's.
Post = Callable[[str, bytes], Awaitable[bytes]]

_HEADERS = {
    "X-API-Key": "tml-test",
    "Accept": "application/x-protobuf",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
}
_POOLS, _POOL_SIZE = 40, 50
_TIMEOUT = httpx.Timeout(60.0, pool=None)


def _session() -> aiohttp.ClientSession:
    connector, cookies = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()
    return aiohttp.ClientSession(connector=connector, cookie_jar=cookies)


def _under_httpx() -> AiohttpTransport:
    # A function: a session can only be made on the running loop, at the first request.
    return AiohttpTransport(verify=False, client=_session)


@asynccontextmanager
async def httpx_pools() -> AsyncIterator[Post]:
    """Use httpx's own transport, in many pools: one large pool takes several times longer."""
    limits = httpx.Limits(max_connections=_POOL_SIZE, max_keepalive_connections=_POOL_SIZE)
    async with AsyncExitStack() as stack:
        turns = itertools.cycle(
            [
                await stack.enter_async_context(httpx.AsyncClient(limits=limits, timeout=_TIMEOUT))
                for _ in range(_POOLS)
            ]
        )
        yield lambda url, body: _through(next(turns), url, body)


@asynccontextmanager
async def httpx_aiohttp_client() -> AsyncIterator[Post]:
    """Use an httpx client over aiohttp."""
    async with httpx.AsyncClient(transport=_under_httpx(), timeout=_TIMEOUT) as client:
        yield lambda url, body: _through(client, url, body)


async def _through(client: httpx.AsyncClient, url: str, body: bytes) -> bytes:
    return (await client.post(url, content=body, headers=_HEADERS)).content


@asynccontextmanager
async def httpx_aiohttp_direct() -> AsyncIterator[Post]:
    """Use the httpx transport over aiohttp without an httpx client."""
    extensions = {"timeout": _TIMEOUT.as_dict()}

    async def post(url: str, body: bytes) -> bytes:
        request = httpx.Request("POST", url, headers=_HEADERS, content=body, extensions=extensions)
        answer = await transport.handle_async_request(request)
        try:
            return await answer.aread()
        finally:
            await answer.aclose()

    async with _under_httpx() as transport:
        yield post


@asynccontextmanager
async def aiohttp_alone() -> AsyncIterator[Post]:
    """Use aiohttp alone: the least that any of them can cost."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)

    async def post(url: str, body: bytes) -> bytes:
        async with session.post(url, data=body, headers=_HEADERS, timeout=timeout) as answer:
            return await answer.read()

    async with _session() as session:
        yield post


TRANSPORTS = {
    each.__name__: each
    for each in (httpx_pools, httpx_aiohttp_client, httpx_aiohttp_direct, aiohttp_alone)
}


async def run(name: str, url: str) -> Figures:
    """Return the figures of all samples over one transport."""
    async with TRANSPORTS[name]() as post:
        await _sample(post, url, 0)  # all is loaded
        with clocked() as figures:
            await asyncio.gather(*(_sample(post, url, number) for number in range(SAMPLES)))
    return figures


async def _sample(post: Post, url: str, number: int) -> None:
    accepted = json.loads(await post(f"{url}/api/v1/asample", _body(number)))
    asked = {"request_id": accepted["request_id"], "allow_metadata_only": False}
    result = await post(f"{url}/api/v1/retrieve_future", json.dumps(asked).encode())
    assert len(result) > 8 * TOKENS, result


def _body(number: int) -> bytes:
    prompt = {"chunks": [{"type": "encoded_text", "tokens": list(range(TOKENS))}]}
    told = {"sampling_session_id": "session:sample:0", "seq_id": number, "num_samples": 1}
    params = {"sampling_params": {"max_tokens": TOKENS}, "type": "sample"}
    return json.dumps({**told, "prompt": prompt, **params}).encode()


def main() -> None:
    """Measure and print."""
    print(json.dumps(asyncio.run(run(*sys.argv[1:]))))


if __name__ == "__main__":
    main()
