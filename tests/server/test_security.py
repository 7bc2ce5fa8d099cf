"""The key."""

from __future__ import annotations

import stat
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from tests.server.conftest import KEY, Served, settings_for
from tinker_nb.errors import ConfigurationError
from tinker_nb.server.guards.keys import is_loopback, new_key, opens
from tinker_nb.server.store.home import enter_default_home, enter_home


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "tml-wrong"}, {"X-API-Key": ""}])
@pytest.mark.parametrize("path", ["/", "/api/v1/training_runs", "/openapi.json", "/nothing"])
def test_nothing_without_the_key(served: Served, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(served.url + path, headers=headers)
    assert answer.status_code == 401
    assert "X-API-Key" in answer.json()["detail"]
    assert KEY not in answer.text


def test_a_large_body_without_the_key_is_not_read(served: Served) -> None:
    answer = httpx.post(served.url + "/api/v1/optim_step", content=bytes(80_000_000))
    assert answer.status_code == 401


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/healthz"])
def test_health_is_open(served: Served, path: str) -> None:
    assert httpx.get(served.url + path).json() == {"status": "ok"}


def test_the_key_opens(http: httpx.Client) -> None:
    index = http.get("/").json()
    assert index["endpoints"]["/api/v1/forward_backward"] == ["POST"]


def test_keys() -> None:
    assert new_key() != new_key()
    assert new_key().get_secret_value().startswith("tml-")
    assert opens(SecretStr("tml-ä"), "tml-ä".encode())
    assert not opens(SecretStr("tml-a"), b"tml-b")
    assert not opens(SecretStr("tml-a"), None)


def test_settings_never_show_the_key(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    assert KEY not in repr(settings)
    assert KEY not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("192.168.1.5", False),
        ("example.org", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_key_file_is_the_owners(tmp_path: Path) -> None:
    home = enter_home(tmp_path / "data")
    for _ in range(2):
        file = home.write_key(SecretStr("tml-x"))
    home.leave()
    assert file.read_text() == "tml-x"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_one_server_per_data_directory(tmp_path: Path) -> None:
    first = enter_home(tmp_path / "data")
    with pytest.raises(ConfigurationError, match="Another server uses"):
        enter_home(tmp_path / "data")
    beside = enter_default_home(tmp_path / "data")
    assert beside.directory.name == "data-2"
    first.leave()
    again = enter_default_home(tmp_path / "data")
    assert again.directory.name == "data"
    for home in (beside, again):
        home.leave()


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be used as data directory"):
        enter_home(tmp_path / "file" / "data")
