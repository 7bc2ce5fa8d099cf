"""``python -m benchmarks.stub_server``: the protocol without a model, answering as fast as it can.

It prints one line of JSON with its port and ends when its standard input does, so it never
outlives the process that started it. ``GET /stub`` tells its own CPU time and how many requests it
had.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import math
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.client_parts.answers import SampleAnswers, trained
from benchmarks.client_parts.http1 import Connection, Incoming, answer

API = "/api/v1/"
_ID = re.compile(rb'"request_id": ?"([^"]+)"')
_NUM_SAMPLES = re.compile(rb'"num_samples": ?(\d+)')
_MODEL_SEQ = re.compile(rb'"model_seq_id": ?(\d+)')
_BACKLOG = 4096
_GOLDEN = 0.6180339887498949  # its multiples fall evenly into an interval, whatever their number

Handler = Callable[[Incoming], bytes]


@dataclass(frozen=True)
class Delays:
    """How long things take.

    Parameters
    ----------
    sample
        Seconds from accepting a sample to its end.
    spread
        How far apart the ends of samples lie: from ``sample - spread / 2`` to
        ``sample + spread / 2``, evenly and the same in each run.
    tick
        Where not 0, samples end only at multiples of so many seconds: all of them at once.
    training
        Seconds for each forward, forward_backward and optim_step.
    hold
        Seconds a poll is held at most.
    """

    sample: float = 0.5
    spread: float = 0.0
    tick: float = 0.0
    training: float = 0.0
    hold: float = 25.0

    def of_sample(self, number: int, now: float) -> float:
        """Return the seconds that a sample accepted now takes."""
        place = number * _GOLDEN % 1.0 - 0.5
        delay = self.sample + place * self.spread
        if not self.tick:
            return delay
        return math.ceil((now + delay) / self.tick) * self.tick - now


@dataclass
class Future:
    """One request on its way: how its result is made, and who waits for it."""

    result: Callable[[int], bytes]
    done_at: int = 0
    waiting: list[Connection] = field(default_factory=list)


def text(**body: object) -> bytes:
    """Return a good JSON answer."""
    return answer(200, json.dumps(body).encode())


class Stub:
    """The server's state and its routes.

    Parameters
    ----------
    delays
        How long things take.
    tokens
        How long each drawn sequence is.
    """

    def __init__(self, delays: Delays, tokens: int = 64) -> None:
        self._delays, self._samples = delays, SampleAnswers(tokens)
        self._futures: dict[bytes, Future] = {}
        self._numbers = itertools.count()
        self._sampled = itertools.count()
        self._held: list[tuple[float, Future, Connection]] = []
        self.requests = 0
        self._routes: dict[bytes, Handler] = {
            (API + path).encode(): handler for path, handler in self._table().items()
        }

    def _table(self) -> dict[str, Handler]:
        empty, fixed = text(), _fixed
        info = {"model_name": "m", "arch": "stub", "tokenizer_id": "stub"}
        return {
            "client/config": fixed(empty),
            "client/dynamic_config": fixed(empty),
            "create_session": fixed(text(session_id="session", type="create_session")),
            "session_heartbeat": fixed(text(type="session_heartbeat")),
            "telemetry": fixed(text(status="accepted")),
            "sessions/session/finish": fixed(empty),
            "healthz": fixed(text(status="ok")),
            "create_model": self._create_model,
            "get_info": fixed(text(model_id="session:train:0", model_data=info, is_lora=True)),
            "create_sampling_session": fixed(text(sampling_session_id="session:sample:0")),
            "samplers/session:sample:0": fixed(
                text(sampler_id="session:sample:0", base_model="m", model_path=None)
            ),
            "asample": self._sample,
            "forward_backward": self._train,
            "optim_step": self._step,
        }

    # Answering

    def handle(self, connection: Connection, request: Incoming) -> bytes | None:
        """Answer a request, or None to answer later."""
        self.requests += 1
        if request.path == b"/api/v1/retrieve_future":
            return self._retrieve(connection, request.body)
        handler = self._routes.get(request.path)
        if handler is not None:
            return handler(request)
        if request.path == b"/stub":
            return self._told()
        return answer(404, b'{"detail":"Not Found"}')

    def _told(self) -> bytes:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return text(cpu=used.ru_utime + used.ru_stime, requests=self.requests)

    def _create_model(self, request: Incoming) -> bytes:
        found = _MODEL_SEQ.search(request.body)
        model_id = f"session:train:{int(found[1]) if found else 0}"
        result = text(model_id=model_id, type="create_model")
        return self._accepted(self._new(lambda _: result, 0.0))

    def _sample(self, request: Incoming) -> bytes:
        found = _NUM_SAMPLES.search(request.body)
        count = int(found[1]) if found else 1
        delay = self._delays.of_sample(next(self._sampled), time.monotonic())
        name = self._new(lambda done_at: self._samples.whole(count, done_at), delay)
        ids = b",".join(b'"%b-%d"' % (name, number) for number in range(count))
        return answer(200, b'{"request_id":"%b","sample_sequence_ids":[%b]}' % (name, ids))

    def _train(self, request: Incoming) -> bytes:
        result = trained(request.body)
        return self._accepted(self._new(lambda _: result, self._delays.training))

    def _step(self, _: Incoming) -> bytes:
        return self._accepted(self._new(_stepped, self._delays.training))

    def _accepted(self, name: bytes) -> bytes:
        return answer(200, b'{"request_id":"%b"}' % name)

    # Futures

    def _new(self, result: Callable[[int], bytes], delay: float) -> bytes:
        name = b"request-%d" % next(self._numbers)
        self._futures[name] = future = Future(result)
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._end, future)
        else:
            self._end(future)
        return name

    def _end(self, future: Future) -> None:
        future.done_at = time.monotonic_ns()
        waiting, future.waiting = future.waiting, []
        for connection in waiting:
            connection.reply(future.result(future.done_at))

    def _retrieve(self, connection: Connection, body: bytes) -> bytes | None:
        found = _ID.search(body)
        future = self._futures.get(found[1]) if found else None
        if future is None:
            return answer(404, b'{"detail":"Unknown request."}')
        if future.done_at:
            return future.result(future.done_at)
        future.waiting.append(connection)
        self._held.append((time.monotonic() + self._delays.hold, future, connection))
        return None

    async def release_held(self) -> None:
        """Answer "not yet" to polls held for long enough, for ever; one timer serves them all."""
        while True:
            await asyncio.sleep(1)
            now, held = time.monotonic(), self._held
            self._held = [each for each in held if each[0] > now and not each[1].done_at]
            for until, future, connection in held:
                if until <= now and connection in future.waiting:
                    future.waiting.remove(connection)
                    connection.reply(answer(408, b'{"type":"try_again","queue_state":"active"}'))


def _fixed(whole: bytes) -> Handler:
    return lambda _: whole


def _stepped(done_at: int) -> bytes:
    return text(metrics={"done_at": done_at}, type="optim_step")


async def serve(stub: Stub, port: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Connection(stub.handle), "127.0.0.1", port, backlog=_BACKLOG
    )
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    releasing = loop.create_task(stub.release_held())
    await asyncio.to_thread(sys.stdin.read)
    releasing.cancel()


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stub_server", description=__doc__)
    defaults = Delays()
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--sample-delay", type=float, default=defaults.sample, metavar="SECONDS")
    parser.add_argument("--sample-spread", type=float, default=defaults.spread, metavar="SECONDS")
    parser.add_argument("--sample-tick", type=float, default=defaults.tick, metavar="SECONDS")
    parser.add_argument("--training-delay", type=float, default=defaults.training)
    parser.add_argument("--hold", type=float, default=defaults.hold, metavar="SECONDS")
    parser.add_argument("--tokens", type=int, default=64, help="length of each drawn sequence")
    return parser.parse_args()


def main() -> None:
    """Serve."""
    options = parse()
    delays = Delays(
        options.sample_delay,
        options.sample_spread,
        options.sample_tick,
        options.training_delay,
        options.hold,
    )
    asyncio.run(serve(Stub(delays, options.tokens), options.port))


if __name__ == "__main__":
    main()
