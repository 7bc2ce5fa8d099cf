"""Both forms of every REST operation: the same data, the same errors, and nothing left behind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.protocol_stub import Meeting, Stub, protocol_stub
from tests.client.rest_table import OPERATIONS, Operation, title
from tests.client.stub_files import file_router
from tests.client.stub_rest import REST, RUN, seed
from tinker_nb.client.loops import loop_thread
from tinker_nb.client.rest.admin import AdminClient
from tinker_nb.client.rest.client import RestClient
from tinker_nb.client.server import Server
from tinker_nb.errors import (
    APIStatusError,
    BillingError,
    ConfigurationError,
    NotFoundError,
    UnprocessableEntityError,
)

SENDING = [each for each in OPERATIONS if each.sends]
EVERY = pytest.mark.parametrize("operation", OPERATIONS, ids=title)
EVERY_SENDING = pytest.mark.parametrize("operation", SENDING, ids=title)
AT_ONCE = 10


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with protocol_stub(*REST, file_router) as stub:
        yield stub


@pytest.fixture
def stub(running: Stub) -> Iterator[Stub]:
    fill(running)
    yield running
    running.refusal = running.meeting = None
    running.wait_for(lambda: running.connections == 0)


def fill(stub: Stub) -> None:
    """Let a stub be as if nothing had been done to it."""
    seed(stub)
    for step in range(AT_ONCE):
        known = stub.checkpoints[RUN][f"weights/step-{step}"]
        stub.checkpoints[RUN][f"weights/public-{step}"] = {**known, "public": True}
    stub.files = {"adapter_config.json": b"{}", "deep/adapter_model.safetensors": b"weights" * 99}
    stub.most_inside = 0
    stub.seen.clear()


def told(result: Any, folder: Path) -> Any:
    """Return a result without the folder it happens to name."""
    if not isinstance(result, list):
        return result
    paths = [path.relative_to(folder).parts[1:] for path in result]
    return [(parts, path.read_bytes()) for parts, path in zip(paths, result, strict=True)]


# The two forms -----------------------------------------------------------------------------------


def test_no_operation_is_forgotten() -> None:
    tested = {(each.owner, each.name) for each in OPERATIONS}
    there = {
        (owner, name.removesuffix("_async"))
        for owner in (RestClient, AdminClient)
        for name in dir(owner)
        if name.endswith("_async") and not name.startswith("_") and name != "close_async"
    }
    assert tested == there


@EVERY
def test_the_twins_are_alike(operation: Operation) -> None:
    blocking = getattr(operation.owner, operation.name)
    twin = getattr(operation.owner, f"{operation.name}_async")
    one, two = inspect.signature(blocking), inspect.signature(twin)
    assert list(one.parameters.values()) == list(two.parameters.values())
    assert one.return_annotation == f"TinkerFuture[{two.return_annotation}]"
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(blocking)
    assert blocking.__doc__ == twin.__doc__
    assert f"{operation.name}(" in blocking.__doc__
    assert f"{operation.name}_async(" in blocking.__doc__


@EVERY
async def test_both_forms_give_the_same(operation: Operation, stub: Stub, tmp_path: Path) -> None:
    async with operation.client(stub) as client:
        one = await asyncio.to_thread(operation.blocking, client, 0, tmp_path / "one")
        blocking_sent = [(each.method, each.path, each.query, each.body) for each in stub.seen]
        fill(stub)
        two = await operation.awaited(client, 0, tmp_path / "two")
        awaited_sent = [(each.method, each.path, each.query, each.body) for each in stub.seen]
    assert told(one, tmp_path / "one") == told(two, tmp_path / "two")
    assert blocking_sent == awaited_sent
    assert bool(blocking_sent) is operation.sends


@EVERY_SENDING
async def test_ten_at_once_overlap(operation: Operation, stub: Stub, tmp_path: Path) -> None:
    stub.meeting = Meeting(AT_ONCE)
    async with operation.client(stub) as client:
        calls = [operation.awaited(client, index, tmp_path) for index in range(AT_ONCE)]
        results = await asyncio.gather(*calls)
    assert len(results) == AT_ONCE
    assert stub.most_inside == AT_ONCE


# What goes wrong ---------------------------------------------------------------------------------


@EVERY_SENDING
@pytest.mark.parametrize(
    ("status", "kind"),
    [(402, BillingError), (404, NotFoundError), (422, UnprocessableEntityError)],
    ids=["402", "404", "422"],
)
async def test_an_error_is_the_same_in_both_forms(
    operation: Operation, status: int, kind: type[APIStatusError], stub: Stub, tmp_path: Path
) -> None:
    stub.refusal = status, {"detail": "that will not do"}
    on_thread = await tasks_of_the_thread()
    async with operation.client(stub) as client:
        mine = asyncio.all_tasks()
        with pytest.raises(kind, match="that will not do") as awaited:
            await operation.awaited(client, 0, tmp_path)
        assert asyncio.all_tasks() == mine
        made = stub.connections_made
        with pytest.raises(kind) as again:
            await operation.awaited(client, 0, tmp_path)
        assert stub.connections_made == made  # the connection was given back, and is used again
        with pytest.raises(kind) as waited:
            await asyncio.to_thread(operation.blocking, client, 0, tmp_path)
    for each in (again, waited):
        assert type(each.value) is type(awaited.value)
        assert str(each.value) == str(awaited.value)
        assert each.value.status_code == status
    await ended(await tasks_of_the_thread() - on_thread)
    stub.wait_for(lambda: stub.connections == 0)


async def tasks_of_the_thread() -> set[asyncio.Task[Any]]:
    """Return what runs on the library's own loop."""

    async def look() -> set[asyncio.Task[Any]]:
        return asyncio.all_tasks() - {asyncio.current_task()}

    return await asyncio.wrap_future(loop_thread().submit(look()))


async def ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until tasks of the library's loop have ended; a future is settled just before."""

    async def wait() -> None:
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=20)
            assert not left

    await asyncio.wrap_future(loop_thread().submit(wait()))


@EVERY_SENDING
async def test_a_cancelled_wait_leaves_the_client_usable(
    operation: Operation, stub: Stub, tmp_path: Path
) -> None:
    stub.meeting = Meeting(2)
    async with operation.client(stub) as client:
        call = asyncio.create_task(operation.awaited(client, 0, tmp_path))
        await asyncio.to_thread(stub.wait_for, lambda: stub.inside == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        # The second to come: with it both are let through, and it is answered.
        await operation.awaited(client, 1, tmp_path)
    stub.wait_for(lambda: stub.inside == 0)
    assert stub.most_inside == 2


# Whose connections -------------------------------------------------------------------------------


async def test_a_client_on_a_server_leaves_it_open(stub: Stub) -> None:
    async with RestClient(base_url=stub.url) as owner:
        server: Server = owner._server
        async with RestClient.on(server) as guest:
            assert (await guest.get_training_run_async(RUN)).lora_rank == 8
        assert (await owner.list_sessions_async()).sessions


def test_a_closed_client_says_so(stub: Stub) -> None:
    with RestClient(base_url=stub.url) as client:
        assert client.list_sessions().result(20).sessions
    with pytest.raises(ConfigurationError, match="client is closed"):
        client.list_sessions().result(20)


def test_nothing_is_sent_before_the_first_call(stub: Stub) -> None:
    before = stub.connections_made
    with RestClient(base_url=stub.url) as client:
        assert client.get_telemetry() is None
        assert stub.url in repr(client)
    assert stub.connections_made == before
