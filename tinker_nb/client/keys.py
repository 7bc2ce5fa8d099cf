"""What opens a server now: the key itself, or the JWT that the server exchanged it for.

A server that wants JWTs says so when it is greeted. From then on every loop's requests carry one.
It is renewed about halfway through its life on the library's loop thread, at need when it is nearly
over, and once more when the server refuses it before its time.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import logging
import random
import threading
import time
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pydantic import SecretStr

from tinker_nb.client.credentials import shown
from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import NoAnswer, Reply
from tinker_nb.client.loops import loop_thread, wait_async
from tinker_nb.client.retry import Failure
from tinker_nb.client.tokens import NEARLY_OVER, Token, next_renewal, token_in
from tinker_nb.errors import ConfigurationError
from tinker_nb.wire.responses import ClientConfigResponse

logger = logging.getLogger(__name__)
#: Sends an exchange, opened with what the server is shown.
Exchange = Callable[[Endpoint, SecretStr | None], Awaitable[Reply | NoAnswer]]
#: Trying again does not make a credential appear.
_NO_CREDENTIAL = Failure(401, reason="no credential")


class KeySource:
    """What opens one server now, for the links of all loops.

    Parameters
    ----------
    exchange
        Sends an exchange.
    clock
        Tells the time, as ``time.time`` does.
    """

    def __init__(self, exchange: Exchange, *, clock: Callable[[], float] = time.time) -> None:
        self._exchange, self.clock = exchange, clock
        # The collector may end a client, and with it this, while its own thread is in here.
        self._lock = threading.RLock()
        self._exchanges = self._by_command = self._is_closed = False
        self._token: Token | None = None
        self._renewing: concurrent.futures.Future[Token | NoAnswer] | None = None
        self._timer: tuple[asyncio.AbstractEventLoop, asyncio.TimerHandle] | None = None

    def follow(self, config: ClientConfigResponse, endpoint: Endpoint) -> None:
        """Do from here on what a server wishes.

        Raises
        ------
        ConfigurationError
            It takes keys only, and there is only a command that prints credentials.
        """
        self._by_command = config.credential_default_source == "credential_cmd"
        self._exchanges = config.pjwt_auth_enabled
        if not self._exchanges and endpoint.api_key is None and endpoint.credential_cmd is not None:
            raise ConfigurationError(
                "This server takes keys only, and TINKER_CREDENTIAL_CMD alone gives it none.",
                advice="Give api_key, or set TINKER_API_KEY.",
            )

    async def now(self, endpoint: Endpoint) -> SecretStr | NoAnswer | None:
        """Return what to send, renewed where it is nearly over, or why there is nothing to send.

        Raises
        ------
        ConfigurationError
            The key is a JWT whose time is over, or the command that prints one failed.
        """
        if not self._exchanges:
            return await shown(endpoint.credential)
        token = self._token
        if token is not None and token.left(self.clock()) > NEARLY_OVER:
            return token.jwt
        newer = await self._newer_than(token, endpoint)
        if isinstance(newer, NoAnswer) and token is not None and token.left(self.clock()) > 0:
            return token.jwt
        return newer.jwt if isinstance(newer, Token) else newer

    async def instead_of(
        self, refused: SecretStr | None, endpoint: Endpoint
    ) -> SecretStr | NoAnswer | None:
        """Return another token than one the server refused; None where there are no tokens.

        However many requests the same token was refused to, it is exchanged once.
        """
        token = self._token
        if token is None or token.jwt != refused:
            return token.jwt if token is not None else None
        newer = await self._newer_than(token, endpoint)
        return newer.jwt if isinstance(newer, Token) else newer

    def stop(self) -> None:
        """Renew nothing unasked any more; may be called on any thread."""
        with self._lock:
            self._is_closed = True
            timer, self._timer = self._timer, None
        if timer is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and with it the timer
                timer[0].call_soon_threadsafe(timer[1].cancel)

    async def _newer_than(self, known: Token | None, endpoint: Endpoint) -> Token | NoAnswer:
        begun = self._begun(known, endpoint)
        tried = begun if isinstance(begun, Token) else await wait_async(begun)
        return _own(tried) if isinstance(tried, NoAnswer) else tried

    def _begun(
        self, known: Token | None, endpoint: Endpoint
    ) -> Token | concurrent.futures.Future[Token | NoAnswer]:
        """Return a newer token where somebody has renewed it meanwhile, else the renewal."""
        with self._lock:
            if self._token is not None and self._token is not known:
                return self._token
            if self._renewing is None or self._renewing.done():
                self._renewing = loop_thread().submit(self._renew(endpoint))
            return self._renewing

    async def _renew(self, endpoint: Endpoint) -> Token | NoAnswer:
        tried = await self._asked(endpoint)
        with self._lock:
            if isinstance(tried, Token):
                self._token = tried
            self._plan(tried, endpoint)
        return tried

    async def _asked(self, endpoint: Endpoint) -> Token | NoAnswer:
        asked = self.clock()
        try:
            credential = await shown(endpoint.credential, by_command=self._by_command)
        except ConfigurationError as error:
            return NoAnswer(_NO_CREDENTIAL, error)
        return token_in(await self._exchange(endpoint, credential), asked)

    def _plan(self, tried: Token | NoAnswer, endpoint: Endpoint) -> None:
        """Set the time of the next renewal; called on the loop thread."""
        if self._timer is not None:
            self._timer[1].cancel()
            self._timer = None
        if self._token is None or self._is_closed:
            return
        failed = isinstance(tried, NoAnswer)
        chance = random.random()  # noqa: S311  # spreads clients in time, guards nothing
        delay = next_renewal(self._token, self.clock(), chance, failed=failed)
        if isinstance(tried, NoAnswer):
            logger.log(_level(delay), "The token could not be renewed: %s", tried.error)
        if delay is not None:
            self._set_timer(delay, endpoint)

    def _set_timer(self, delay: float, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        # It must not keep a client alive that nobody holds any more, nor the cell it began in.
        timer = loop.call_later(
            delay, _renew_unasked, weakref.ref(self), endpoint, context=contextvars.Context()
        )
        self._timer = (loop, timer)


def _level(next_try: float | None) -> int:
    # Without a next try there is one with every request, and the last of them is told to the user.
    return logging.WARNING if next_try is not None else logging.DEBUG


def _renew_unasked(source: weakref.ref[KeySource], endpoint: Endpoint) -> None:
    keys = source()
    if keys is not None and not keys._is_closed:
        keys._begun(keys._token, endpoint)


def _own(tried: NoAnswer) -> NoAnswer:
    """Return why there is no token, for one of several who wait: each adds to its own error."""
    kind, error = type(tried.error), tried.error
    twin = kind.__new__(kind, *error.args)
    twin.__dict__.update(vars(error))
    twin.__cause__ = error.__cause__
    return replace(tried, error=twin)
