"""Who may ask and in what form; how much one request may bring."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import example, given, strategies as st
from pydantic import SecretStr

from tests.server.conftest import KEY, Served, new_session, serving, settings_for
from tinker_nb.errors import InvalidInputError
from tinker_nb.server.config import Settings
from tinker_nb.server.guards.headers import (
    Check,
    content_check,
    encoding_check,
    host_check,
    host_name,
    key_check,
    origin_check,
)
from tinker_nb.server.guards.limits import Nesting, check_amount, check_metadata, check_words
from tinker_nb.wire.protobuf import CONTENT_TYPE

FB = "/api/v1/forward_backward"
SETTINGS = Settings(data_dir=Path("x"))


def status(check: Check, *headers: tuple[str, str], method: str = "POST", path: str = "/x") -> int:
    """Return the status a check refuses with, or 200."""
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    refused = check({"type": "http", "method": method, "path": path, "headers": pairs})
    return 200 if refused is None else refused.status


@pytest.mark.parametrize(
    ("host", "listen", "allowed", "expected"),
    [
        ("localhost", "127.0.0.1", [], 200),
        ("LOCALHOST:8000", "127.0.0.1", [], 200),
        ("localhost.:8000", "127.0.0.1", [], 200),
        ("127.0.0.1:1", "127.0.0.1", [], 200),
        ("127.8.8.8", "127.0.0.1", [], 200),
        ("[::1]:8000", "::1", [], 200),
        ("[::1]", "127.0.0.1", [], 200),
        ("evil.example", "127.0.0.1", [], 403),
        ("127.0.0.1.evil.example", "127.0.0.1", [], 403),
        ("localhost.evil.example:8000", "127.0.0.1", [], 403),
        ("evil.example@localhost", "127.0.0.1", [], 403),
        ("localhost:8000/x", "127.0.0.1", [], 403),
        ("localhost, evil.example", "127.0.0.1", [], 403),
        ("", "127.0.0.1", [], 403),
        ("192.168.1.5", "127.0.0.1", [], 403),
        ("hub.example:443", "127.0.0.1", ["hub.example"], 200),
        ("other.example", "127.0.0.1", ["hub.example"], 403),
        ("192.168.1.5:8000", "192.168.1.5", [], 200),
        ("192.168.1.5", "0.0.0.0", [], 200),
        ("[fe80::1]:8000", "::", [], 200),
        ("box.example", "0.0.0.0", [], 403),
        ("box.example", "box.example", [], 200),
        ("box.example", "0.0.0.0", ["box.example"], 200),
    ],
)
def test_host(host: str, listen: str, allowed: list[str], expected: int) -> None:
    assert status(host_check(listen, allowed), ("host", host)) == expected


def test_no_host_or_two() -> None:
    check = host_check("127.0.0.1", [])
    assert status(check) == 403
    assert status(check, ("host", "localhost"), ("host", "localhost")) == 403


@given(st.text(max_size=30))
@example("[::1]:80")
def test_a_host_name_has_no_port_and_no_brackets(header: str) -> None:
    name = host_name(header)
    assert name is None or not set(name) & set("[]/@?#\\ ")


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "expected"),
    [
        (None, "localhost:1", [], 200),
        ("http://localhost:1", "localhost:1", [], 200),
        ("HTTP://LOCALHOST:1", "localhost:1", [], 200),
        ("https://hub.example", "hub.example", [], 200),
        ("http://localhost:2", "localhost:1", [], 403),
        ("http://evil.example", "localhost:1", [], 403),
        ("null", "localhost:1", [], 403),
        ("", "localhost:1", [], 403),
        ("https://front.example", "localhost:1", ["https://front.example"], 200),
        ("http://front.example", "localhost:1", ["https://front.example"], 403),
    ],
)
def test_origin(origin: str | None, host: str, allowed: list[str], expected: int) -> None:
    given_origin = [] if origin is None else [("origin", origin)]
    assert status(origin_check(allowed), ("host", host), *given_origin) == expected


@pytest.mark.parametrize(
    ("kind", "path", "length", "expected"),
    [
        ("application/json", "/x", "2", 200),
        ("application/json", "/x", "0", 200),
        ("Application/JSON; charset=utf-8", "/x", "2", 200),
        ("application/vnd.api+json", "/x", "2", 200),
        (None, "/x", "0", 200),
        (None, "/x", None, 200),
        (None, "/x", "2", 415),
        ("text/plain", "/x", "2", 415),
        ("", "/x", "2", 415),
        ("application/x-www-form-urlencoded", "/x", "2", 415),
        ("application/jsonx", "/x", "2", 415),
        (CONTENT_TYPE, "/x", "2", 415),
        (CONTENT_TYPE, FB, "2", 200),
        (CONTENT_TYPE, "/api/v1/forward", "2", 200),
    ],
)
def test_content_type(kind: str | None, path: str, length: str | None, expected: int) -> None:
    pairs = [("content-type", kind), ("content-length", length)]
    headers = [(name, value) for name, value in pairs if value is not None]
    assert status(content_check, *headers, path=path) == expected
    assert status(content_check, *headers, path=path, method="GET") == 200


def test_a_chunked_body_needs_a_content_type() -> None:
    assert status(content_check, ("transfer-encoding", "chunked")) == 415


def test_two_content_types_are_none() -> None:
    json_type = ("content-type", "application/json")
    assert status(content_check, json_type, json_type) == 415


def test_encodings() -> None:
    assert status(encoding_check, ("content-encoding", "identity")) == 200
    assert status(encoding_check, ("content-encoding", "gzip")) == 400


def test_key_check() -> None:
    check = key_check(SecretStr("tml-a"))
    assert status(check, ("x-api-key", "tml-a")) == 200
    assert status(check, ("x-api-key", "tml-b")) == 401
    assert status(check) == 401
    assert status(check, path="/healthz") == 200
    assert status(check, path="/healthz/") == 401
    assert status(check, path="/api/v1/downloads/token/file") == 200
    assert status(check, path="/api/v1/downloads") == 401
    assert status(key_check(None)) == 200


# On the wire -------------------------------------------------------------------------------------


def refused(answer: httpx.Response, code: int) -> str:
    """Return the sentence of a refusal."""
    assert answer.status_code == code, answer.text
    assert list(answer.json()) == ["detail"]
    return str(answer.json()["detail"])


@pytest.mark.parametrize("path", ["/healthz", "/", "/api/v1/training_runs"])
def test_a_name_bent_to_this_machine(http: httpx.Client, path: str) -> None:
    answer = http.get(path, headers={"Host": "evil.example:80"})
    assert "--allow-host" in refused(answer, 403)


def test_a_page_of_another_site(http: httpx.Client) -> None:
    answer = http.post("/api/v1/create_session", json={}, headers={"Origin": "http://evil.example"})
    assert "--allow-origin" in refused(answer, 403)


def test_the_host_is_checked_before_the_key(served: Served) -> None:
    assert httpx.get(served.url, headers={"Host": "evil.example"}).status_code == 403


def test_a_form_is_told_the_right_header(http: httpx.Client) -> None:
    # What curl sends with -d and no -H.
    headers = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.post("/api/v1/create_session", content="{}", headers=headers)
    assert "Content-Type: application/json" in refused(answer, 415)
    answer = http.post(FB, content="{}", headers=headers)
    assert CONTENT_TYPE in refused(answer, 415)


def test_protobuf_elsewhere_is_415_before_it_is_validated(http: httpx.Client) -> None:
    answer = http.post(
        "/api/v1/optim_step", content=b"\x0a\xff", headers={"content-type": CONTENT_TYPE}
    )
    assert "application/json" in refused(answer, 415)


def test_empty_bodies_with_a_content_type(http: httpx.Client) -> None:
    headers = {"content-type": "application/json"}
    assert http.post("/api/v1/telemetry", headers=headers).status_code == 200
    answer = http.delete("/api/v1/training_runs/none/checkpoints/weights/x", headers=headers)
    assert answer.status_code in (404, 405)


@pytest.mark.parametrize("path", ["/api/v1/create_session", FB, "/api/v1/sample"])
@pytest.mark.parametrize("deep", ["[" * 100_000, '{"a":' * 900 + "1" + "}" * 900])
def test_deep_nesting(http: httpx.Client, path: str, deep: str) -> None:
    body = f'{{"tags": [], "user_metadata": {{"a": {deep}}}}}'
    answer = http.post(path, content=body, headers={"content-type": "application/json"})
    assert "64 levels" in refused(answer, 400)


def test_brackets_in_texts_do_not_nest(http: httpx.Client) -> None:
    body = {"tags": ["[" * 100 + '\\"' + "{" * 100], "user_metadata": {}}
    assert http.post("/api/v1/create_session", json=body).status_code == 200


def test_other_codings_of_json(http: httpx.Client) -> None:
    body = json.dumps({"tags": []}).encode("utf-16")
    headers = {"content-type": "application/json"}
    answer = http.post("/api/v1/create_session", content=body, headers=headers)
    assert "UTF-8" in refused(answer, 400)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory, llama_dir: Path) -> Iterator[Served]:
    """A server behind a proxy, with a front end of its own and small limits."""
    settings = settings_for(
        tmp_path_factory.mktemp("proxied"),
        model=str(llama_dir),
        allow_hosts=("Hub.Example",),
        allow_origins=("https://front.example",),
    )
    with serving(settings) as served:
        yield served


def test_allowed_names(proxied: Served) -> None:
    with proxied.client() as http:
        assert http.get("/", headers={"Host": "hub.example:443"}).status_code == 200
        same = {"Host": "hub.example", "Origin": "https://hub.example"}
        assert http.get("/", headers=same).status_code == 200


def test_an_allowed_front_end(proxied: Served) -> None:
    front = {"Origin": "https://front.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
    may = httpx.options(proxied.url + "/api/v1/create_session", headers={**front, **asked})
    assert may.status_code == 200
    assert may.headers["access-control-allow-origin"] == "https://front.example"
    assert "x-api-key" in may.headers["access-control-allow-headers"].lower()
    with proxied.client() as http:
        told = http.post("/api/v1/create_session", json={"tags": []}, headers=front)
        assert told.status_code == 200
        assert told.headers["access-control-allow-origin"] == "https://front.example"
    assert httpx.get(proxied.url + "/", headers=front).status_code == 401


def test_a_body_that_is_refused_is_not_waited_for(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    head = (
        "POST /api/v1/create_session HTTP/1.1\r\nHost: evil.example\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=10) as line:
        line.sendall(head.encode())
        assert line.recv(100).startswith(b"HTTP/1.1 403")


# How much ----------------------------------------------------------------------------------------

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\[]{}é', max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"[\\'), inner, max_size=3),
)


def depth(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    inner = value if isinstance(value, list) else list(value.values())
    return 1 + max(map(depth, inner), default=0)


@given(_json, st.booleans(), st.lists(st.integers(0, 60), max_size=5))
def test_nesting_is_the_parsers(value: Any, ascii_only: bool, cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    nesting, places = Nesting(), sorted({0, *cuts, len(text)})
    pieces = [text[a:b] for a, b in pairwise(places)]
    assert max((nesting.feed(piece) for piece in pieces), default=0) == depth(value)
    assert nesting.feed(b"") == 0


def test_amounts() -> None:
    settings = SETTINGS.model_copy(update={"max_request_data": 3, "max_request_tokens": 10})
    check_amount(3, 10, settings)
    with pytest.raises(InvalidInputError, match="4 datums; this server takes 3"):
        check_amount(4, 10, settings)
    with pytest.raises(InvalidInputError, match="11 tokens; this server takes 10"):
        check_amount(3, 11, settings)


def test_metadata() -> None:
    check_metadata("user_metadata", {"a": ["é", 1, None]}, SETTINGS)
    with pytest.raises(InvalidInputError, match="65537 bytes"):
        check_metadata("user_metadata", "x" * 65535, SETTINGS)
    for wrong in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(InvalidInputError, match="not finite, or text that is not Unicode"):
            check_metadata("user_metadata", {"a": wrong}, SETTINGS)


def test_words() -> None:
    check_words("display_name", None, "", "ä name 👩\u200d💻", "x" * 256)
    for wrong in ("x" * 257, "a\nb", "\ud800", "\x00"):
        with pytest.raises(InvalidInputError, match="A tag"):
            check_words("A tag", "fine", wrong)


def test_a_key_never_leaves(proxied: Served) -> None:
    with proxied.client() as http:
        new_session(http)
        for answer in (http.get("/"), http.get("/nothing"), http.get("/openapi.json")):
            assert KEY not in answer.text
