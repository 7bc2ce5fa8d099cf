"""The stub that the client's benchmark measures against: both packages must find it a server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import pairwise

import httpx
import pytest

from benchmarks.client_parts.http1 import Connection, Incoming
from benchmarks.client_parts.lines import Goal, line, spread
from benchmarks.client_parts.runs import OFFICIAL, OURS, output
from benchmarks.client_parts.stamps import join_stamp, split_stamp
from benchmarks.client_parts.stub import cpu_of_stub, running_stub
from benchmarks.stub_server import Delays

API = "/api/v1"
# The lengths differ, so that a result of the wrong shape shows.
DRIVE = """
import json, sys
import numpy as np
from benchmarks.client_parts.measure import Sdk

sdk = Sdk(*sys.argv[1:])
drawn = sdk.sample(sdk.sampler()).result().sequences[0]
trainer = sdk.trainer()
data = [
    sdk.types.Datum(
        model_input=sdk.types.ModelInput.from_ints(list(range(length))),
        loss_fn_inputs={"target_tokens": np.arange(length), "weights": np.ones(length, np.float32)},
    )
    for length in (3, 5)
]
outputs = trainer.forward_backward(data, "cross_entropy").result().loss_fn_outputs
step = trainer.optim_step(sdk.types.AdamParams(learning_rate=1e-4)).result()
print(json.dumps({
    "tokens": len(drawn.tokens),
    "done_at": list(drawn.tokens[:2]),
    "shapes": [list(output["logprobs"].to_numpy().shape) for output in outputs],
    "metrics": sorted(step.metrics),
}))
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running_stub("--sample-delay", "0.05", "--hold", "0.2") as stub:
        yield stub


@pytest.mark.parametrize("package", [OFFICIAL, OURS])
def test_a_package_samples_trains_and_steps_on_the_stub(url: str, package: str) -> None:
    before = time.monotonic_ns()
    told = json.loads(output(["-c", DRIVE, package, url]))
    assert told["tokens"] == 64
    assert before < join_stamp(told["done_at"]) < time.monotonic_ns()
    assert told["shapes"] == [[3], [5]]
    assert told["metrics"] == ["done_at"]


def test_a_moment_survives_the_tokens() -> None:
    moment = 123_456_789_012_345_678
    assert join_stamp(split_stamp(moment)) == moment
    assert max(split_stamp(moment)) < 2**31


def test_a_poll_is_held_and_then_told_to_ask_again() -> None:
    with running_stub("--sample-delay", "60", "--hold", "0.2") as url:
        asked = {"request_id": httpx.post(f"{url}{API}/asample", json={}).json()["request_id"]}
        began = time.monotonic()
        answer = httpx.post(f"{url}{API}/retrieve_future", json=asked, timeout=20)
    assert answer.status_code == 408
    assert answer.json()["type"] == "try_again"
    assert time.monotonic() - began > 0.2


def test_each_sample_has_an_id(url: str) -> None:
    accepted = httpx.post(f"{url}{API}/asample", json={"num_samples": 3}).json()
    assert len(set(accepted["sample_sequence_ids"])) == 3


def test_samples_end_apart_or_together() -> None:
    apart, together = Delays(sample=1, spread=1), Delays(sample=1, spread=1, tick=0.5)
    ends = sorted(10 + apart.of_sample(number, 10) for number in range(100))
    assert ends[0] == pytest.approx(10.5)
    assert ends[-1] < 11.5
    assert max(after - before for before, after in pairwise(ends)) < 0.02
    ticks = {round(10 + together.of_sample(number, 10), 9) for number in range(100)}
    assert ticks == {10.5, 11.0, 11.5}


@pytest.mark.parametrize("path", ["/", "/api/v1/retrieve_future"])
def test_what_it_does_not_know_is_not_found(url: str, path: str) -> None:
    assert httpx.post(f"{url}{path}", json={"request_id": "other"}).status_code == 404


def test_a_request_may_come_in_pieces() -> None:
    seen: list[Incoming] = []
    connection = Connection(lambda _, request: seen.append(request))
    whole = b"POST /path?query HTTP/1.1\r\nContent-Length: 4\r\n\r\n{ }\n"
    for place in range(len(whole)):
        assert not seen
        connection.data_received(whole[place : place + 1])
    connection.data_received(whole)
    assert seen == [Incoming(b"POST", b"/path", b"{ }\n")] * 2


def test_it_tells_its_own_time(url: str) -> None:
    assert cpu_of_stub(url) > 0


@pytest.mark.parametrize(
    ("goal", "value", "verdict"),
    [
        (Goal(">= 2x", 2, at_least=True), 2.0, "pass"),
        (Goal(">= 2x", 2, at_least=True), 1.6, "**miss** by 25 %"),
        (Goal("<= 0.3x", 0.3), 0.3, "pass"),
        (Goal("<= 0.3x", 0.3), 0.36, "**miss** by 20 %"),
    ],
)
def test_a_goal_says_how_far_off_a_value_is(goal: Goal, value: float, verdict: str) -> None:
    assert goal.verdict(value) == verdict


def test_a_goal_of_our_own_figure_needs_no_pair() -> None:
    results = {OFFICIAL: [{"MB": -1.0}], OURS: [{"MB": 30.0}]}
    said = line("growth", results, lambda run: run["MB"], "MB", Goal("< 20", 20, of_ratio=False))
    assert said[3:] == ("", "< 20", "**miss** by 50 %")


def test_a_line_compares_pair_by_pair() -> None:
    results = {
        OFFICIAL: [{"s": 4.0}, {"s": 2.0}, {"s": 30.0}],
        OURS: [{"s": 1.0}, {"s": 0.5}, {"s": 2.0}],
    }
    assert line("time", results, lambda run: run["s"], "s", Goal("<= 0.5x", 0.5)) == (
        "time",
        "4.00 [2.00..30.0] s",
        "1.00 [0.50..2.00] s",
        "0.25 [0.07..0.25] x",
        "<= 0.5x",
        "pass",
    )


def test_a_spread_shows_three_digits() -> None:
    assert spread([0.123, 45.67, 1234.5], "ms") == "45.7 [0.12..1234] ms"
