"""The budget of what is in flight, on a real loop."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager

import pytest

from tinker_nb.client.limits import Budget
from tinker_nb.errors import InvalidInputError

Entry = AbstractAsyncContextManager[None]


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class User:
    """A task that takes some of a budget, notes it, and holds it until it is told."""

    def __init__(self, budget: Budget, size: int, running: list[User]) -> None:
        self.size, self.done = size, asyncio.Event()
        self.task = asyncio.create_task(self._run(budget, running))

    async def _run(self, budget: Budget, running: list[User]) -> None:
        async with budget.taking(self.size):
            running.append(self)
            try:
                await self.done.wait()
            finally:
                running.remove(self)


class Office:
    """A budget, those who want of it, and those who have of it."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.running: list[User] = []

    async def wants(self, *sizes: int) -> list[User]:
        users = [User(self.budget, size, self.running) for size in sizes]
        await settled()
        return users

    @property
    def sizes(self) -> list[int]:
        return [user.size for user in self.running]


async def settled() -> None:
    """Let the loop run until tasks that can go on have done so: each needs a few rounds only."""
    for _ in range(10):
        await asyncio.sleep(0)


async def finish(*users: User) -> None:
    for user in users:
        user.done.set()
    await settled()


async def cancel(*users: User) -> None:
    for user in users:
        user.task.cancel()
    await settled()


def taken_at_once(budget: Budget, *sizes: int) -> list[Entry]:
    """Try to take without a loop, and return what went: whatever awaits anything does not.

    A place is given back when its entry is no longer held.
    """
    return [entry for entry in map(budget.taking, sizes) if _goes_at_once(entry)]


def _goes_at_once(entry: Entry) -> bool:
    entering = entry.__aenter__().__await__()
    try:
        next(entering)
    except StopIteration:
        return True
    return False


def test_with_room_nothing_is_awaited() -> None:
    assert len(taken_at_once(Budget(1000, 1000), *[1] * 1000)) == 1000


async def test_number_and_bytes_are_both_limits() -> None:
    office = Office(Budget(3, 100))
    await office.wants(1, 1, 1, 1)
    assert office.sizes == [1, 1, 1]
    office = Office(Budget(3, 100))
    users = await office.wants(60, 60)
    assert office.sizes == [60]
    await finish(users[0])
    assert office.sizes == [60]
    assert office.running == [users[1]]


async def test_bytes_that_just_fit_do() -> None:
    office = Office(Budget(3, 100))
    await office.wants(60, 40)
    assert office.sizes == [60, 40]


async def test_small_ones_wait_behind_a_large_one() -> None:
    office = Office(Budget(9, 100))
    first, *_ = await office.wants(60, 90, 10, 10)
    assert office.sizes == [60]  # the small ones would fit, but the large one came first
    await finish(first)
    assert office.sizes == [90, 10]


async def test_an_oversized_one_goes_alone() -> None:
    office = Office(Budget(9, 100))
    small, large, *_ = await office.wants(1, 500, 0, 2)
    assert office.sizes == [1]
    await finish(small)
    assert office.sizes == [500]
    await finish(large)
    assert office.sizes == [0, 2]


async def test_a_place_is_given_back_when_the_block_fails() -> None:
    budget = Budget(1, 10)
    with pytest.raises(KeyError):
        async with budget.taking(10):
            raise KeyError
    assert taken_at_once(budget, 10)


async def test_a_cancelled_holder_gives_back() -> None:
    office = Office(Budget(1, 100))
    holder, _ = await office.wants(1, 2)
    await cancel(holder)
    assert office.sizes == [2]


async def test_a_cancelled_waiter_lets_the_next_pass() -> None:
    office = Office(Budget(9, 100))
    _, large, _ = await office.wants(60, 90, 10)
    assert office.sizes == [60]
    await cancel(large)
    assert office.sizes == [60, 10]


async def test_a_waiter_cancelled_in_the_middle_is_passed_over() -> None:
    office = Office(Budget(1, 100))
    first, _, third, _ = await office.wants(1, 2, 3, 4)
    await cancel(third)
    await finish(first)
    assert office.sizes == [2]
    await finish(*office.running)
    assert office.sizes == [4]


async def test_a_turn_that_comes_with_the_cancellation_is_given_back() -> None:
    office = Office(Budget(1, 100))
    async with office.budget.taking(1):
        first, _ = await office.wants(2, 3)
    first.task.cancel()  # its turn has come, but its task has not run yet
    await settled()
    assert first.task.cancelled()
    assert office.sizes == [3]


async def test_a_turn_does_not_come_to_who_is_being_cancelled() -> None:
    office = Office(Budget(1, 100))
    async with office.budget.taking(1):
        first, _ = await office.wants(2, 3)
        first.task.cancel()  # its task has not run yet when the place becomes free
    await settled()
    assert first.task.cancelled()
    assert office.sizes == [3]
    await finish(*office.running)
    assert taken_at_once(office.budget, 100)


async def test_slowed_down_fewer_go_at_once_and_what_runs_goes_on() -> None:
    clock = Clock()
    office = Office(Budget(5, 100, clock=clock))
    users = await office.wants(1, 1, 1)
    office.budget.slow_down(clock.now + 10, 2)
    await office.wants(1, 1)
    assert len(office.running) == 3
    await finish(users[0])
    assert len(office.running) == 2
    await finish(users[1])
    assert len(office.running) == 2


async def test_slowing_down_ends_by_itself() -> None:
    clock = Clock()
    budget = Budget(2, 100, clock=clock)
    async with budget.taking(1):
        budget.slow_down(clock.now + 0.01, 1)
        waiting = asyncio.create_task(budget.taking(1).__aenter__())
        await settled()
        assert not waiting.done()
        clock.now += 1  # nobody gives anything back: only the end of the slow time helps
        await asyncio.wait_for(waiting, 10)


async def test_slow_time_that_was_made_longer_ends_later() -> None:
    clock = Clock()
    office = Office(Budget(9, 100, clock=clock))
    office.budget.slow_down(clock.now + 0.01, 2)
    office.budget.slow_down(clock.now + 0.02, 5)
    *_, third = await office.wants(1, 1, 1)
    clock.now += 0.015
    timer = office.budget._timer
    assert timer is not None
    timer.cancel()
    office.budget._time_passed()  # what the timer does, at a moment of our choice
    await settled()
    assert len(office.running) == 2
    clock.now += 1
    third.done.set()
    await asyncio.wait_for(third.task, 10)


async def test_a_shorter_slow_time_does_not_end_a_longer_one() -> None:
    clock = Clock()
    budget = Budget(9, 100, clock=clock)
    budget.slow_down(clock.now + 2, 1)
    budget.slow_down(clock.now + 1, 1)
    clock.now += 1.5
    assert len(taken_at_once(budget, 1, 1)) == 1


async def test_after_the_slow_time_a_new_one_counts_alone() -> None:
    clock = Clock()
    budget = Budget(9, 100, clock=clock)
    budget.slow_down(clock.now + 1, 1)
    clock.now += 2
    budget.slow_down(clock.now + 1, 3)
    assert len(taken_at_once(budget, 1, 1, 1, 1)) == 3


async def test_slowed_down_to_nothing_one_goes_at_a_time() -> None:
    clock = Clock()
    budget = Budget(9, 100, clock=clock)
    budget.slow_down(clock.now + 1, 0)
    assert len(taken_at_once(budget, 1, 1)) == 1


def test_a_budget_for_nobody_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="At least one"):
        Budget(0, 100)


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_the_limits_hold_and_all_get_their_turn(seed: int) -> None:
    chance, clock = random.Random(seed), Clock()
    count, size = chance.randint(1, 5), chance.randint(0, 50)
    office = Office(Budget(count, size, clock=clock))
    users: list[User] = []
    for _ in range(200):
        clock.now += chance.random()
        match chance.randrange(5):
            case 0 | 1:
                users += [User(office.budget, chance.randint(0, 60), office.running)]
            case 2 if office.running:
                chance.choice(office.running).done.set()
            case 3 if users:
                chance.choice(users).task.cancel()
            case 4 if chance.random() < 0.2:
                office.budget.slow_down(clock.now + chance.random(), chance.randint(1, 3))
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        assert len(office.running) <= count
        assert sum(office.sizes) <= size or len(office.running) == 1
    await asyncio.wait_for(all_get_their_turn(users), 30)
    assert taken_at_once(office.budget, 10**9)  # nothing has leaked


async def all_get_their_turn(users: list[User]) -> None:
    for user in users:
        user.done.set()
    await asyncio.gather(*(user.task for user in users), return_exceptions=True)


@pytest.mark.parametrize("seed", range(10))
async def test_turns_come_in_the_order_of_asking(seed: int) -> None:
    chance = random.Random(seed)
    office = Office(Budget(3, 100))
    users = await office.wants(*(chance.choice([1, 40, 90, 150]) for _ in range(30)))
    order: list[User] = []
    while len(order) < len(users):
        order += [user for user in office.running if user not in order]
        await finish(chance.choice(office.running))
    assert order == users
