"""Tokenizers by name: from the hub (a stand-in on this machine), from its cache, from a folder."""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import tinker_nb
from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.errors import ConfigurationError, UnknownNameError

TINY_CHAT = Path(tinker_nb.__file__).parent / "server" / "tiny_chat"
ROOT = Path(tinker_nb.__file__).parent.parent
COMMIT = "0123456789abcdef0123456789abcdef01234567"

# Prints one line for each name: what came of it.
SCRIPT = """
import sys
from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.errors import TinkerError
for name in sys.argv[1:]:
    try:
        tokenizer = ChatTokenizer.from_pretrained(name)
    except TinkerError as error:
        print(type(error).__name__, error)
    else:
        print("tokens", tokenizer.prompt("ab"), tokenizer)
assert "transformers" not in sys.modules and "torch" not in sys.modules
"""


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as one model with a tokenizer needs."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, *, with_body: bool) -> None:
        status, headers, body = self._found()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _found(self) -> tuple[int, dict[str, str], bytes]:
        if self.path.startswith(("/api/models/org/tiny", "/api/models/org/gated")):
            model = {"id": self.path.removeprefix("/api/models/"), "sha": COMMIT}
            return 200, {"Content-Type": "application/json"}, json.dumps(model).encode()
        if self.path.startswith("/org/tiny/resolve/main/"):
            return self._file(self.path.rpartition("/")[2])
        if "secret" in self.path or "gated" in self.path:
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def _file(self, name: str) -> tuple[int, dict[str, str], bytes]:
        headers = {"ETag": f'"{name}"', "X-Repo-Commit": COMMIT}
        if name == "tokenizer_config.json":  # the special tokens' names are not needed to ask
            return 404, headers | {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, headers, (TINY_CHAT / name).read_bytes()


@pytest.fixture
def hub() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def lines_of(home: Path, names: list[str], endpoint: str, *, offline: bool = False) -> list[str]:
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    environment |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": str(+offline)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_from_the_hub_and_then_from_its_cache(hub: str, tmp_path: Path) -> None:
    tokens = ChatTokenizer.from_directory(TINY_CHAT).prompt("ab")
    expected = [f"tokens {tokens} ChatTokenizer('org/tiny', 261 tokens)"]
    assert lines_of(tmp_path, ["org/tiny"], hub) == expected
    nowhere = "http://127.0.0.1:9"
    assert lines_of(tmp_path, ["org/tiny"], nowhere) == expected
    assert lines_of(tmp_path, ["org/tiny"], nowhere, offline=True) == expected


def test_what_the_hub_does_not_give_is_told_apart(hub: str, tmp_path: Path) -> None:
    names = ["org/none", "org/gated", "org/secret", "a/b/c"]
    unknown, gated, secret, no_name = lines_of(tmp_path, names, hub)
    assert unknown.startswith("UnknownNameError There is no model 'org/none'")
    assert gated.startswith("ConfigurationError The hub gives 'org/gated' only to those")
    assert secret.startswith("ConfigurationError The hub gives 'org/secret' only to those")
    assert no_name.startswith("UnknownNameError There is no model 'a/b/c'")


def test_a_hub_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (line,) = lines_of(tmp_path, ["org/tiny"], address)
    assert line.startswith("ConfigurationError The tokenizer of 'org/tiny' is not on this machine")
    assert "directory that holds tokenizer.json" in line
    assert time.monotonic() - began < 60


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a model's files in an otherwise empty cache."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = tmp_path / "models--org--tiny"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    files = model / "snapshots" / COMMIT
    files.mkdir(parents=True)
    return files


def _copy(files: Path, *names: str) -> None:
    for name in names:
        (files / name).write_bytes((TINY_CHAT / name).read_bytes())


def test_offline_a_model_without_a_template_file_is_whole(cache: Path) -> None:
    _copy(cache, "tokenizer.json", "tokenizer_config.json")
    tokenizer = ChatTokenizer.from_pretrained("org/tiny")
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.chat_template is None


@pytest.mark.parametrize("names", [(), ("tokenizer.json",), ("tokenizer_config.json",)])
def test_offline_a_lacking_file_is_an_error_at_once(cache: Path, names: tuple[str, ...]) -> None:
    _copy(cache, *names)
    with pytest.raises(
        ConfigurationError, match=r"'org/tiny' is not on this machine.*(?i:offline)"
    ):
        ChatTokenizer.from_pretrained("org/tiny")


def test_a_file_the_model_is_known_to_lack_is_not_missed(cache: Path) -> None:
    _copy(cache, "tokenizer.json")
    none = cache.parent.parent / ".no_exist" / COMMIT
    none.mkdir(parents=True)
    (none / "tokenizer_config.json").touch()
    assert ChatTokenizer.from_pretrained("org/tiny").eos_token is None


def test_a_directory_comes_first() -> None:
    expected = ChatTokenizer.from_directory(TINY_CHAT).prompt("ab")
    assert ChatTokenizer.from_pretrained(TINY_CHAT).prompt("ab") == expected
    assert ChatTokenizer.from_pretrained(str(TINY_CHAT)).prompt("ab") == expected


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises((UnknownNameError, ConfigurationError), match="no/such/name"):
        ChatTokenizer.from_pretrained("no/such/name")
