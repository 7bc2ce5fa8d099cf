"""Sending: one httpx client per event loop, with the key, retries and limits in flight."""

from __future__ import annotations

import asyncio
import concurrent.futures
import random
import time
import weakref
from collections.abc import Callable, Mapping
from typing import TypeVar

from pydantic import SecretStr

from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import NoAnswer, Reply, Request, status_error
from tinker_nb.client.links import Links
from tinker_nb.client.loops import wait_async
from tinker_nb.client.retry import (
    Failure,
    RetryPolicy,
    is_uncertain,
    retry_delay,
    retry_note,
)
from tinker_nb.errors import APIResponseValidationError, ConfigurationError, TinkerError
from tinker_nb.wire.responses import ClientConfigResponse

E = TypeVar("E", bound=TinkerError)
#: Called before each retry with the number of retries so far and what a card should say.
OnRetry = Callable[[int, str], None]
#: Makes of an answer what it means, for servers whose statuses mean something else than usual.
Understood = Callable[[Reply], Reply]
#: Seconds until the next try, or None to give up; from the failure and the number of retries.
Patience = Callable[[Failure, int], float | None]
_NOTHING_SPECIAL: Mapping[int, Patience] = {}
_NOBODY_KNOWS = (
    "Nobody knows whether the server has carried it out, and it would do it twice if it were sent "
    "again: look at what came of it before you submit it anew."
)
#: A good status over something that no server of the protocol says: a gateway's page, or nothing.
GARBLED = Failure(reason="an answer that is not JSON")


def verdict(tried: Reply | NoAnswer) -> tuple[Failure, TinkerError]:
    """Return what a try that went wrong means for a retry, and the error it would end in."""
    if isinstance(tried, NoAnswer):
        return tried.failure, tried.error
    if tried.status < 300:
        said = f"The server answered {tried.status} with a body that is not JSON."
        return GARBLED, APIResponseValidationError(said)
    return Failure(tried.status, tried.headers), status_error(tried)


def is_good(tried: Reply | NoAnswer, *, wants_json: bool) -> bool:
    """Say whether a try gave what was asked for."""
    if isinstance(tried, NoAnswer) or tried.status >= 400:
        return False
    return not wants_json or _is_json(tried)


def _is_json(reply: Reply) -> bool:
    try:
        reply.json()
    except APIResponseValidationError:
        return False
    return True


def told_tries(error: E, retries: int, seconds: float) -> E:
    """Return an error that says what was tried before giving up."""
    if retries:
        error.tried = f"tried {retries + 1} times in {seconds:.1f} s"
    return error


class Transport:
    """Sends requests to one server, on whichever loop it is called from."""

    def __init__(self, endpoint: Endpoint | concurrent.futures.Future[Endpoint]) -> None:
        self._endpoint = endpoint
        self._is_closed = False
        self._links = Links()
        # A client that is dropped without being closed must not leave connections open.
        weakref.finalize(self, self._links.close_soon)

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the server is, when that is known already."""
        if isinstance(self._endpoint, Endpoint):
            return self._endpoint
        ready = self._endpoint.done() and not self._endpoint.exception()
        return self._endpoint.result() if ready else None

    async def ready(self) -> Endpoint:
        """Return where the server is, once it has started; raises why it did not."""
        if self._is_closed:
            raise ConfigurationError("This client is closed.", advice="Make a new ServiceClient.")
        if isinstance(self._endpoint, Endpoint):
            return self._endpoint
        return await wait_async(self._endpoint)

    async def send(
        self,
        request: Request,
        on_retry: OnRetry | None = None,
        *,
        repeatable: bool = True,
        understood: Understood | None = None,
        wants_json: bool = False,
        special: Mapping[int, Patience] = _NOTHING_SPECIAL,
        policy: RetryPolicy | None = None,
    ) -> Reply:
        """Send a request, again where that may help, and return its good answer.

        One idempotency key spans all tries.

        Parameters
        ----------
        request
            What to send.
        on_retry
            Hears of each retry.
        repeatable
            Whether sending it twice does no harm.
        understood
            Makes of each answer what it means.
        wants_json
            Whether a good answer has a body of JSON; what has none is no answer of the server's.
        special
            Another patience for some statuses, which mean something else here than usually.
        policy
            How patient to be; the client's own when not given.

        Raises
        ------
        APIStatusError
            The server says no.
        APIConnectionError
            No answer came.
        """
        keyed = request.keyed()
        policy = policy or (await self.ready()).retry
        started, attempt = time.monotonic(), 0
        trouble_since = started
        while True:
            tried = await self.once(keyed)
            if understood is not None and isinstance(tried, Reply):
                tried = understood(tried)
            if isinstance(tried, Reply) and is_good(tried, wants_json=wants_json):
                return tried
            # A server may hold a request for longer than patience lasts before it first fails.
            trouble_since = trouble_since if attempt else time.monotonic()
            failure, error = verdict(tried)
            patience = special.get(failure.status or 0)
            wait = (
                patience(failure, attempt)
                if patience is not None
                else self.retry_in(failure, attempt, trouble_since, policy, repeatable=repeatable)
            )
            if wait is None:
                if not repeatable and is_uncertain(failure):
                    error.advice = _NOBODY_KNOWS
                raise told_tries(error, attempt, time.monotonic() - started)
            attempt += 1
            if on_retry is not None:
                on_retry(attempt, retry_note(failure, wait))
            await asyncio.sleep(wait)

    async def once(self, request: Request) -> Reply | NoAnswer:
        """Send a request one time and return whatever comes of it."""
        endpoint = await self.ready()
        return await (await self._links.here(endpoint)).send(request)

    async def follow(self, config: ClientConfigResponse) -> None:
        """Open the server from here on as it wishes: with the key, or with tokens in its place.

        Raises
        ------
        ConfigurationError
            What there is to open it with will not do.
        APIError
            It gave no token for the key.
        """
        self._links.keys.follow(config, await self.ready())
        if config.pjwt_auth_enabled:
            await self.key()

    async def key(self) -> SecretStr | None:
        """Return what opens the server now; raises what `follow` does."""
        endpoint = await self.ready()
        started, attempt = time.monotonic(), 0
        while isinstance(tried := await self._links.keys.now(endpoint), NoAnswer):
            wait = self.retry_in(tried.failure, attempt, started, endpoint.retry)
            if wait is None:
                raise told_tries(tried.error, attempt, time.monotonic() - started)
            attempt += 1
            await asyncio.sleep(wait)
        return tried

    @staticmethod
    def retry_in(
        failure: Failure,
        attempt: int,
        started: float,
        policy: RetryPolicy,
        *,
        repeatable: bool = True,
    ) -> float | None:
        """Return the seconds to wait before the next try, or None to give up."""
        return retry_delay(
            failure,
            attempt=attempt,
            elapsed=time.monotonic() - started,
            chance=random.random(),  # noqa: S311  # spreads clients in time, guards nothing
            policy=policy,
            repeatable=repeatable,
        )

    async def aclose(self) -> None:
        """Close the connections of every loop that can still be reached; nothing is sent after."""
        self._is_closed = True
        await self._links.aclose()
