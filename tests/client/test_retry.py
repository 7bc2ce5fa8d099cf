"""When a submission is tried again. Time and chance are arguments, so nothing here waits."""

from __future__ import annotations

import pytest

from tinker_nb.client.retry import Failure, RetryPolicy, is_transient, retry_delay, retry_note

POLICY = RetryPolicy(first_delay=1, longest_delay=8, patience=60, refused_patience=3)


def delay(
    failure: Failure, attempt: int = 0, elapsed: float = 0.0, chance: float = 1.0
) -> float | None:
    return retry_delay(failure, attempt=attempt, elapsed=elapsed, chance=chance, policy=POLICY)


def test_it_doubles_up_to_the_longest() -> None:
    assert [delay(Failure(503), n) for n in range(6)] == [1, 2, 4, 8, 8, 8]


def test_chance_spreads_it_downwards() -> None:
    assert delay(Failure(503), 1, chance=0.0) == 1.5


def test_a_very_long_outage_does_not_overflow() -> None:
    assert delay(Failure(503), attempt=100_000) == 8


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
def test_a_refusal_is_final(status: int) -> None:
    assert delay(Failure(status)) is None


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, None])
def test_trouble_is_tried_again_until_patience_ends(status: int | None) -> None:
    assert delay(Failure(status), elapsed=10) is not None
    assert delay(Failure(status), elapsed=59.5) is None


def test_a_lasting_conflict_holds_nobody_for_minutes() -> None:
    assert delay(Failure(409), elapsed=1) == 1
    assert delay(Failure(409), elapsed=4.5) is None


def test_only_what_the_server_holds_waits_for_a_payment() -> None:
    waiting = RetryPolicy(billing_patience=60)
    failure = Failure(402)
    wait = retry_delay(failure, attempt=0, elapsed=0, chance=1, policy=waiting)
    assert (wait, delay(failure)) == (5.0, None)


@pytest.mark.parametrize(
    ("failure", "again"),
    [(Failure(refused=True), True), (Failure(503), True), (Failure(reason="broke"), False)],
)
def test_what_may_be_there_is_not_sent_twice(failure: Failure, again: bool) -> None:
    wait = retry_delay(failure, attempt=0, elapsed=0, chance=1, policy=POLICY, repeatable=False)
    assert (wait is not None) is again


def test_a_refused_connection_fails_soon() -> None:
    assert delay(Failure(refused=True), elapsed=1) == 1
    assert delay(Failure(refused=True), elapsed=2.5) is None


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "600"}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "-1"}, 1.0),
    ],
)
def test_the_server_may_ask_for_a_wait(headers: dict[str, str], expected: float) -> None:
    assert delay(Failure(429, headers)) == expected


def test_the_server_may_say_whether() -> None:
    assert is_transient(Failure(400, {"x-should-retry": "true"}))
    assert not is_transient(Failure(503, {"x-should-retry": "false"}))


def test_the_note_for_a_card() -> None:
    assert retry_note(Failure(429), 4.2) == "429, next try in 4 s"
    assert retry_note(Failure(reason="nothing answers"), 0.3) == "nothing answers, trying again"
