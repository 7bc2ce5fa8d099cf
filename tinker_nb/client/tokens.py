"""JWTs that a server gives for a key: what they are, and when there must be a new one. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr, ValidationError

from tinker_nb.client.credentials import claims_of, moment, refuse_unsendable
from tinker_nb.client.exchange import NoAnswer, Reply, Request, json_payload, status_error
from tinker_nb.client.retry import Failure
from tinker_nb.errors import APIError, APIResponseValidationError, ConfigurationError
from tinker_nb.wire.responses import AuthTokenResponse

#: With this many seconds left a token is renewed before it is sent.
NEARLY_OVER = 60.0
RETRY_SECONDS = 60.0
_EARLIEST, _SPREAD = 0.45, 0.1  # clients that began together do not come back together
#: Taken for what they are, they would say that what is asked for is not there.
_NO_SUCH_ENDPOINT = (404, 405, 410, 501)


def exchange_request() -> Request:
    """Return what asks for a token."""
    return Request("POST", "/api/v1/auth/token", json_payload({})).keyed()


@dataclass(frozen=True)
class Token:
    """A JWT for which the key was exchanged.

    Parameters
    ----------
    jwt
        What to send.
    lifetime
        How many seconds it is good for. Both ends are the server's word, so a clock that is wrong
        on this side neither shortens nor prolongs it.
    received
        When it was asked for, on this side's clock.
    """

    jwt: SecretStr
    lifetime: float
    received: float

    def left(self, now: float) -> float:
        """Return the seconds until it is over."""
        return self.received + self.lifetime - now


def token_in(tried: Reply | NoAnswer, asked: float) -> Token | NoAnswer:
    """Return the token that an exchange gave, or why it gave none.

    Parameters
    ----------
    tried
        What came of the exchange.
    asked
        When it was begun.
    """
    if isinstance(tried, NoAnswer):
        return tried
    jwt = _jwt_in(tried.content) if tried.status < 300 else None
    token = _token(jwt, asked) if jwt is not None else None
    return token or NoAnswer(Failure(tried.status, tried.headers), _error(tried))


def _error(reply: Reply) -> APIError:
    if reply.status in _NO_SUCH_ENDPOINT or reply.status < 400:
        said = "The server wants a token in place of the key, but gave none that can be read"
        return APIResponseValidationError(f"{said} (it answered {reply.status}).")
    error = status_error(reply)
    error.advice = "It was asked to exchange the key for a token: check the key."
    return error


def _jwt_in(content: bytes) -> SecretStr | None:
    try:
        return AuthTokenResponse.model_validate_json(content).jwt
    except ValidationError:  # it quotes what it read
        return None


def _token(jwt: SecretStr, asked: float) -> Token | None:
    claims = claims_of(jwt)
    begin, end = moment(claims, "iat"), moment(claims, "exp")
    if end is None:
        return None
    lifetime = end - (asked if begin is None else begin)
    try:
        refuse_unsendable("X-API-Key", jwt)
    except ConfigurationError:
        return None
    return Token(jwt, lifetime, asked) if lifetime > 0 else None


def next_renewal(token: Token, now: float, chance: float, *, failed: bool) -> float | None:
    """Return the seconds until a token is renewed unasked; None where requests see to it.

    Parameters
    ----------
    token
        The newest one.
    now
        The time.
    chance
        A number from 0 to 1 that spreads clients in time.
    failed
        Whether it was to be renewed just now, and could not.
    """
    if not failed:
        return token.lifetime * (_EARLIEST + _SPREAD * chance)
    return RETRY_SECONDS if token.left(now) - RETRY_SECONDS > NEARLY_OVER else None


def is_refused_token(status: int, headers: Mapping[str, str]) -> bool:
    """Say whether an answer refuses the token itself, and not what its owner asks for."""
    said = headers.get("www-authenticate", "")
    return status == 401 and 'error="invalid_token"' in said
