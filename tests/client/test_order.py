"""The order of submissions: one after another, and equals side by side where that is allowed."""

from __future__ import annotations

import asyncio

from tinker_nb.client.order import SubmissionOrder, Ticket


async def goes(ticket: Ticket, *, among_equals: bool = False) -> bool:
    """Say whether a ticket's turn to be submitted has come."""
    try:
        await asyncio.wait_for(ticket.submit.turn(among_equals=among_equals), 0.01)
    except TimeoutError:
        return False
    return True


async def test_one_after_another() -> None:
    order = SubmissionOrder()
    first, second, third = (order.take() for _ in range(3))
    assert await goes(first)
    assert not await goes(second)
    first.hand_in()
    assert await goes(second)
    assert not await goes(third)


async def test_equals_go_together_between_those_that_are_not() -> None:
    order = SubmissionOrder()
    step = order.take()
    equals = order.take_several(3, commutes=True)
    last = order.take()
    again = order.take(commutes=True)
    assert not any([await goes(ticket, among_equals=True) for ticket in equals])
    step.hand_in()
    assert all([await goes(ticket, among_equals=True) for ticket in equals])
    assert not await goes(equals[1]), "where the server wants an order there is one"
    for ticket in (equals[2], equals[0]):
        ticket.hand_in()
        assert not await goes(last)
    equals[1].hand_in()
    assert await goes(last)
    assert not await goes(again, among_equals=True)
    last.hand_in()
    assert await goes(again, among_equals=True)


async def test_one_given_up_early_lets_nobody_overtake() -> None:
    order = SubmissionOrder()
    first, second, third = order.take(), order.take(commutes=True), order.take()
    second.hand_in()
    assert not await goes(third)
    first.hand_in()
    assert await goes(third)
