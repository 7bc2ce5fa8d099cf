"""Where the credential comes from, which server it goes to, and what a JWT says of itself."""

from __future__ import annotations

import asyncio
import json
import os
import time
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from tests.client.scripted import scripted_server
from tests.client.token_server import TokenServer, jwt
from tinker_nb import RestClient
from tinker_nb.client.credentials import (
    Credential,
    claims_of,
    moment,
    printed_by,
    refuse_expired,
    shown,
    stored_key,
)
from tinker_nb.client.endpoint import Endpoint, find_endpoint, is_loopback
from tinker_nb.errors import ConfigurationError

ELSEWHERE = "https://tinker.example/prefix"
SECRET = "tml-Wq8Rz3"
HERE = [
    "http://127.0.0.1:8000",
    "http://127.9.9.9",
    "http://localhost:8000",
    "http://LOCALHOST./prefix",
    "http://tinker.localhost",
    "http://[::1]:8000",
    "http://[::ffff:127.0.0.1]",
    "http://0.0.0.0:8000",
    "http://[::]",
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def store(home: Path, content: Any) -> None:
    folder = home / ".tinker"
    folder.mkdir()
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / "credentials.json").write_text(text)


def a_store(key: str = SECRET, default: str | None = "a") -> dict[str, Any]:
    record = {"type": "manual", "key": key, "name": "mine", "note": None}
    other = {"type": "generated", "key": "tml-other", "name": "x", "details": {"org_details": {}}}
    return {"version": 1, "default": default, "keys": {"a": record, "b": other}}


def all_of(error: BaseException) -> str:
    """Return all that an error, and what it came from, can show: frames and their variables too."""
    found, waiting, seen = "", [error], set[int]()
    while waiting:
        each = waiting.pop()
        seen.add(id(each))
        captured = traceback.TracebackException.from_exception(each, capture_locals=True)
        own = [frame for frame in captured.stack if frame.filename != __file__]
        found += f"{each!r} {vars(each)} {[frame.locals for frame in own]}"
        more = (each.__cause__, each.__context__)
        waiting += [one for one in more if one is not None and id(one) not in seen]
    return found


def plain(endpoint: Endpoint) -> tuple[str | None, str | None]:
    both = (endpoint.api_key, endpoint.credential_cmd)
    key, command = (each.get_secret_value() if each is not None else None for each in both)
    return key, command


# Looking


@pytest.mark.parametrize(
    ("argument", "variable", "command", "stored", "found"),
    [
        ("tml-a", "tml-v", "cmd", "tml-s", ("tml-a", "cmd")),
        (SecretStr("tml-a"), "tml-v", None, "tml-s", ("tml-a", None)),
        (None, "tml-v", "cmd", "tml-s", ("tml-v", "cmd")),
        ("", "tml-v", None, None, ("tml-v", None)),
        (SecretStr(""), "tml-v", None, None, ("tml-v", None)),
        (None, None, "cmd", "tml-s", (None, "cmd")),
        (None, "", "", "tml-s", ("tml-s", None)),
        (None, None, None, "tml-s", ("tml-s", None)),
    ],
)
def test_the_order_in_which_a_key_is_looked_for(
    argument: str | SecretStr | None,
    variable: str | None,
    command: str | None,
    stored: str | None,
    found: tuple[str | None, str | None],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in (("TINKER_API_KEY", variable), ("TINKER_CREDENTIAL_CMD", command)):
        if value is not None:
            monkeypatch.setenv(name, value)
    if stored is not None:
        store(home, a_store(stored))
    endpoint = find_endpoint(ELSEWHERE, argument)
    assert plain(endpoint) == found
    assert not any(secret in repr(endpoint) for secret in ("tml-", "cmd'"))


@pytest.mark.parametrize("url", HERE)
def test_what_is_stored_never_goes_to_a_server_on_this_machine(
    url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(home, a_store())
    monkeypatch.setenv("TINKER_CREDENTIAL_CMD", "cmd")
    assert plain(find_endpoint(url)) == (None, None)
    monkeypatch.setenv("TINKER_API_KEY", "tml-v")
    assert plain(find_endpoint(url)) == ("tml-v", None)
    assert plain(find_endpoint(url, "tml-a")) == ("tml-a", None)


def test_a_server_on_this_machine_hears_of_no_stored_key(home: Path) -> None:
    store(home, a_store())
    with scripted_server(TokenServer(config={})) as server, RestClient(base_url=server.url) as rest:
        rest.get_server_capabilities().result(20)
        assert server.seen
        assert not any("x-api-key" in each.headers for each in server.seen)


@pytest.mark.parametrize(
    "url", [ELSEWHERE, "http://10.0.0.1", "http://localhost.example", "http://notlocalhost", ""]
)
def test_other_machines(url: str) -> None:
    assert not is_loopback(url)


@pytest.mark.parametrize("content", [None, {}, a_store(default=None), a_store(default="gone")])
def test_no_key_at_all(content: Any, home: Path) -> None:
    if content is not None:
        store(home, content)
    with pytest.raises(ConfigurationError) as caught:
        find_endpoint(ELSEWHERE)
    for way in ("api_key", "TINKER_API_KEY", "TINKER_CREDENTIAL_CMD", "tinker auth login"):
        assert way in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        f"{{ {SECRET}",
        f'"{SECRET}"',
        {**a_store(), "version": 2},
        {"default": "a", "keys": {"a": {"token": SECRET}}},
        {"default": "a", "keys": [SECRET]},
    ],
)
def test_a_store_that_cannot_be_read_is_not_shown(content: Any, home: Path) -> None:
    store(home, content)
    with pytest.raises(ConfigurationError, match="no store of keys") as caught:
        find_endpoint(ELSEWHERE)
    assert SECRET not in all_of(caught.value)
    assert plain(find_endpoint(ELSEWHERE, "tml-a")) == ("tml-a", None)


def test_a_store_that_is_no_file(home: Path) -> None:
    (home / ".tinker" / "credentials.json").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"~/\.tinker/credentials\.json cannot be read"):
        find_endpoint(ELSEWHERE)


def test_the_official_store_is_read(home: Path) -> None:
    from tinker.lib.credentials import JsonCredentialStore, ManualKey, default_credentials_path

    official = JsonCredentialStore(default_credentials_path())
    official.add_key("x", ManualKey(key="tml-not-this-one", name="x"))
    official.add_key("y", ManualKey(key=SECRET, name="y"))
    official.set_default("y")
    assert stored_key() == SecretStr(SECRET)
    official.delete_key("y")
    assert stored_key() is None


# Commands


async def test_a_command_is_run_each_time(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = SecretStr(f"echo x >> {runs}; echo; echo ' tml-'$(grep -c x {runs}); echo no >&2")
    printed = [await shown(Credential(None, command)) for _ in range(2)]
    assert printed == [SecretStr("tml-1"), SecretStr("tml-2")]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("cat {file}; exit 3", "exit status 3"),
        ("", "printed nothing"),
        ("echo", "printed nothing"),
        ("echo ä; cat {file}", "no header can carry"),
        ("cat {file}; cat {file}", "no header can carry"),
        ("cat {file}; exec sleep 60", r"did not end within 0\.3 s"),
        ("cat {expired}", "expired at"),
    ],
)
async def test_a_command_that_gives_none(command: str, why: str, tmp_path: Path) -> None:
    file, expired = tmp_path / "key", tmp_path / "expired"
    file.write_text(f"{SECRET}\n")
    old = jwt(exp=1)
    expired.write_text(old)
    run = SecretStr(command.format(file=file, expired=expired))
    with pytest.raises(ConfigurationError, match=why) as caught:
        await printed_by(run, 0.3 if "sleep" in command else 20)
    assert not any(secret in all_of(caught.value) for secret in (SECRET, old))


async def test_what_is_shown() -> None:
    key, token, command = SecretStr("tml-k"), SecretStr(jwt(exp=1e11)), SecretStr("echo tml-c")
    printed = SecretStr("tml-c")
    assert await shown(Credential()) is None
    assert await shown(Credential(key, command)) == key
    assert await shown(Credential(None, command)) == printed
    assert await shown(Credential(key, command), by_command=True) == printed
    assert await shown(Credential(token, command), by_command=True) == token
    with pytest.raises(ConfigurationError, match="Set TINKER_CREDENTIAL_CMD"):
        await shown(Credential(key), by_command=True)


async def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    """What it holds open is closed with its end."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    end = asyncio.create_task(asyncio.to_thread(pipe.read_text))
    with pytest.raises(ConfigurationError, match="did not end"):
        await printed_by(SecretStr(f"exec 3> {pipe}; echo begun >&3; exec sleep 60"), 0.5)
    assert await asyncio.wait_for(end, 20) == "begun\n"


# JWTs


def test_a_jwt_is_refused_from_its_last_moment_on() -> None:
    token = SecretStr(jwt(exp=1000))
    refuse_expired(token, 999.9)
    with pytest.raises(ConfigurationError, match="expired at 1970-01-01 00:16:40 UTC") as caught:
        refuse_expired(token, 1000.0)
    assert "TINKER_CREDENTIAL_CMD" in str(caught.value)
    assert token.get_secret_value() not in all_of(caught.value)


@pytest.mark.parametrize(
    "key",
    ["tml-k", "eyJ", "eyJ.x", "eyJ.WzFd.x", "eyJ.ä.x", jwt(), jwt(exp="soon"), jwt(exp=None)],
)
def test_who_says_no_end_is_not_refused_here(key: str) -> None:
    refuse_expired(SecretStr(key), 1e12)


def test_times_in_a_jwt() -> None:
    claims = claims_of(SecretStr(jwt(a=1, b="2.5", c=True, d=[1], e=float("nan"), f=10**400)))
    found = {name: moment(claims, name) for name in "abcdefg"}
    assert found == {"a": 1, "b": 2.5, "c": 1, "d": None, "e": None, "f": None, "g": None}


def test_an_expired_key_goes_nowhere() -> None:
    old = jwt(exp=time.time() - 1)
    with (
        scripted_server(TokenServer(config={})) as server,
        RestClient(base_url=server.url, api_key=old) as rest,
        pytest.raises(ConfigurationError, match="expired") as caught,
    ):
        rest.get_server_capabilities().result(20)
    assert server.seen == []
    assert old not in all_of(caught.value)
    assert not hasattr(caught.value, "__notes__")  # they are for mistakes of our own
