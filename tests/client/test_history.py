"""What a card may say of how long a call will take."""

from __future__ import annotations

import pytest

from tinker_nb.client.history import History


def history(*seconds: float) -> History:
    made = History()
    for each in seconds:
        made.add("Sample", each)
    return made


def test_too_few_calls_say_nothing() -> None:
    assert history().expect("Sample") is None
    assert history(1.0, 1.0).expect("Sample") is None
    assert history(1.0, 1.0, 1.0).expect("Sample") is not None


def test_kinds_are_kept_apart() -> None:
    made = history(1.0, 1.0, 1.0)
    assert made.expect("OptimStep") is None
    made.add("OptimStep", 99.0)
    assert made.expect("Sample") == pytest.approx((0.9, 1.1))


def test_the_range_is_that_of_the_percentiles() -> None:
    assert history(*range(101)).expect("Sample") == pytest.approx((47.0, 87.0), abs=3)
    assert history(0, 1, 2, 3, 4, 5).expect("Sample") == pytest.approx((1.0, 4.0))


def test_calls_that_took_alike_still_give_a_range() -> None:
    assert history(10.0, 10.0, 10.0, 10.0).expect("Sample") == pytest.approx((9.0, 11.0))


def test_one_odd_call_does_not_stretch_it() -> None:
    assert history(60.0, *[1.0] * 9).expect("Sample") == pytest.approx((0.9, 1.1))


def test_old_calls_are_forgotten() -> None:
    assert history(*[100.0] * 64, *[1.0] * 64).expect("Sample") == pytest.approx((0.9, 1.1))
    kept = history(*[100.0] * 64, *[1.0] * 32).expect("Sample")
    assert kept == pytest.approx((1.0, 100.0))


def test_a_clock_set_back_says_nothing() -> None:
    assert history(-5.0, 1.0, 1.0).expect("Sample") is None
