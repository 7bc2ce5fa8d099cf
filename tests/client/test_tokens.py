"""Keys exchanged for JWTs: when, for whom, and how the official SDK does it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import itertools
import logging
import subprocess
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tinker
from pydantic import SecretStr

from tests.client.scripted import Say, ScriptedServer, Seen, scripted_server
from tests.client.token_server import (
    ASKED,
    EXCHANGE,
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
_RUN = {"TINKER_CREDENTIAL_CMD": "RUN"}
_ON = {"pjwt_auth_enabled": True}


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
        pytest.param("tml-a", {}, _ON, "tml-a", "tml-a", id="argument"),
        pytest.param(None, {"TINKER_API_KEY": "tml-v"}, _ON, "tml-v", "tml-v", id="variable"),
        pytest.param(None, {}, _ON, "tml-stored", "tml-stored", id="stored"),
        pytest.param(None, _RUN, _ON, "tml-run-1", "tml-run-2", id="command"),
        pytest.param(None, _RUN, BY_COMMAND, "tml-run-1", "tml-run-2", id="command-wanted"),
        pytest.param("tml-a", _RUN, BY_COMMAND, "tml-a", "tml-run-1", id="command-not-key"),
        pytest.param(LIVING, _RUN, BY_COMMAND, LIVING, LIVING, id="jwt-not-command"),
        pytest.param("tml-a", _RUN, {}, "tml-a", None, id="off"),
        pytest.param(LIVING, {}, {"pjwt_auth_enabled": False}, LIVING, None, id="off-jwt"),
        pytest.param(None, {}, {}, "tml-stored", None, id="off-stored"),
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
        hello = seen[0][2]
        token = script.issued[0] if second is not None else first
        exchange: list[Any] = [(EXCHANGE, second, {})] if second is not None else []
        assert seen == [
            ("/api/v1/client/config", first, hello),
            *exchange,
            ("/api/v1/client/dynamic_config", token, hello),
            (ASKED, token, b""),
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


@pytest.mark.parametrize("use", USES[1:])
def test_a_refusal_of_something_else_is_told_at_once(
    use: Callable[[ScriptedServer, str | None], None],
) -> None:
    script = TokenServer(refusal={"WWW-Authenticate": 'Bearer error="insufficient_scope"'})

    def refuse(seen: Seen) -> None:
        if seen.path == ASKED:
            script.refused.update(script.issued)

    script.before = refuse
    with scripted_server(script) as server:
        with pytest.raises(AuthenticationError, match=r"Who is \(secret\)\?"):
            use(server, KEY)
        assert server.count(ASKED) == server.count(EXCHANGE) == 1


def test_a_key_that_is_refused_as_a_token_is_not_exchanged() -> None:
    script = TokenServer(config={}, refused={KEY})
    script.before = lambda seen: script.refused.clear() if "config" in seen.path else None
    with scripted_server(script) as server, client(server) as rest:
        ask(rest)
        script.refused, script.before = {KEY}, lambda _: None
        with pytest.raises(AuthenticationError):
            ask(rest)
        assert server.count(EXCHANGE) == 0
        assert server.count(ASKED) == 2


def test_the_request_that_is_sent_again_is_the_same() -> None:
    script = TokenServer()
    with scripted_server(script) as server, client(server) as rest:
        ask(rest)
        script.refused.update(script.issued)
        rest.publish_checkpoint_from_tinker_path("tinker://run/weights/w").result(WAIT)
        one, _, two = server.seen[-3:]
        changed = {name for name in one.headers if one.headers[name] != two.headers.get(name)}
        assert changed == {"x-api-key"}
        assert "x-idempotency-key" in two.headers
        assert one.path == two.path


def test_a_server_that_wants_keys_is_given_no_command(
    elsewhere: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_CREDENTIAL_CMD", "echo tml-printed")
    with scripted_server(TokenServer(config={})) as server, client(server, None) as rest:
        with pytest.raises(ConfigurationError, match="TINKER_API_KEY"):
            ask(rest)
        assert [each.path for each in server.seen] == ["/api/v1/client/config"]


def test_a_server_on_this_machine_cannot_have_the_command_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINKER_CREDENTIAL_CMD", f"touch {tmp_path}/ran; echo tml-printed")
    with scripted_server(TokenServer(dict(BY_COMMAND))) as server, client(server) as rest:
        with pytest.raises(ConfigurationError, match="other machines only"):
            ask(rest)
        assert server.count(EXCHANGE) == 0
    assert not (tmp_path / "ran").exists()


# Renewal


def test_with_a_minute_left_the_next_request_renews() -> None:
    script, clock = TokenServer(), Clock()
    with scripted_server(script) as server, client(server) as rest:
        source_of(rest).clock = clock
        ask(rest)
        clock.now += 3539
        ask(rest)
        assert len(script.issued) == 1
        clock.now += 1
        ask(rest)
        ask(rest)
        first, second = script.issued
        assert keys_for(server, ASKED) == [first, first, second, second]
        assert keys_for(server, EXCHANGE) == [KEY, KEY]


async def test_each_loop_has_the_newest_token() -> None:
    script, clock = TokenServer(), Clock()
    with scripted_server(script) as server:
        async with RestClient(base_url=server.url, api_key=KEY, retry=QUICK) as rest:
            source_of(rest).clock = clock
            await rest.get_server_capabilities_async()
            clock.now += 3600
            await asyncio.to_thread(ask, rest)
            await rest.get_server_capabilities_async()
            await asyncio.to_thread(lambda: asyncio.run(rest.get_server_capabilities_async()))
        first, second = script.issued
        assert keys_for(server, ASKED) == [first, second, second, second]


def refuse_once_all_are_there(script: TokenServer, count: int) -> None:
    """Hold requests up until so many are there with the first token, then refuse them all."""
    barrier = threading.Barrier(count)

    def hold(seen: Seen) -> None:
        if seen.path == ASKED and seen.headers["x-api-key"] == script.issued[0]:
            barrier.wait(WAIT)
            script.refused.update(script.issued[:1])

    script.before = hold


async def test_two_loops_whose_token_is_refused_exchange_once() -> None:
    script = TokenServer()
    with scripted_server(script) as server:
        async with RestClient(base_url=server.url, api_key=KEY, retry=QUICK) as rest:
            refuse_once_all_are_there(script, 8)
            other = asyncio.to_thread(lambda: asyncio.run(_four(rest)))
            await asyncio.gather(_four(rest), other)
        first, second = script.issued
        assert Counter(keys_for(server, ASKED)) == {first: 8, second: 8}


async def _four(rest: RestClient) -> None:
    await asyncio.gather(*(rest.get_server_capabilities_async() for _ in range(4)))


async def test_two_loops_renew_once() -> None:
    script, clock = TokenServer(), Clock()
    with scripted_server(script) as server:
        async with RestClient(base_url=server.url, api_key=KEY, retry=QUICK) as rest:
            source_of(rest).clock = clock
            await rest.get_server_capabilities_async()
            clock.now += 3590
            script.before = held_exchange = HeldExchange(source_of(rest), 8)
            other = asyncio.to_thread(lambda: asyncio.run(_four(rest)))
            await asyncio.gather(_four(rest), other)
            assert held_exchange.most_waiting == 8
        assert len(script.issued) == 2
        assert keys_for(server, ASKED) == [script.issued[0], *[script.issued[1]] * 8]


class HeldExchange:
    """Holds an exchange up until so many requests wait for it."""

    def __init__(self, source: KeySource, count: int) -> None:
        self.most_waiting, self._count = 0, count
        self._all_there = threading.Event()
        begun = source._begun

        def counted(known: Any, where: Endpoint) -> Any:
            self.most_waiting += 1
            if self.most_waiting == self._count:
                self._all_there.set()
            return begun(known, where)

        source._begun = counted  # type: ignore[method-assign, assignment]

    def __call__(self, seen: Seen) -> None:
        if seen.path == EXCHANGE:
            assert self._all_there.wait(WAIT)


def test_an_exchange_waits_behind_no_other_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that have their turn wait for it: with one place only, it would never come."""
    monkeypatch.setattr(link, "_SUBMISSIONS", 1)
    script, clock = TokenServer(), Clock()
    with scripted_server(script) as server, client(server) as rest:
        source_of(rest).clock = clock
        ask(rest)
        clock.now += 3600
        futures = [rest.get_server_capabilities() for _ in range(3)]
        for future in futures:
            future.result(WAIT)
        assert len(script.issued) == 2


def test_halfway_a_token_is_renewed_unasked() -> None:
    script = TokenServer(lifetime=0.02)
    with scripted_server(script) as server, client(server) as rest:
        ask(rest)
        asked = len(server.seen) - server.count(EXCHANGE)
        script.wait_for_issued(5)
        assert len(server.seen) - server.count(EXCHANGE) == asked
        assert set(keys_for(server, EXCHANGE)) == {KEY}


def timers() -> list[Any]:
    """Return the renewals that the loop thread has before it."""

    async def look() -> list[Any]:
        scheduled = getattr(asyncio.get_running_loop(), "_scheduled")  # noqa: B009
        return [each for each in scheduled if not each.cancelled() and _is_ours(each)]

    return loop_thread().submit(look()).result(WAIT)


def _is_ours(handle: Any) -> bool:
    return handle._callback is keys._renew_unasked


def test_a_closed_client_renews_no_more() -> None:
    assert timers() == []
    script = TokenServer()
    with scripted_server(script) as server:
        with client(server) as rest:
            ask(rest)
            assert len(timers()) == 1
            script.refused.update(script.issued)
            ask(rest)
            assert len(timers()) == 1
        assert timers() == []


def test_a_client_that_is_closed_during_an_exchange_renews_no_more() -> None:
    script = TokenServer()
    came, release = threading.Event(), threading.Event()
    with scripted_server(script) as server:
        with client(server) as rest:
            ask(rest)
            script.refused.update(script.issued)

            def hold(seen: Seen) -> None:
                if seen.path == EXCHANGE:
                    came.set()
                    release.wait(WAIT)

            script.before = hold
            asking = rest.get_server_capabilities()
            assert came.wait(WAIT)
        renewing = source_of(rest)._renewing
        release.set()
        assert renewing is not None
        assert isinstance(renewing.result(WAIT), NoAnswer)
        assert asking.exception(WAIT) is not None
    assert timers() == []


def test_a_client_that_is_dropped_takes_its_timer_along() -> None:
    script = TokenServer()
    with scripted_server(script) as server:
        rest = RestClient(base_url=server.url, api_key=KEY, retry=QUICK)
        ask(rest)
        source = weakref.ref(source_of(rest))
        assert len(timers()) == 1
        del rest
        for _ in range(1000):  # what the call and the connections leave behind ends on the loop
            gc.collect()
            if not timers() and source() is None:
                break
        assert timers() == []
        assert source() is None


def test_a_timer_keeps_no_process_alive() -> None:
    code = (
        "import sys, tinker_nb\n"
        "rest = tinker_nb.RestClient(base_url=sys.argv[1], api_key=sys.argv[2])\n"
        "rest.get_server_capabilities().result(20)\n"
    )
    script = TokenServer()
    with scripted_server(script) as server:
        done = subprocess.run(
            [sys.executable, "-c", code, server.url, KEY],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(script.issued) == 1


# When there is no token


@pytest.mark.parametrize("use", USES[1:])
@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Say(401, {"detail": f"Who is {KEY}?"}), AuthenticationError),
        (Say(404, {"detail": "Not Found"}), APIResponseValidationError),
        (Say(200, {"jwt": "eyJs3cret.s3cret.s3cret"}), APIResponseValidationError),
    ],
)
def test_a_key_that_is_not_exchanged(
    use: Callable[[ScriptedServer, str | None], None], said: Say, kind: type[TinkerError]
) -> None:
    script = TokenServer(exchanges=[said] * 9)
    with scripted_server(script) as server:
        with pytest.raises(kind) as caught:
            use(server, KEY)
        assert server.count(EXCHANGE) == 1
        assert server.count(ASKED) == 0
    assert not any(secret in f"{caught.value} {vars(caught.value)}" for secret in (KEY, "s3cret"))


def test_an_exchange_is_tried_again_where_that_may_help() -> None:
    script = TokenServer(exchanges=[Say(503), Say(drop=True), Say(429, headers={})])
    with scripted_server(script) as server, client(server) as rest:
        ask(rest)
        assert server.count(EXCHANGE) == 4
        assert keys_for(server, ASKED) == script.issued


def test_a_renewal_is_tried_again_with_the_request_that_needs_it() -> None:
    script, clock = TokenServer(), Clock()
    with scripted_server(script) as server, client(server) as rest:
        source_of(rest).clock = clock
        ask(rest)
        clock.now += 3601
        script.exchanges = [Say(503), Say(drop=True)]
        ask(rest)
        assert keys_for(server, ASKED) == script.issued
        clock.now += 3601
        script.exchanges = [Say(401, {"detail": "No."})]
        with pytest.raises(AuthenticationError, match="check the key"):
            ask(rest)
        assert server.count(ASKED) == 2


def test_a_token_that_cannot_be_renewed_is_used_up(caplog: pytest.LogCaptureFixture) -> None:
    script, clock = TokenServer(), Clock()
    caplog.set_level(logging.DEBUG, logger="tinker_nb")
    with scripted_server(script) as server, client(server) as rest:
        source_of(rest).clock = clock
        ask(rest)
        clock.now += 3590
        script.exchanges = [Say(500, {"detail": f"no {KEY}"})]
        ask(rest)
        assert keys_for(server, ASKED) == script.issued * 2
    assert "could not be renewed" in caplog.text
    assert not any(secret in caplog.text for secret in (KEY, *script.issued))


def test_a_renewal_that_fails_unasked_is_tried_again_a_minute_later(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "next_renewal", planned := Planned())
    script = TokenServer()
    with scripted_server(script) as server, client(server) as rest:
        script.exchanges = [None, Say(500, {"detail": f"no {KEY}"}), None]
        ask(rest)
        assert planned.was_told_three.wait(WAIT)
        assert server.count(EXCHANGE) == 3
    assert planned.failed == [False, True, False]
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert KEY not in caplog.text


class Planned:
    """Lets renewals come at once, twice, and notes what they come after."""

    def __init__(self) -> None:
        self.failed: list[bool] = []
        self.was_told_three = threading.Event()

    def __call__(self, token: Token, now: float, chance: float, *, failed: bool) -> float | None:
        self.failed.append(failed)
        true = next_renewal(token, now, chance, failed=failed)
        if len(self.failed) == 3:
            self.was_told_three.set()
        return 0.0 if len(self.failed) < 3 and true is not None else true


async def test_all_who_wait_in_vain_have_errors_of_their_own() -> None:
    async def never(_: Endpoint, __: SecretStr | None) -> Reply:
        await asyncio.sleep(0)
        return reply(403, '{"detail": "No."}')

    source = KeySource(never)
    where = Endpoint("http://127.0.0.1", SecretStr(KEY))
    source.follow(ClientConfigResponse(pjwt_auth_enabled=True), where)
    one, two = await asyncio.gather(source.now(where), source.now(where))
    assert isinstance(one, NoAnswer)
    assert isinstance(two, NoAnswer)
    assert one.error is not two.error
    assert str(one.error) == str(two.error)
    assert vars(one.error) == vars(two.error)


async def test_what_was_renewed_meanwhile_is_not_renewed_again() -> None:
    async def once(_: Endpoint, __: SecretStr | None) -> Reply:
        return reply(200, f'{{"jwt": "{jwt(iat=0, exp=1, number=next(numbers))}"}}')

    numbers = itertools.count()
    source = KeySource(once)
    where = Endpoint("http://127.0.0.1", SecretStr(KEY))
    source.follow(ClientConfigResponse(pjwt_auth_enabled=True), where)
    first = await source.now(where)
    known = source._begun(None, where)
    assert isinstance(known, Token)
    assert known.jwt == first
    second = await source.now(where)  # it was nearly over from the start
    assert second != first
    assert isinstance(first, SecretStr)
    assert await source.instead_of(first, where) == second
    source.stop()


async def test_giving_up_waiting_leaves_the_exchange_to_the_others() -> None:
    release: concurrent.futures.Future[None] = concurrent.futures.Future()

    async def held(_: Endpoint, __: SecretStr | None) -> Reply:
        await asyncio.wrap_future(release)
        return reply(200, f'{{"jwt": "{LIVING}"}}')

    source = KeySource(held)
    where = Endpoint("http://127.0.0.1", SecretStr(KEY))
    source.follow(ClientConfigResponse(pjwt_auth_enabled=True), where)
    impatient, patient = (asyncio.create_task(source.now(where)) for _ in range(2))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait([impatient])
    release.set_result(None)
    assert await patient == SecretStr(LIVING)
    assert impatient.cancelled()
    source.stop()


# Whose key it is


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("email", ["me@example.org", "", None])
async def test_whose_key_it_is_stands_in_the_token(email: str | None) -> None:
    script = TokenServer(claims={**OWNER, "email": email})
    with scripted_server(script) as server:
        rest = tinker.RestClient(base_url=server.url, api_key=KEY)
        expected = (await asyncio.to_thread(rest.whoami().result, WAIT)).model_dump()
        async with RestClient(base_url=server.url, api_key=KEY, retry=QUICK) as mine:
            assert (await mine.whoami_async()).model_dump() == expected
            assert (await asyncio.to_thread(mine.whoami().result, WAIT)).model_dump() == expected
        assert server.count(EXCHANGE) == 2
    assert expected["user_urn"] == OWNER["sub"]
    del rest
    gc.collect()


def test_the_token_says_it_even_where_the_key_is_a_jwt_too() -> None:
    key = jwt(sub="of the key", org_id="k", exp=1e11)
    with scripted_server(TokenServer(claims=OWNER)) as server, client(server, key) as rest:
        assert rest.whoami().result(WAIT).user_urn == OWNER["sub"]
    with scripted_server(TokenServer(config={})) as server, client(server, key) as rest:
        assert rest.whoami().result(WAIT).user_urn == "of the key"


@pytest.mark.parametrize("key", [KEY, None, LIVING])
def test_without_a_jwt_nobody_knows_whose_key_it_is(key: str | None) -> None:
    with (
        scripted_server(TokenServer(config={})) as server,
        client(server, key) as rest,
        pytest.raises(ConfigurationError, match="say whose") as caught,
    ):
        rest.whoami().result(WAIT)
    assert (key or "?") not in str(caught.value)


# A session


def test_a_session_is_kept_and_ended_with_tokens(caplog: pytest.LogCaptureFixture) -> None:
    script = TokenServer()
    caplog.set_level(logging.DEBUG)
    with scripted_server(script) as server:
        with ServiceClient(base_url=server.url, api_key=KEY, retry=QUICK) as service:
            training = service.create_lora_training_client("m")
            script.refused.update(script.issued)
            training.optim_step().result(WAIT)
            texts = [repr(each) for each in (service, service.server, source_of(service), training)]
            texts += [repr(vars(source_of(service))), repr(service.server.transport.endpoint)]
        ended = [each for each in server.seen if each.path.endswith("/finish")]
        by_key = [KEY, *script.issued]
        assert {each.headers["x-api-key"] for each in server.seen} == set(by_key)
        assert [each.headers["x-api-key"] for each in ended] == [script.issued[1]]
        assert server.count("/api/v1/optim_step") == 2
    assert not any(secret in text for secret in by_key for text in (*texts, caplog.text))


def test_whether_a_key_is_over_is_looked_at_with_each_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = jwt(exp=time.time() + 1000)
    with scripted_server(TokenServer(config={})) as server, client(server, key) as rest:
        ask(rest)
        later = time.time() + 1000
        monkeypatch.setattr(credentials, "time", SimpleNamespace(time=lambda: later))
        with pytest.raises(ConfigurationError, match="expired"):
            ask(rest)
        assert server.count(ASKED) == 1
