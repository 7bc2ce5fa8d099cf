"""The first of many waits a moment for the others; who asks one by one does not wait."""

from __future__ import annotations

from tinker_nb.server.engine.bursts import Bursts


def burst(bursts: Bursts, begin: float, count: int, gap: float = 0.002) -> float:
    """Let requests come while none is done; returns when the last one came."""
    for place in range(count):
        bursts.came("m", begin + place * gap, alone=place == 0)
    return begin + (count - 1) * gap


def test_one_by_one_never_waits() -> None:
    bursts = Bursts()
    for second in range(5):
        bursts.came("m", second, alone=True)
        assert bursts.hold("m", second) == 0


def test_what_came_last_time_is_waited_for() -> None:
    bursts = Bursts()
    burst(bursts, 0.0, 5)
    last = burst(bursts, 1.0, 3)
    assert 0 < bursts.hold("m", last) <= 0.0031
    last = burst(bursts, 2.0, 5)
    assert bursts.hold("m", last) == 0, "all five are here"


def test_old_habits_are_forgotten() -> None:
    bursts = Bursts()
    burst(bursts, 0.0, 5)
    for second in range(1, 9):
        bursts.came("m", second, alone=True)
        assert bursts.hold("m", second) > 0
    bursts.came("m", 9.0, alone=True)
    assert bursts.hold("m", 9.0) == 0


def test_nobody_waits_for_those_who_do_not_come() -> None:
    bursts = Bursts()
    burst(bursts, 0.0, 8)
    last = burst(bursts, 1.0, 2)
    assert bursts.hold("m", last + 0.0031) == 0
    for place in range(1, 40):
        bursts.came("m", last + 0.0025 * place, alone=False)
        held = bursts.hold("m", last + 0.0025 * place)
        assert held == 0 or last + 0.0025 * place + held <= 1.0301


def test_lanes_are_apart_and_are_forgotten() -> None:
    bursts = Bursts()
    burst(bursts, 0.0, 5)
    burst(bursts, 1.0, 1)
    assert bursts.hold("m", 1.0) > 0
    assert bursts.hold("other", 1.0) == 0
    bursts.forget("m")
    assert bursts.hold("m", 1.0) == 0
