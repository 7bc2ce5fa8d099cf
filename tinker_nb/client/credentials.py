"""Where the credential for a server comes from, and what a JWT says of itself.

Keys are `SecretStr` from where they are found to where they are sent. A traceback may be shown with
the variables of its frames, so no frame here that can raise holds one open.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import math
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError

from tinker_nb.client.loops import wait_async
from tinker_nb.errors import ConfigurationError
from tinker_nb.wire.base import WireModel

T = TypeVar("T")
#: Where `tinker auth login` of the official command line keeps keys.
STORE = "~/.tinker/credentials.json"
_COMMAND_SECONDS = 120.0
_COMMAND = "TINKER_CREDENTIAL_CMD"


@dataclass(frozen=True)
class Credential:
    """What there is to open a server with.

    Parameters
    ----------
    key
        A key, or a JWT in place of one.
    command
        A shell command that prints one.
    """

    key: SecretStr | None = None
    command: SecretStr | None = None


# Looking


def find_credential(given: str | SecretStr | None, *, is_local: bool) -> Credential:
    """Return what opens a server: of the argument, the environment, or this machine's store.

    The order is the official SDK's: the argument, ``TINKER_API_KEY``, ``TINKER_CREDENTIAL_CMD``,
    the default key in ``~/.tinker/credentials.json``. The last two are keys to the hosted service;
    for a server on this machine they are left alone, so that they never travel to whatever happens
    to listen there.

    Parameters
    ----------
    given
        The argument; empty is as good as none.
    is_local
        Whether the server is on this machine. It may need no key.

    Raises
    ------
    ConfigurationError
        Nothing was found for a server elsewhere, or the store cannot be read.
    """
    key = _secret(given) or _secret(os.environ.get("TINKER_API_KEY"))
    if is_local:
        return Credential(key)
    command = _secret(os.environ.get(_COMMAND))
    key = key or (stored_key() if command is None else None)
    if key is None and command is None:
        raise ConfigurationError(
            "There is no key for this server.",
            advice=f"Give api_key, or set TINKER_API_KEY or {_COMMAND}, or store a key with "
            "`tinker auth login`.",
        )
    return Credential(key, command)


def _secret(value: str | SecretStr | None) -> SecretStr | None:
    sealed = value if isinstance(value, SecretStr) else SecretStr(value or "")
    return sealed if len(sealed) else None


class StoredKey(WireModel):
    """A key in the store."""

    key: SecretStr


class StoredCredentials(WireModel):
    """The store: keys by id, and which of them is used."""

    version: Literal[1] = 1
    default: str | None = None
    keys: dict[str, StoredKey] = Field(default_factory=dict)


def stored_key() -> SecretStr | None:
    """Return the default key of the store, where there is one; raises `ConfigurationError`."""
    stored = _stored()
    found = stored.keys.get(stored.default) if stored.default is not None else None
    return _secret(found.key) if found is not None else None


def _stored() -> StoredCredentials:
    try:
        return StoredCredentials.model_validate_json(Path(STORE).expanduser().read_bytes())
    except (FileNotFoundError, NotADirectoryError, RuntimeError):  # there may be no home at all
        return StoredCredentials()
    except OSError as error:
        wrong = error.strerror or type(error).__name__
    except ValidationError:  # it quotes what it read, so nothing of it is passed on
        wrong = "it is no store of keys that this client knows"
    raise ConfigurationError(
        f"The stored keys in {STORE} cannot be read: {wrong}.",
        advice="Set TINKER_API_KEY, or store a key anew with `tinker auth login`.",
    )


# Showing


async def shown(credential: Credential, *, by_command: bool = False) -> SecretStr | None:
    """Return what to show a server; a command is run each time.

    Parameters
    ----------
    credential
        What there is.
    by_command
        Whether the server takes only what a command has printed. A key that is a JWT is as good.

    Raises
    ------
    ConfigurationError
        The key is a JWT whose time is over, the command failed, or there is none and there must.
    """
    key = credential.key
    if key is not None and (is_jwt(key) or not by_command):
        refuse_expired(key, time.time())
        return key
    if credential.command is not None:
        return await printed_by(credential.command)
    if by_command:
        raise ConfigurationError(
            "This server takes only a credential that a command has printed.",
            advice=f"Set {_COMMAND}; it is run for servers on other machines only.",
        )
    return None


async def printed_by(command: SecretStr, seconds: float = _COMMAND_SECONDS) -> SecretStr:
    """Run a shell command and return the credential it prints; raises `ConfigurationError`."""
    status, printed = await _in_a_thread(lambda: _output(command, seconds))
    if status is None:
        raise _failed(f"did not end within {seconds:g} s")
    if status != 0:
        raise _failed(f"ended with exit status {status}")
    if not len(printed):
        raise _failed("printed nothing")
    refuse_unsendable("X-API-Key", printed)
    refuse_expired(printed, time.time())
    return printed


def _output(command: SecretStr, seconds: float) -> tuple[int | None, SecretStr]:
    """Return a command's exit status, None where it took too long, and what it printed."""
    try:
        done = subprocess.run(  # noqa: S602  # the user's own command, from the user's environment
            command.get_secret_value(),
            shell=True,
            stdin=subprocess.DEVNULL,  # nobody is there to answer a question
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may well say what is secret
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:  # it holds what was printed so far, so it goes no further
        return None, SecretStr("")
    return done.returncode, SecretStr(done.stdout.decode(errors="replace").strip())


async def _in_a_thread(work: Callable[[], T]) -> T:
    """Do what blocks in a thread that keeps no process alive, as those of an executor do."""
    ended: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except Exception as error:
            ended.set_exception(error)

    threading.Thread(target=run, name="tinker_nb-credential", daemon=True).start()
    return await wait_async(ended)


def _failed(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The command in {_COMMAND} {what}.",
        advice="Run it in a shell: it should print a credential and nothing else.",
    )


def refuse_unsendable(name: str, value: SecretStr) -> None:
    """Raise `ConfigurationError` on what no header can carry.

    Found out later, the value would be quoted in the message of whoever finds out.
    """
    if not re.fullmatch(r"[\t\x20-\x7e]*", value.get_secret_value()):
        raise ConfigurationError(
            f"What is to be sent as {name} holds characters that no header can carry.",
            advice="Look for a line break at its end, or letters beyond ASCII.",
        )


# JWTs. They are read without being verified, for that is the server's business.


def is_jwt(key: SecretStr) -> bool:
    """Say whether a key is a JWT."""
    return key.get_secret_value().startswith("eyJ")


def refuse_expired(key: SecretStr, now: float) -> None:
    """Raise `ConfigurationError` when a key is a JWT whose time is over."""
    end = moment(claims_of(key), "exp") if is_jwt(key) else None
    if end is not None and now >= end:
        when = datetime.fromtimestamp(max(end, 0.0), UTC)
        raise ConfigurationError(
            f"The key is a JWT that expired at {when:%Y-%m-%d %H:%M:%S} UTC.",
            advice=f"Give a fresh one, or set {_COMMAND} to a command that prints one.",
        )


def claims_of(jwt: SecretStr) -> Mapping[str, Any]:
    """Return what a JWT says; nothing where it cannot be read."""
    try:
        claims = json.loads(base64.urlsafe_b64decode(_payload(jwt)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _payload(jwt: SecretStr) -> str:
    """Return the middle part, filled up as base64 wants it."""
    middle = [*jwt.get_secret_value().split("."), ""][1]
    return middle + "=" * (-len(middle) % 4)


def moment(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a time, in seconds since 1970; None where it is none."""
    try:
        value = float(claims[name])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None
