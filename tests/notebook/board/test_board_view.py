"""What a card says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tinker_nb.client.states import FutureSnapshot, FutureState, QueueNote, new_snapshot
from tinker_nb.errors import APIConnectionError, FutureCancelledError, RequestFailedError
from tinker_nb.notebook.board import board_view, result_line, row_view
from tinker_nb.notebook.board.words import about, clean, seconds, shorten, snake_case
from tinker_nb.wire.results import (
    ForwardBackwardOutput,
    OptimStepResponse,
    SampledSequence,
    SampleResponse,
)

Make = Callable[..., FutureSnapshot]


def test_a_queued_row_says_why_where_and_how_long(at_state: Make) -> None:
    note = QueueNote("waiting behind 3 requests of this model", 2, 4.2)
    row = row_view(at_state(FutureState.QUEUED, queue=note), 104.0)
    assert row.title == "forward_backward"
    assert (row.state, row.tone, row.is_open) == ("queued", "wait", True)
    assert row.line == "waiting behind 3 requests of this model · 2 ahead · about 4 s"
    assert row.clock == "4.0 s"


def test_a_running_row_says_nothing_of_an_old_queue(at_state: Make) -> None:
    row = row_view(at_state(FutureState.RUNNING, queue=QueueNote("old", 1)), 105.0)
    assert row.line == "the server works on it"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (102.0, "the server works on it"),
        (103.0, "usually 3 s to 9 s more"),
        (106.0, "up to 6 s more"),
        (112.5, "the server works on it"),
    ],
    ids=["none known", "both", "only the later", "over"],
)
def test_what_is_foreseen_from_earlier_calls(at_state: Make, now: float, expected: str) -> None:
    known = None if now == 102.0 else (4.0, 10.0)
    row = row_view(at_state(FutureState.RUNNING, expected=known), now)
    assert row.line == expected


def test_the_servers_own_estimate_goes_before_ours(at_state: Make) -> None:
    note = QueueNote("waits", 1, 4.0)
    row = row_view(at_state(FutureState.QUEUED, queue=note, expected=(4.0, 10.0)), 103.0)
    assert row.line == "waits · 1 ahead · about 4 s"


def test_silence_is_told_after_two_seconds(at_state: Make) -> None:
    running = at_state(FutureState.RUNNING)
    assert row_view(running, 106.0).silence == ""
    assert row_view(running, 107.0).silence == "last answer 3 s ago"
    never = replace(at_state(FutureState.SENDING), last_answer=None)
    assert row_view(never, 105.0).silence == "no answer yet for 4 s"
    assert row_view(at_state(FutureState.DONE), 999.0).silence == ""


def test_a_retry_takes_the_line(at_state: Make) -> None:
    row = row_view(at_state(FutureState.SENDING, note="429, next try in 4 s"), 101.0)
    assert row.line == "429, next try in 4 s"


def test_the_steps_tell_the_way(at_state: Make) -> None:
    steps = row_view(at_state(FutureState.QUEUED), 104.0).steps
    assert [(step.name, step.mark, step.at) for step in steps] == [
        ("sent", "past", "2.0 s"),
        ("queued", "now", "3.0 s"),
        ("running", "next", ""),
        ("done", "next", ""),
    ]


def test_steps_that_were_left_out_are_marked() -> None:
    snapshot = new_snapshot(1, "Sample", 0.0).entered(FutureState.FAILED, 1.0)
    steps = row_view(snapshot, 9.0).steps
    assert [step.mark for step in steps] == ["skipped", "skipped", "skipped", "bad"]
    assert steps[-1].name == "failed"


def test_a_request_put_back_into_the_queue_is_not_running(at_state: Make) -> None:
    back = at_state(FutureState.RUNNING).entered(FutureState.QUEUED, 110.0)
    marks = {step.name: step.mark for step in row_view(back, 111.0).steps}
    assert marks == {"sent": "past", "queued": "now", "running": "next", "done": "next"}


def test_an_error_says_what_whose_fault_what_to_do_and_which_request(at_state: Make) -> None:
    error = RequestFailedError("Too long.", category="user", advice="Cut it.", request_id="r-1")
    row = row_view(at_state(FutureState.FAILED, error=error), 200.0)
    assert row.line == "Too long. The cause is on your side. Cut it. (request r-1)"
    network = APIConnectionError("Nothing listens there.", advice="Start a server.")
    row = row_view(at_state(FutureState.FAILED, error=network, request_id="r-2"), 200.0)
    assert row.line == (
        "Nothing listens there. The cause is the connection. Start a server. (request r-2)"
    )


def test_who_cancels_is_not_blamed(at_state: Make) -> None:
    error = FutureCancelledError("Cancelled.", advice="")
    assert row_view(at_state(FutureState.CANCELLED, error=error), 200.0).line == "Cancelled."
    assert row_view(at_state(FutureState.CANCELLED), 200.0).line == "given up on this side"


def test_a_ready_result_line_is_taken(at_state: Make) -> None:
    row = row_view(at_state(FutureState.DONE), 200.0, lambda _: "igpay atinlay")
    assert row.line == "igpay atinlay"
    assert row.clock == "5.0 s"


def test_results_in_a_line() -> None:
    output = ForwardBackwardOutput("", [], {"loss:sum": 6.0, "num_tokens": 4})
    assert result_line(output) == "loss 1.5000 per token · 4 tokens"
    assert result_line(output, tokens=3) == "loss 2.0000 per token · 3 tokens"
    assert result_line({"metrics": {"loss:sum": 6.0}}) == "loss 6.0000 (sum)"
    assert result_line(OptimStepResponse(metrics={"grad_norm:mean": 1.25})) == "grad norm 1.25"
    assert result_line(OptimStepResponse()) == ""
    samples = SampleResponse([SampledSequence("stop", [1, 2]), SampledSequence("length", [3])])
    assert result_line(samples) == "2 samples · 3 tokens · ended by length, stop"
    assert result_line({"path": "tinker://x/y"}) == "tinker://x/y"
    assert result_line(None) == ""


def test_a_board_counts(at_state: Make) -> None:
    states = [FutureState.DONE, FutureState.RUNNING, FutureState.QUEUED, FutureState.FAILED]
    rows = [row_view(at_state(state, key), 105.0) for key, state in enumerate(states)]
    board = board_view(rows, 106.0)
    assert board.title == "forward_backward \u00d7 4"
    assert board.summary == "1 done · 1 running · 1 queued · 1 failed"
    assert (board.state, board.is_open, board.fraction) == ("running", True, 0.5)
    assert board.clock == "6.0 s"


def test_a_finished_board_shows_its_worst_end(at_state: Make) -> None:
    rows = [row_view(at_state(FutureState.DONE), 9.0), row_view(at_state(FutureState.LOST), 9.0)]
    board = board_view(rows, 999.0, title="Epoch 1")
    assert (board.title, board.state, board.tone, board.clock) == (
        "Epoch 1",
        "lost",
        "bad",
        "5.0 s",
    )


def test_boards_of_mixed_kinds_and_of_nothing_have_titles(at_state: Make) -> None:
    rows = [row_view(at_state(FutureState.DONE, 1, kind), 9.0) for kind in ("Sample", "OptimStep")]
    assert board_view(rows, 9.0).title == "2 requests"
    assert board_view([], 9.0).fraction == 1.0


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1, "0.0 s"),
        (3.21, "3.2 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3720, "1 h 02 min"),
    ],
)
def test_durations(value: float, words: str) -> None:
    assert seconds(value) == words


def test_estimates_are_rough() -> None:
    assert [about(value) for value in (0.1, 4.4, 90, 4000)] == ["1 s", "4 s", "1 min", "1 h 6 min"]


def test_text_is_cleaned() -> None:
    assert clean("a\x1b[31mb\n\u202ec\ud800d\u200d") == "a [31mb c d\u200d"
    assert clean("x" * 99, 10) == "x" * 9 + "…"


def test_names_are_shortened_in_the_middle() -> None:
    assert shorten("short") == "short"
    assert shorten("0123456789abcdefghijklmnop:train:0") == "0123456789abcd…train:0"
    assert snake_case("SaveWeightsForSampler") == "save_weights_for_sampler"
