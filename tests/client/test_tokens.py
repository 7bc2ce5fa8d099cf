"""Keys exchanged for JWTs: when, for whom, and how the official SDK does it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tinker
from pydantic import SecretStr

from tests.client.scripted import Say, ScriptedServer, Seen, scripted_server
from tests.client.token_server import (
    ASKED,
    EXCHANGE,
    INVALID,
    TokenServer,
    jwt,
    keys_for,
    shown,
)
from tinker_nb import RestClient, ServiceClient
from tinker_nb.client import credentials, endpoint, keys, link
from tinker_nb.client.endpoint import Endpoint
from tinker_nb.client.exchange import NoAnswer, Reply
from tinker_nb.client.keys import KeySource
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.retry import Failure, RetryPolicy
from tinker_nb.client.tokens import Token, is_refused_token, next_renewal, token_in
from tinker_nb.errors import (
    APIConnectionError,
    APIResponseValidationError,
    AuthenticationError,
    ConfigurationError,
    InternalServerError,
    TinkerError,
)
from tinker_nb.wire.responses import ClientConfigResponse

KEY = "tml-Wq8Rz3"
WAIT = 20
QUICK = RetryPolicy(0.01, 0.05, patience=0.3, refused_patience=0.1)
BY_COMMAND = {"pjwt_auth_enabled": True, "credential_default_source": "credential_cmd"}
OWNER = {"sub": "tml:user:1", "org_id": "org-1", "email": "me@example.org"}
official = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("TINKER_TELEMETRY", "0")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server count as one on another machine."""
    monkeypatch.setattr(endpoint, "is_loopback", lambda _: False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def ask(rest: RestClient) -> None:
    rest.get_server_capabilities().result(WAIT)


@contextmanager
def client(server: ScriptedServer, key: str | None = KEY) -> Iterator[RestClient]:
    with RestClient(base_url=server.url, api_key=key, retry=QUICK) as rest:
        yield rest


def source_of(rest: RestClient | ServiceClient) -> KeySource:
    server = rest.server if isinstance(rest, ServiceClient) else rest._server
    return server.transport._links.keys


class Clock:
    """A time that stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


# Deciding


def reply(status: int, content: str, **headers: str) -> Reply:
    return Reply(status, "application/json", content.encode(), headers)


def test_a_token_lives_as_long_as_the_server_says_whatever_the_clock_here() -> None:
    given = jwt(iat=5_000_000, exp=5_003_600)
    token = token_in(reply(200, f'{{"jwt": "{given}", "more": 1}}'), asked=100.0)
    assert token == Token(SecretStr(given), 3600.0, 100.0)
    assert isinstance(token, Token)
    assert token.left(1000.0) == 2700.0
    without = token_in(reply(200, f'{{"jwt": "{jwt(exp=1100)}"}}'), asked=100.0)
    assert isinstance(without, Token)
    assert without.lifetime == 1000.0


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "<html>s3cret</html>",
        '{"token": "eyJs3cret"}',
        '{"jwt": null}',
        '{"jwt": ["s3cret"]}',
        '{"jwt": "s3cret"}',
        '{"jwt": "eyJ.s3cret.x"}',
        '{"jwt": "eyJ.e30.s3cret',
        f'{{"jwt": "{jwt(iat=1)}s3cret"}}',
        f'{{"jwt": "{jwt(iat=5, exp=5)}s3cret"}}',
        f'{{"jwt": "{jwt(iat=1, exp=5)}s3cret\\n"}}',
        f'{{"jwt": "{jwt(iat=1, exp=5)}s3crät"}}',
    ],
)
@pytest.mark.parametrize("status", [200, 302])
def test_what_is_no_token_is_not_shown(content: str, status: int) -> None:
    tried = token_in(reply(status, content), asked=0.0)
    assert isinstance(tried, NoAnswer)
    assert isinstance(tried.error, APIResponseValidationError)
    assert tried.error.__cause__ is tried.error.__context__ is None
    assert "s3cr" not in f"{tried!r} {tried.error} {vars(tried.error)}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (503, InternalServerError),
        (404, APIResponseValidationError),
        (405, APIResponseValidationError),
        (410, APIResponseValidationError),
    ],
)
def test_what_a_refused_exchange_means(status: int, kind: type[TinkerError]) -> None:
    tried = token_in(reply(status, '{"detail": "No."}', **{"retry-after": "2"}), asked=0.0)
    assert isinstance(tried, NoAnswer)
    assert type(tried.error) is kind
    assert tried.failure == Failure(status, {"retry-after": "2"})


def test_an_exchange_without_an_answer() -> None:
    none = NoAnswer(Failure(refused=True), APIConnectionError("Nothing there."))
    assert token_in(none, asked=0.0) is none


def test_when_a_token_is_renewed_unasked() -> None:
    token = Token(SecretStr("eyJ"), lifetime=1000.0, received=0.0)
    assert next_renewal(token, 0.0, 0.0, failed=False) == pytest.approx(450)
    assert next_renewal(token, 0.0, 1.0, failed=False) == pytest.approx(550)
    assert next_renewal(token, 500.0, 0.5, failed=True) == 60
    assert next_renewal(token, 879.0, 0.5, failed=True) == 60
    assert next_renewal(token, 880.0, 0.5, failed=True) is None  # requests come first


@pytest.mark.parametrize(
    ("status", "header", "meant"),
    [
        (401, 'Bearer error="invalid_token"', True),
        (401, 'Bearer realm="x", error="invalid_token", error_description="old"', True),
        (401, 'Bearer error="insufficient_scope"', False),
        (401, "Bearer", False),
        (401, None, False),
        (403, 'Bearer error="invalid_token"', False),
        (200, 'Bearer error="invalid_token"', False),
    ],
)
def test_which_answers_refuse_the_token_itself(
    status: int, header: str | None, meant: bool
) -> None:
    headers = {"www-authenticate": header} if header is not None else {}
    assert is_refused_token(status, headers) is meant


# The same as the official SDK does


def theirs(server: ScriptedServer, key: str | None) -> None:
    tinker.RestClient(base_url=server.url, api_key=key).get_server_capabilities().result(WAIT)


def ours(server: ScriptedServer, key: str | None) -> None:
    with client(server, key) as rest:
        ask(rest)


async def _awaited(server: ScriptedServer, key: str | None) -> None:
    async with RestClient(base_url=server.url, api_key=key, retry=QUICK) as rest:
        await rest.get_server_capabilities_async()


def ours_awaited(server: ScriptedServer, key: str | None) -> None:
    asyncio.run(_awaited(server, key))


USES = [theirs, ours, ours_awaited]
STORE = '{"version":1,"default":"a","keys":{"a":{"type":"manual","key":"tml-stored","name":"n"}}}'
LIVING = jwt(exp=1e11, iat=0, sub="somebody")


@contextmanager
def used(
    use: Callable[[ScriptedServer, str | None], None], script: TokenServer, key: str | None
) -> Iterator[list[tuple[str, str | None, Any]]]:
    with scripted_server(script) as server:
        use(server, key)
        yield shown(server)
    gc.collect()  # the official SDK leaves sockets to the collector


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("key", "environment", "config", "first", "second"),
    [
        ("tml-a", {}, {"pjwt_auth_enabled": True}, "tml-a", "tml-a"),
        (None, {"TINKER_API_KEY": "tml-v"}, {"pjwt_auth_enabled": True}, "tml-v", "tml-v"),
        (None, {}, {"pjwt_auth_enabled": True}, "tml-stored", "tml-stored"),
        (None, {"TINKER_CREDENTIAL_CMD": "RUN"}, BY_COMMAND, "tml-run-1", "tml-run-2"),
        ("tml-a", {"TINKER_CREDENTIAL_CMD": "RUN"}, BY_COMMAND, "tml-a", "tml-run-1"),
        (LIVING, {"TINKER_CREDENTIAL_CMD": "RUN"}, BY_COMMAND, LIVING, LIVING),
        (
            None,
            {"TINKER_CREDENTIAL_CMD": "RUN"},
            {"pjwt_auth_enabled": True},
            "tml-run-1",
            "tml-run-2",
        ),
        ("tml-a", {"TINKER_CREDENTIAL_CMD": "RUN"}, {}, "tml-a", None),
        (LIVING, {}, {"pjwt_auth_enabled": False}, LIVING, None),
        (None, {}, {}, "tml-stored", None),
    ],
)
@pytest.mark.usefixtures("elsewhere")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_order_of_requests_and_their_keys(
    use: Callable[[ScriptedServer, str | None], None],
    key: str | None,
    environment: dict[str, str],
    config: dict[str, Any],
    first: str,
    second: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / ".tinker").mkdir()
    (tmp_path / ".tinker" / "credentials.json").write_text(STORE)
    runs = tmp_path / "runs"
    for name, value in environment.items():
        run = f"echo x >> {runs}; echo tml-run-$(grep -c x {runs})"
        monkeypatch.setenv(name, run if value == "RUN" else value)
    script = TokenServer(config)
    with used(use, script, key) as seen:
        hello = [body for path, _, body in seen if path == "/api/v1/client/config"][0]
        token = script.issued[0] if second is not None else first
        exchange = [(EXCHANGE, second, {})] if second is not None else []
        assert seen == [
            ("/api/v1/client/config", first, hello),
            *exchange,
            ("/api/v1/client/dynamic_config", token, hello),
            (ASKED, token, {}),
        ]
    assert len(script.issued) == len(exchange)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_refused_token_is_replaced_and_the_request_sent_once_more(
    use: Callable[[ScriptedServer, str | None], None], again: bool
) -> None:
    """From the second request on it is refused, and the second token too where it says `again`."""
    script = TokenServer()

    def refuse(seen: Seen) -> None:
        if seen.path == ASKED:
            script.refused.update(script.issued if again else script.issued[:1])

    script.before = refuse
    try:
        with used(use, script, KEY) as seen:
            found = [(path, key) for path, key, _ in seen[3:]]
    except (AuthenticationError, tinker.AuthenticationError):
        assert again
    else:
        assert not again
        first, second = script.issued
        assert found == [(ASKED, first), (EXCHANGE, KEY), (ASKED, second)]
    assert len(script.issued) == 2
