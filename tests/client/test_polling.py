"""The table of what a poll's answer means."""

from __future__ import annotations

import json

import pytest

from tinker_nb.client.exchange import Reply
from tinker_nb.client.polling import Broken, Finished, NotYet, Over, pause_before_next, read_poll
from tinker_nb.client.states import FutureState, QueueNote
from tinker_nb.errors import APIResponseValidationError, BadRequestError, RequestFailedError
from tinker_nb.wire.protobuf import CONTENT_TYPE


def reply(status: int, body: object = None, kind: str = "application/json") -> Reply:
    return Reply(status, kind, b"" if body is None else json.dumps(body).encode())


def test_protobuf_is_a_result() -> None:
    answer = Reply(200, CONTENT_TYPE, b"\x00")
    assert read_poll(answer, "r") == Finished(answer)


def test_a_json_object_is_a_result() -> None:
    answer = reply(200, {"metrics": {}})
    assert read_poll(answer, "r") == Finished(answer)


@pytest.mark.parametrize("status", [202, 408, 200])
def test_not_yet(status: int) -> None:
    body = {
        "type": "try_again",
        "future_state": "queued",
        "queue_state_reason": "behind 3",
        "place": 3,
    }
    assert read_poll(reply(status, body), "r") == NotYet(
        FutureState.QUEUED, QueueNote("behind 3", 3, None)
    )


@pytest.mark.parametrize("body", [None, {"status": "pending"}, {"queue_state": "unheard of"}])
def test_not_yet_without_a_state(body: object) -> None:
    outcome = read_poll(reply(202, body), "r")
    assert isinstance(outcome, NotYet)
    assert outcome.state is None


def test_a_paused_queue_is_said_in_words() -> None:
    outcome = read_poll(reply(408, {"queue_state": "paused_capacity"}), "r")
    assert isinstance(outcome, NotYet)
    assert outcome.state is FutureState.QUEUED
    assert outcome.queue is not None
    assert outcome.queue.reason == "the server has no room right now"


@pytest.mark.parametrize(
    ("said", "category"), [("user", "user"), ("User", "unknown"), (None, "unknown")]
)
def test_a_failed_future(said: str | None, category: str) -> None:
    outcome = read_poll(reply(200, {"error": "no", "category": said}), "r7")
    assert isinstance(outcome, Over)
    assert isinstance(outcome.error, RequestFailedError)
    assert (outcome.error.category, outcome.error.request_id) == (category, "r7")
    assert outcome.state is FutureState.FAILED


@pytest.mark.parametrize("status", [404, 410])
def test_an_unknown_request_is_lost(status: int) -> None:
    outcome = read_poll(reply(status, {"detail": "gone"}), "r")
    assert isinstance(outcome, Over)
    assert outcome.state is FutureState.LOST


@pytest.mark.parametrize("status", [402, 409, 429, 500, 502, 503])
def test_trouble_says_nothing_about_the_request(status: int) -> None:
    assert isinstance(read_poll(reply(status, {"detail": "x"}), "r"), Broken)


def test_a_refusal_is_final_and_typed() -> None:
    outcome = read_poll(reply(400, {"detail": "bad"}), "r")
    assert isinstance(outcome, Over)
    assert isinstance(outcome.error, BadRequestError)


@pytest.mark.parametrize("content", [b"<html>", b"[1]"])
def test_a_body_that_is_no_json_object_is_a_protocol_error(content: bytes) -> None:
    with pytest.raises(APIResponseValidationError):
        read_poll(Reply(200, "application/json", content), "r")


def test_a_held_poll_is_repeated_at_once_and_a_quick_one_is_not() -> None:
    assert pause_before_next(25.0, 0, news=False) == 0
    assert pause_before_next(0.01, 0, news=True) == 0
    pauses = [pause_before_next(0.01, streak, news=False) for streak in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[0] > 0
    assert pauses[-1] == 2.0
