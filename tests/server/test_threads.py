"""The number of threads that is best is found, and found anew when things change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tinker_nb.server.engine.threads import Threads, numbers_to_try

IDLE = {1: 1.0, 2: 0.6}
BUSY = {1: 1.1, 2: 5.0}


def run(threads: Threads, jobs: int, seconds: Callable[[int], float]) -> Counter[int]:
    chosen: Counter[int] = Counter()
    for _ in range(jobs):
        number = threads.choose("train", 512)
        threads.observe("train", 512, number, seconds(number))
        chosen[number] += 1
    return chosen


def test_the_best_is_used_and_the_worse_seldom() -> None:
    threads = Threads((1, 2))
    idle = run(threads, 300, IDLE.__getitem__)
    assert idle[2] > 0.9 * 300
    assert idle[1] > 1, "never tried again"


def test_a_neighbour_comes_and_goes() -> None:
    threads = Threads((1, 2))
    run(threads, 50, IDLE.__getitem__)
    busy = run(threads, 300, BUSY.__getitem__)
    assert busy[2] < 0.1 * 300
    assert run(threads, 600, IDLE.__getitem__)[2] > 0.5 * 600


def test_sizes_and_kinds_learn_apart() -> None:
    threads = Threads((1, 2))
    run(threads, 50, IDLE.__getitem__)
    assert threads.choose("train", 1) == 1
    assert threads.choose("draw", 512) == 1
    assert threads.choose("train", 600) == threads.choose("train", 1000)


def test_numbers() -> None:
    assert numbers_to_try(1) == (1,)
    assert numbers_to_try(2) == (1, 2)
    assert numbers_to_try(16) == (1, 8, 16)
