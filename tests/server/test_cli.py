"""The command line: what is refused, what the flags become, and every way to stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from tests.server.conftest import KEY, json_call, json_datum, new_model
from tinker_nb.errors import ConfigurationError
from tinker_nb.server import cli
from tinker_nb.server.config import TINY_CHAT, Settings
from tinker_nb.server.engine import finding
from tinker_nb.server.engine.finding import find_model
from tinker_nb.server.store.home import Home
from tinker_nb.server.tiny_chat import MODEL_DIR

# What the flags become ---------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of servers that would have been started."""
    found: list[Settings] = []

    def run(settings: Settings, home: Home, *_: object) -> None:
        home.leave()
        found.append(settings)

    monkeypatch.setattr(cli, "_run", run)
    monkeypatch.setattr(cli, "setup_logging", lambda *_: None)
    return found


def run(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    """Run ``serve`` up to the point where the server would be started."""
    command = ["serve", "--data-dir", str(tmp_path / "data"), *arguments]
    done = CliRunner().invoke(cli.app, command, env={"THE_KEY": KEY})
    return done.exit_code, done.output


def test_without_flags_the_settings_have_their_defaults(
    tmp_path: Path, started: list[Settings]
) -> None:
    assert run(tmp_path) == (0, "")
    (settings,) = started
    assert settings.api_key is not None
    plain = Settings(data_dir=tmp_path / "data", api_key=settings.api_key)
    assert settings == plain


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "x", "--download"], {"model": "x", "download": True}),
        (["--allow-host", "A.example", "--allow-host", "b"], {"allow_hosts": ("a.example", "b")}),
        (["--allow-origin", "https://a.example"], {"allow_origins": ("https://a.example",)}),
        (["--device", "cpu", "--dtype", "bfloat16"], {"device": "cpu", "dtype": "bfloat16"}),
        (["--gradient-checkpointing"], {"gradient_checkpointing": True}),
        (["--batch-tokens", "7", "--batch-rows", "8"], {"batch_tokens": 7, "batch_rows": 8}),
        (["--max-rank", "9", "--max-live-models", "2"], {"max_rank": 9, "max_live_models": 2}),
        (["--max-request-tokens", "99"], {"max_request_tokens": 99}),
        (["--durability", "checkpoint"], {"durability": "checkpoint"}),
        (["--idle-stop", "1.5", "--session-timeout", "9"], {"idle_stop": 1.5}),
        (["--log-format", "json", "--log-level", "info"], {"log_format": "json"}),
        (["--host", "0.0.0.0", "--allow-remote"], {"listen_host": "0.0.0.0"}),
        (["--no-auth"], {"api_key": None}),
    ],
)
def test_flags_become_settings(
    tmp_path: Path, started: list[Settings], arguments: list[str], expected: dict[str, Any]
) -> None:
    code, output = run(tmp_path, *arguments)
    assert code == 0, output
    (settings,) = started
    assert {name: getattr(settings, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "add --allow-remote"),
        (["--host", "192.168.1.5", "--api-key-env", "THE_KEY"], "add --allow-remote"),
        (["--host", "0.0.0.0", "--allow-remote", "--no-auth"], "loopback addresses only"),
        (["--no-auth", "--api-key-env", "THE_KEY"], "exclude each other"),
        (["--allow-host", "a.example:80"], "--allow-host: a name or an address without port"),
        (["--allow-origin", "a.example"], "--allow-origin: an origin such as https://"),
        (["--idle-stop", "0"], "--idle-stop: Input should be greater than 0"),
        (["--max-live-models", "0"], "--max-live-models: Input should be greater"),
    ],
)
def test_refused_in_one_sentence(
    tmp_path: Path, started: list[Settings], arguments: list[str], words: str
) -> None:
    code, output = run(tmp_path, *arguments)
    assert code == 2
    assert words in output
    assert len(output.strip().splitlines()) == 1
    assert not started


# Models from the hub -----------------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bool]:
    """A hub that has one model, which a download puts into the cache; and what was asked of it."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    asked: list[bool] = []
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    def snapshot(name: str, *, local_only: bool) -> Path:
        asked.append(local_only)
        if name != "org/model":
            raise OSError("no such model")
        if local_only and False not in asked:
            raise LocalEntryNotFoundError("not cached")
        return MODEL_DIR

    monkeypatch.setattr(finding, "_snapshot", snapshot)
    return asked


def test_what_is_here_is_never_asked_of_the_hub(hub: list[bool]) -> None:
    assert find_model(TINY_CHAT) == find_model(str(MODEL_DIR)) == MODEL_DIR.resolve()
    assert hub == []


def test_the_hub_is_asked_only_when_told_so(hub: list[bool]) -> None:
    with pytest.raises(ConfigurationError, match="add --download"):
        find_model("org/model")
    assert hub == [True]
    assert find_model("org/model", download=True) == MODEL_DIR.resolve()
    assert hub == [True, True, False]
    # From now on it is in the cache.
    assert find_model("org/model", download=True) == find_model("org/model")
    assert hub[3:] == [True, True]


def test_a_name_no_hub_model_can_have() -> None:
    for name in ("/nowhere/at/all", "a/b/c/d"):
        with pytest.raises(ConfigurationError, match="no hub model can have"):
            find_model(name, download=True)


def test_offline_unless_told(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    code = (
        "import os, sys\n"
        "from tinker_nb.server import cli\n"
        "def opened(*_):\n"
        "    import huggingface_hub.constants as hub\n"
        "    sys.exit(int(hub.HF_HUB_OFFLINE))\n"
        "cli._open = opened\n"
        f"cli.app(['serve', '--data-dir', {str(tmp_path / 'data')!r}, '--model', {str(model)!r}]"
        " + sys.argv[1:])\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_OFFLINE")}
    for flags, offline in (([], 1), (["--download"], 0)):
        command = [sys.executable, "-c", code, *flags]
        assert subprocess.run(command, env=clean, check=False, timeout=60).returncode == offline


# Stopping ----------------------------------------------------------------------------------------

STUCK = """
import threading
from tinker_nb.server.engine import workshop
workshop.Workshop.train = lambda *_: threading.Event().wait()
"""


@contextmanager
def server(
    tmp_path: Path, llama_dir: Path, before: str = ""
) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """A process of its own that serves, and a client of it."""
    code = before + "\nfrom tinker_nb.server.cli import app; app()"
    with subprocess.Popen(
        [
            *(sys.executable, "-c", code, "serve", "--model", str(llama_dir)),
            *("--data-dir", str(tmp_path / "data"), "--api-key-env", "THE_KEY"),
        ],
        text=True,
        env={**os.environ, "THE_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[4]
            with httpx.Client(base_url=url, headers={"X-API-Key": KEY}, timeout=60) as http:
                yield process, http
        finally:
            process.kill()


def await_open(http: httpx.Client, count: int) -> None:
    """Wait until so many requests are being answered."""
    while f"tinker_nb_http_open_requests {count}.0" not in http.get("/metrics").text:
        pass


def await_closed(http: httpx.Client) -> None:
    """Wait until nobody can connect any more."""
    address = (http.base_url.host, http.base_url.port or 0)
    while True:
        try:
            socket.create_connection(address).close()
        except ConnectionError:
            return


def poll(http: httpx.Client, request_id: str) -> tuple[threading.Thread, list[int]]:
    """Wait for a result on a thread, and give the status it will have ended with."""
    answers: list[int] = []

    def ask() -> None:
        body = {"request_id": request_id}
        answers.append(http.post("/api/v1/retrieve_future", json=body).status_code)

    poller = threading.Thread(target=ask)
    poller.start()
    await_open(http, 1)
    return poller, answers


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_in_good_order(
    tmp_path: Path, llama_dir: Path, number: signal.Signals
) -> None:
    with server(tmp_path, llama_dir) as (process, http):
        call = json_call(new_model(http, rank=2), 1, *[json_datum(list(range(1, 90)))] * 5000)
        job = http.post("/api/v1/forward_backward", json=call).json()["request_id"]
        poller, answers = poll(http, job)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
        poller.join(10)
    assert (process.returncode, errors, answers) == (0, "", [408])


@pytest.mark.slow
def test_it_does_not_wait_for_a_computation_without_end(tmp_path: Path, llama_dir: Path) -> None:
    with server(tmp_path, llama_dir, before=STUCK) as (process, http):
        job = http.post("/api/v1/add_lora_async", json={"rank": 2}).json()["request_id"]
        poller, answers = poll(http, job)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
        poller.join(10)
    assert (process.returncode, errors, answers) == (0, "", [408])


@pytest.mark.slow
def test_a_second_interrupt_stops_it_at_once(tmp_path: Path, llama_dir: Path) -> None:
    head = (
        "POST /api/v1/create_session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
        f"Content-Type: application/json\r\nX-API-Key: {KEY}\r\n\r\n"
    )
    with server(tmp_path, llama_dir) as (process, http):
        address = (http.base_url.host, http.base_url.port or 0)
        with socket.create_connection(address) as line:
            # A body that never comes would be waited for, for the time of grace.
            line.sendall(head.encode())
            await_open(http, 1)
            process.send_signal(signal.SIGINT)
            await_closed(http)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=2)
    assert process.returncode == 128 + signal.SIGINT
