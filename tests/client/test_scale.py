"""Many futures at once, futures of other processes, cancelling, and heartbeats."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.client.scripted import Say, ScriptedServer, Seen, scripted_server
from tinker_nb import (
    Datum,
    EmbeddedServer,
    FutureSnapshot,
    FutureState,
    ModelInput,
    SamplingParams,
    ServiceClient,
    TinkerFuture,
)
from tinker_nb.client import session
from tinker_nb.client.cancelling import Cancellation
from tinker_nb.client.gathering import as_completed, as_completed_async, gather, gather_async
from tinker_nb.client.references import FutureReference
from tinker_nb.client.service import rebuild_future
from tinker_nb.errors import (
    FutureCancelledError,
    FutureTimeoutError,
    InvalidInputError,
    RequestFailedError,
)

PROMPT = ModelInput.from_ints([1, 2, 3])
PARAMS = SamplingParams(max_tokens=1)
WAIT = 60


class Sampler:
    """A script for a server that draws: results come when a test says so."""

    def __init__(self, config: dict[str, Any] | None = None, *, cancels: bool = False) -> None:
        self.wishes = config or {}
        self.cancels = cancels
        self.lock = threading.Condition()
        self.taken: list[str] = []
        self.ended: list[str] = []
        self.holds = True
        self.polls = self.most_polls = 0

    def __call__(self, seen: Seen) -> Say | None:
        name = seen.path.rpartition("/")[2]
        answer = getattr(self, name, None)
        return answer(seen.body) if answer is not None else None

    def dynamic_config(self, _: Any) -> Say:
        return Say(200, {"sample_cancel_enabled": self.cancels})

    def create_sampling_session(self, _: Any) -> Say:
        return Say(200, {"sampling_session_id": "SS"})

    def asample(self, body: Any) -> Say:
        with self.lock:
            request_id = f"s-{body['seq_id']}"
            self.taken.append(request_id)
            if not self.holds:
                self._end(request_id)
            self.lock.notify_all()
        return Say(200, {"request_id": request_id, "sample_sequence_ids": [request_id]})

    def retrieve_future(self, body: Any) -> Say | None:
        request_id = body["request_id"]
        if not request_id.startswith("s-"):
            return None
        with self.lock:
            self.polls += 1
            self.most_polls = max(self.most_polls, self.polls)
            there = self.lock.wait_for(lambda: request_id in self.ended, timeout=5)
            self.polls -= 1
        if not there:
            return Say(408, {"type": "try_again"})
        if request_id == "s-bad":
            return Say(200, {"error": "no", "category": "user"})
        token = int(request_id.removeprefix("s-"))
        sequence = {"stop_reason": "stop", "tokens": [token], "logprobs": [-1.0]}
        return Say(200, {"type": "sample", "sequences": [sequence]})

    def retrieve_futures(self, body: Any) -> Say:
        with self.lock:
            self.lock.wait_for(lambda: len(self.ended) > body["prev_cursor"], timeout=5)
            new = self.ended[body["prev_cursor"] :]
            completions = [{"state": "finished", "request_id": each} for each in new]
            return Say(200, {"completions": completions, "cursor": len(self.ended)})

    def end(self, *request_ids: str) -> None:
        with self.lock:
            for each in request_ids:
                self._end(each)

    def _end(self, request_id: str) -> None:
        self.ended.append(request_id)
        self.lock.notify_all()

    def wait_for_taken(self, count: int) -> None:
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.taken) >= count, timeout=WAIT)


@contextmanager
def drawing(sampler: Sampler) -> Iterator[tuple[ScriptedServer, ServiceClient]]:
    def script(seen: Seen) -> Say | None:
        if seen.path.endswith("client/config"):
            return Say(200, sampler.wishes)
        return sampler(seen)

    with scripted_server(script) as server, ServiceClient(base_url=server.url) as service:
        yield server, service
        with sampler.lock:
            sampler.ended += sampler.taken  # let go of whoever still polls
            sampler.lock.notify_all()


async def accepted(future: TinkerFuture[Any]) -> None:
    """Wait until the server took a request."""
    event, loop = asyncio.Event(), asyncio.get_running_loop()

    def news(_: FutureSnapshot) -> None:
        loop.call_soon_threadsafe(event.set)

    future.subscribe(news)
    while future.request_id is None:
        await event.wait()
        event.clear()


def token(response: Any) -> int:
    return int(response.sequences[0].tokens[0])


# Batch polls


def test_many_futures_need_one_poll_where_the_server_offers_it() -> None:
    sampler = Sampler({"sample_use_retrieve_futures": True})
    with drawing(sampler) as (server, service):
        client = service.create_sampling_client(base_model="m")
        futures = [client.sample(PROMPT, 1, PARAMS) for _ in range(200)]
        sampler.wait_for_taken(200)
        assert server.count("/api/v1/retrieve_future") == 0
        sampler.end(*reversed(sampler.taken))
        assert [token(each) for each in gather(futures)] == list(range(200))
        assert server.count("/api/v1/retrieve_futures") < 20
        assert server.count("/api/v1/retrieve_future") == 200
        told = [s.body for s in server.seen if s.path.endswith("retrieve_futures")]
        assert all(body["target"]["sampling_session_id"] == "SS" for body in told)


def test_a_batch_poll_that_is_refused_fails_all_who_wait() -> None:
    sampler = Sampler({"sample_use_retrieve_futures": True})
    sampler.retrieve_futures = lambda _: Say(422, {"detail": "no"})  # type: ignore[assignment,method-assign]
    with drawing(sampler) as (_, service):
        client = service.create_sampling_client(base_model="m")
        futures = [client.sample(PROMPT, 1, PARAMS) for _ in range(3)]
        assert [type(each.exception(WAIT)).__name__ for each in futures] == [
            "UnprocessableEntityError"
        ] * 3


# Gathering


def test_gather_keeps_the_order_and_as_completed_the_moment() -> None:
    sampler = Sampler()
    with drawing(sampler) as (_, service):
        client = service.create_sampling_client(base_model="m")
        futures = [client.sample(PROMPT, 1, PARAMS) for _ in range(3)]
        sampler.wait_for_taken(3)
        seen = []
        sampler.end("s-2")
        for future in as_completed(futures):
            seen.append(token(future.result()))
            sampler.end({2: "s-0", 0: "s-1"}.get(seen[-1], "s-9"))
        assert seen == [2, 0, 1]
        assert [token(each) for each in gather(futures, progress="sampling")] == [0, 1, 2]


async def test_the_async_forms_do_the_same() -> None:
    sampler = Sampler()
    with scripted_server(lambda seen: sampler(seen)) as server:
        async with ServiceClient(base_url=server.url) as service:
            client = await service.create_sampling_client_async(base_model="m")
            tasks = [asyncio.ensure_future(client.sample_async(PROMPT, 1, PARAMS)) for _ in "ab"]
            futures = [client.sample(PROMPT, 1, PARAMS) for _ in range(2)]
            await asyncio.to_thread(sampler.wait_for_taken, 4)
            sampler.end(*sampler.taken)
            found = {token(await each) async for each in as_completed_async(futures)}
            assert found == {token(each) for each in await gather_async(futures)}
            assert len(found | {token(await each) for each in tasks}) == 4


def test_one_failure_does_not_kill_the_rest() -> None:
    good: TinkerFuture[int] = TinkerFuture("Sample")
    bad: TinkerFuture[int] = TinkerFuture("Sample")
    late: TinkerFuture[int] = TinkerFuture("Sample")
    bad._change(FutureState.FAILED, error=RequestFailedError("no"))
    good._change(FutureState.DONE, result=0)
    threading.Timer(0.05, lambda: late._change(FutureState.DONE, result=2)).start()
    mixed = gather([good, bad, late], return_exceptions=True)
    assert (mixed[0], type(mixed[1]), mixed[2]) == (0, RequestFailedError, 2)
    with pytest.raises(RequestFailedError, match="1 of 3 failed"):
        gather([good, bad, late])


# Cancelling


def test_cancel_says_that_nothing_was_sent() -> None:
    held = threading.Event()

    def script(seen: Seen) -> Say | None:
        if seen.path.endswith("create_model"):
            held.wait(WAIT)
        return None

    with scripted_server(script) as server, ServiceClient(base_url=server.url) as service:
        maker = threading.Thread(target=service.create_lora_training_client, args=("m",))
        maker.start()
        waiting: TinkerFuture[Any] = TinkerFuture("Sample")
        assert waiting.cancel() is Cancellation.REMOVED
        assert waiting.cancel() is Cancellation.OVER
        held.set()
        maker.join(WAIT)


@pytest.mark.parametrize(
    ("cancels", "expected"), [(True, Cancellation.STOPPED), (False, Cancellation.DROPPED)]
)
async def test_cancel_says_whether_the_server_was_told(
    cancels: bool, expected: Cancellation
) -> None:
    sampler = Sampler(cancels=cancels)
    told = threading.Event()

    def cancel_future(body: Any) -> Say:
        assert body == {"request_id": "s-0"}
        told.set()
        return Say(200, {})

    sampler.cancel_future = cancel_future  # type: ignore[attr-defined]
    with drawing(sampler) as (_, service):
        client = await service.create_sampling_client_async(base_model="m")
        future = client.sample(PROMPT, 1, PARAMS)
        await asyncio.to_thread(sampler.wait_for_taken, 1)
        await accepted(future)
        assert await future.cancel_async() is expected
        assert told.is_set() is cancels
        with pytest.raises(FutureCancelledError):
            future.result()
        other = client.sample(PROMPT, 1, PARAMS)
        sampler.end("s-1")
        assert token(await other) == 1


async def test_only_a_wait_that_says_so_cancels_the_work() -> None:
    sampler = Sampler()
    with drawing(sampler) as (_, service):
        client = await service.create_sampling_client_async(base_model="m")
        kept, given_up = (client.sample(PROMPT, 1, PARAMS) for _ in range(2))
        with pytest.raises(FutureTimeoutError):
            await kept.result_async(timeout=0.01)
        with pytest.raises(FutureTimeoutError):
            await given_up.result_async(timeout=0.01, cancel_work=True)
        assert (kept.cancelled(), given_up.cancelled()) == (False, True)
        waiter = asyncio.ensure_future(kept.result_async())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.to_thread(sampler.wait_for_taken, 2)
        sampler.end("s-0", "s-1")
        assert token(await kept) == 0


# Futures of other processes

COLLECT = """
import json, os, sys
from tinker_nb.client.references import FutureReference
from tinker_nb.client.service import ServiceClient
reference = FutureReference.from_dict(json.loads(sys.argv[1]))
with ServiceClient(base_url=reference.base_url) as service:
    print(json.dumps(service.collect(reference).result(60).metrics))
"""


def test_another_process_collects_the_result(
    embedded: EmbeddedServer, service: ServiceClient, data: list[Datum]
) -> None:
    training = service.create_lora_training_client("tiny-chat", rank=4, seed=0)
    future = training.forward_backward(data, "cross_entropy")
    expected = future.result(WAIT).metrics
    reference = future.reference
    assert reference is not None
    assert FutureReference.from_dict(json.loads(json.dumps(reference.to_dict()))) == reference
    done = subprocess.run(
        [sys.executable, "-c", COLLECT, json.dumps(reference.to_dict())],
        env={"TINKER_API_KEY": embedded.api_key.get_secret_value(), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == pytest.approx(expected)
    again = rebuild_future(
        embedded.base_url, reference.request_ids, reference.kind, api_key=embedded.api_key
    )
    assert again.result(WAIT).metrics == expected


def test_a_wrong_reference_is_refused_at_once() -> None:
    with pytest.raises(InvalidInputError, match="kind"):
        rebuild_future("http://127.0.0.1:9", "f-1", "Magic")
    with pytest.raises(InvalidInputError, match="request_id"):
        rebuild_future("http://127.0.0.1:9", "", "Sample")


# Heartbeats, and what is known of times


def test_heartbeats_go_on_while_user_code_blocks_its_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "HEARTBEAT_SECONDS", 0.05)
    beats = threading.Semaphore(0)

    def script(seen: Seen) -> Say | None:
        if seen.path.endswith("session_heartbeat"):
            beats.release()
        return None

    async def blocks(url: str) -> bool:
        async with ServiceClient(base_url=url) as service:
            await service.create_lora_training_client_async("m")
            # This blocks the running loop, as user code does.
            return all(beats.acquire(timeout=WAIT) for _ in range(5))

    with scripted_server(script) as server:
        assert asyncio.run(blocks(server.url))


def test_times_are_foreseen_from_the_third_call_of_a_kind() -> None:
    sampler = Sampler()
    sampler.holds = False
    with drawing(sampler) as (_, service):
        client = service.create_sampling_client(base_model="m")
        expected = []
        for _ in range(4):
            future = client.sample(PROMPT, 1, PARAMS)
            future.result(WAIT)
            expected.append(future.snapshot.expected)
        assert expected[:3] == [None] * 3
        assert expected[3] is not None
        low, high = expected[3]
        assert 0 <= low <= high < WAIT


def test_a_lost_sample_is_submitted_anew() -> None:
    sampler = Sampler()
    sampler.holds = False
    lost = iter([Say(410, {"detail": "gone"})])
    collect = sampler.retrieve_future

    def retrieve_future(body: Any) -> Say | None:
        is_mine = body["request_id"].startswith("s-")
        return next(lost, None) or collect(body) if is_mine else collect(body)

    sampler.retrieve_future = retrieve_future  # type: ignore[method-assign]
    with drawing(sampler) as (_, service):
        client = service.create_sampling_client(base_model="m")
        notes: list[str | None] = []
        future = client.sample(PROMPT, 1, PARAMS)
        future.subscribe(lambda shown: notes.append(shown.note))
        assert token(future.result(WAIT)) == 1
        assert sampler.taken == ["s-0", "s-1"]


def test_a_burst_is_held_back_after_too_many_requests() -> None:
    sampler = Sampler()
    sampler.holds = False
    refusals = iter([Say(429, {}, {"Retry-After": "0"})])
    take = sampler.asample
    sampler.asample = lambda body: next(refusals, None) or take(body)  # type: ignore[method-assign]
    with drawing(sampler) as (_, service):
        client = service.create_sampling_client(base_model="m")
        began = time.monotonic()
        found = gather([client.sample(PROMPT, 1, PARAMS) for _ in range(50)])
        assert sorted(token(each) for each in found) == list(range(50))
        assert time.monotonic() - began < WAIT
