"""What goes over the wire, and what can be called, compared with the official SDK itself."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tinker

from tests.client.protocol_stub import Seen, Stub, protocol_stub
from tests.client.rest_table import OPERATIONS, SEARCH, Operation, title
from tests.client.stub_rest import REST, RUN, add_checkpoint, seed
from tinker_nb.client.rest.admin import AdminClient
from tinker_nb.client.rest.client import RestClient

KEY = "tml-test"
TOKEN = "x-tinker-weights-access-token"
OFFICIAL = [each for each in OPERATIONS if each.is_official and each.sends]
PAIRS = [(tinker.RestClient, RestClient), (tinker.AdminClient, AdminClient)]
pytestmark = [
    # What the official SDK calls deprecated or experimental is what is compared with here.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*experimental"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with pytest.MonkeyPatch.context() as patch, protocol_stub(*REST) as stub:
        patch.setenv("TINKER_TELEMETRY", "0")
        yield stub
    gc.collect()  # the SDK leaves sockets to the collector; let that happen here, not elsewhere


@pytest.fixture
def stub(running: Stub) -> Stub:
    seed(running)
    running.checkpoints[RUN]["weights/public-0"] = {
        **running.checkpoints[RUN]["weights/step-0"],
        "public": True,
    }
    running.seen.clear()
    return running


def theirs(operation: Operation, stub: Stub) -> Any:
    """Let the official SDK do it."""
    official = getattr(tinker, operation.owner.__name__)(base_url=stub.url, api_key=KEY)
    args, more = operation.arguments(0, Path())
    if args == (SEARCH,):
        args = (tinker.types.SessionSearchRequest.model_validate(SEARCH.model_dump(mode="json")),)
    return getattr(official, operation.name)(*args, **more).result(timeout=30)


def on_the_wire(seen: Seen) -> tuple[Any, ...]:
    kind = seen.headers.get("content-type")
    secrets = (seen.headers["x-api-key"], seen.headers.get(TOKEN))
    has_idempotency_key = "x-idempotency-key" in seen.headers
    return seen.method, seen.path, seen.query, seen.body, kind, secrets, has_idempotency_key


def plain(result: Any) -> Any:
    """Return a result as plain data, without what one side leaves out."""
    return result.model_dump(mode="json", exclude_none=True) if result is not None else None


@pytest.mark.parametrize("operation", OFFICIAL, ids=title)
def test_the_wire_is_the_same(operation: Operation, stub: Stub) -> None:
    result = theirs(operation, stub)
    expected = [on_the_wire(each) for each in stub.seen]
    seed_again(stub)
    with operation.client(stub) as client:
        ours = operation.blocking(client, 0, Path())
    assert [on_the_wire(each) for each in stub.seen] == expected
    assert expected
    if isinstance(result, str) or result is None:
        assert ours == result
    else:
        assert set(plain(result)) <= set(plain(ours))
        assert type(ours).__name__ == type(result).__name__


def seed_again(stub: Stub) -> None:
    public = stub.checkpoints[RUN]["weights/public-0"]
    seed(stub)
    stub.checkpoints[RUN]["weights/public-0"] = {**public, "public": True}
    stub.seen.clear()


def test_search_takes_the_official_request(stub: Stub) -> None:
    wanted = tinker.types.SessionSearchRequest(display_name="nightly", limit=2)
    tinker.RestClient(base_url=stub.url, api_key=KEY).search_sessions(wanted).result(timeout=30)
    with RestClient(base_url=stub.url, api_key=KEY) as ours:
        ours.search_sessions(wanted).result(timeout=30)  # type: ignore[arg-type]
    one, two = stub.seen
    assert one.body == two.body


@pytest.mark.parametrize("name", ["spring, 2nd try", "50%", "ä", "a+b", "x?y#z", "q=1&r"])
def test_odd_names_reach_the_server_as_they_are(name: str, stub: Stub) -> None:
    known = add_checkpoint(stub, RUN, f"weights/{name}")
    with RestClient(base_url=stub.url, api_key=KEY) as ours:
        ours.set_checkpoint_ttl_from_tinker_path(known["tinker_path"], 3600).result(timeout=30)
        assert known["ttl_seconds"] == 3600
        ours.delete_checkpoint(RUN, f"weights/{name}").result(timeout=30)
    assert f"weights/{name}" not in stub.checkpoints[RUN]


# What can be called ------------------------------------------------------------------------------


def public_methods(owner: type) -> dict[str, Any]:
    return {name: value for name, value in vars(owner).items() if inspect.isfunction(value)}


@pytest.mark.parametrize(("official", "ours"), PAIRS, ids=["RestClient", "AdminClient"])
def test_every_official_method_is_here_with_the_same_arguments(official: type, ours: type) -> None:
    there = {name: m for name, m in public_methods(official).items() if name[0] != "_"}
    assert len(there) > 5
    for name, method in there.items():
        assert arguments(getattr(ours, name)) == arguments(method), name
        if name != "get_telemetry":
            twin = getattr(ours, f"{name.removesuffix('_async')}_async")
            assert arguments(twin) == arguments(method), name


def arguments(method: Any) -> list[tuple[str, Any, Any]]:
    given = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default) for each in given]
