"""The verdicts of the server's benchmark, and the parts of it that need no server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.client_parts.lines import Goal, alone
from benchmarks.client_parts.runs import OFFICIAL, OURS as OUR_CLIENT
from benchmarks.client_parts.stub import running
from benchmarks.command import report
from benchmarks.server_parts.beside import BARE, SERVED, side_by_side
from benchmarks.server_parts.overhead import Timed, lateness
from benchmarks.server_parts.skyrl import skyrl
from benchmarks.server_parts.verdicts import (
    OURS,
    SKYRL,
    heads,
    of_coalescing,
    of_overhead,
    of_packages,
    of_sampling,
    of_skyrl,
    of_start,
    of_training,
)

DELAY = 0.05


def rates(bare: float, served: float) -> dict[str, list[dict[str, float]]]:
    return {BARE: [{"rate": bare}] * 3, SERVED: [{"rate": served}] * 3}


def verdicts(lines: list[tuple[str, ...]]) -> list[str]:
    assert {len(line) for line in lines} == {len(heads(""))}
    return [line[-1] for line in lines]


@pytest.mark.parametrize(("served", "verdict"), [(100.0, "pass"), (80.0, "**miss** by 25 %")])
def test_training_must_be_as_fast_as_without_a_server(served: float, verdict: str) -> None:
    assert verdicts(of_training(rates(100.0, served))) == [verdict]


@pytest.mark.parametrize(("served", "verdict"), [(250.0, "pass"), (200.0, "**miss** by 25 %")])
def test_requests_that_wait_must_be_computed_together(served: float, verdict: str) -> None:
    assert verdicts(of_coalescing(rates(100.0, served))) == [verdict]


def test_our_client_must_gain_by_sending_at_once_and_the_official_one_is_only_told() -> None:
    def run(at_once: float) -> list[dict[str, float]]:
        return [{"one by one": 10.0, "at once": at_once}]

    goal = Goal(">= 4x", 4.0, at_least=True)
    lines = of_packages({OUR_CLIENT: run(40.0), OFFICIAL: run(20.0)}, "far", goal)
    assert [line[0] for line in lines] == ["far, tinker_nb", "far, tinker"]
    assert [line[3] for line in lines] == ["4.00 [4.00..4.00] x", "2.00 [2.00..2.00] x"]
    assert verdicts(lines) == ["pass", ""]


def test_many_prompts_are_held_against_one_prompt_and_told_beside_a_batch() -> None:
    results = {BARE: [{"one": 100.0, "many": 900.0}], SERVED: [{"one": 110.0, "many": 640.0}]}
    lines = of_sampling(results)
    assert [line[3].split()[0] for line in lines] == ["1.10", "6.40", "0.71"]
    assert verdicts(lines) == ["pass", "**miss** by 25 %", ""]


def test_the_server_adds_what_computing_alone_does_not_take() -> None:
    told = {"accepted": 1.0, "late": 2.0, "quick": 6.0, "slowest": 9.0, "quick_wall": 7.0}
    served = [{"wall": 14.0, **told}, {"wall": 32.0, **told}, {"wall": 23.0, **told}]
    bare = [{"compute": 10.0}, {"compute": 28.0}, {"compute": 20.0}]
    lines = of_overhead({BARE: bare, SERVED: served})
    assert lines[1][2] == "4.00 [3.00..4.00] ms"
    assert verdicts(lines) == ["", "pass", "", "pass", "**miss** by 20 %", "", ""]


def test_the_start_and_the_memory_are_judged_alone() -> None:
    bare = [{"cold": 9.0, "warm": 5.0, "held": 500.0}]
    lines = of_start({BARE: bare, SERVED: [{"cold": 6.0, "warm": 4.0, "held": 990.0}]})
    assert verdicts(lines) == ["pass", "", "**miss** by 10 %"]


def test_skyrl_is_judged_by_steps_and_by_drawing() -> None:
    theirs, ours = {"seconds": 0.9, "drawn": 4000.0}, {"seconds": 0.3, "drawn": 3200.0}
    lines = of_skyrl({SKYRL: [theirs], OURS: [ours]})
    assert verdicts(lines) == ["pass", "", "**miss** by 25 %"]


def test_without_skyrl_its_part_says_so() -> None:
    assert "--skyrl-python" in skyrl(5, lambda _: None, None)


def test_what_only_we_have_is_told_without_a_pair() -> None:
    assert alone("memory", [1.0, 2.0, 3.0], "MB") == (
        "memory",
        "",
        "2.00 [1.00..3.00] MB",
        *[""] * 3,
    )


def test_a_result_is_late_by_what_passed_since_its_record() -> None:
    timed = [Timed("a", 10.002, 0.0, 0.0), Timed("b", 20.005, 0.0, 0.0)]
    late = lateness(timed, {"b": 20.0, "a": 10.0})
    assert late == pytest.approx([2.0, 5.0], abs=1e-3)


def test_the_sides_take_turns() -> None:
    order: list[str] = []

    def run(side: str) -> dict[str, float]:
        order.append(side)
        return {"rate": float(len(order))}

    sides = {side: lambda side=side: run(side) for side in (BARE, SERVED)}
    results = side_by_side("x", 2, lambda _: None, sides)
    assert order == [BARE, SERVED] * 2
    assert results == {BARE: [{"rate": 1.0}, {"rate": 3.0}], SERVED: [{"rate": 2.0}, {"rate": 4.0}]}


def test_a_report_has_a_section_for_each_part() -> None:
    text = report("Title", "- head", {"one": lambda: "| table |"}, {"one": "Note.", "two": "No."})
    assert text.startswith("# Title\n\n- Date: ")
    assert text.endswith("- head\n\n## One\n\n| table |\n\nNote.\n")


@pytest.fixture
def echo() -> Iterator[int]:
    """Give the port of a server that sends back one message of each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(connection.recv(100))

        thread = threading.Thread(target=answer)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def test_the_network_delays_both_ways_and_carries_the_end(echo: int) -> None:
    way = ("127.0.0.1", str(echo), str(DELAY))
    with running("benchmarks.server_parts.delay", *way) as url:
        began = time.monotonic()
        said = asyncio.run(_ask(int(url.rpartition(":")[2])))
        passed = time.monotonic() - began
    assert said == b"there and back"
    assert passed >= 2 * DELAY


async def _ask(port: int) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"there and back")
    said = await reader.read()  # to the end
    writer.close()
    return said
