"""Whose turn it is: first come, first served within a lane, and lanes take turns. No threads."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")


class Schedule(Generic[T]):
    """The waiting items, by lane. The lane served last is at the end of the order."""

    def __init__(self) -> None:
        self._lanes: OrderedDict[str, deque[T]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes.values())

    def __iter__(self) -> Iterator[T]:
        """Give every waiting item in the order of the turns, as things stand."""
        for turn in range(max((len(lane) for lane in self._lanes.values()), default=0)):
            for lane in self._lanes.values():
                yield from islice(lane, turn, turn + 1)

    def add(self, lane: str, item: T) -> None:
        """Put an item at the end of its lane; a lane that was empty is served after the others."""
        self._lanes.setdefault(lane, deque()).append(item)

    def take(self, joins: Callable[[T, list[T]], bool] | None = None) -> list[T]:
        """Take the next item, with those behind it in its lane that may go with it.

        Parameters
        ----------
        joins
            Says whether an item may go with those taken so far; nothing joins when not given.

        Returns
        -------
        list
            The items, in their order; empty when nothing waits.
        """
        if not self._lanes:
            return []
        name, lane = self._lanes.popitem(last=False)
        taken = [lane.popleft()]
        while joins is not None and lane and joins(lane[0], taken):
            taken.append(lane.popleft())
        if lane:
            self._lanes[name] = lane
        return taken

    def waits(self, lane: str) -> bool:
        """Say whether anything waits in a lane."""
        return lane in self._lanes

    def only(self) -> tuple[str, list[T]] | None:
        """Return the one lane in which items wait, and those; None for none or several."""
        if len(self._lanes) != 1:
            return None
        ((name, lane),) = self._lanes.items()
        return name, list(lane)

    def remove(self, lane: str, item: T) -> bool:
        """Take an item out; says whether it waited."""
        waiting = self._lanes.get(lane, deque())
        if item not in waiting:
            return False
        waiting.remove(item)
        if not waiting:
            del self._lanes[lane]
        return True

    def ahead(self, lane: str, item: T) -> list[T] | None:
        """Return the items of the lane that go before this one; None when it does not wait."""
        waiting = self._lanes.get(lane, deque())
        if item not in waiting:
            return None
        return list(islice(waiting, waiting.index(item)))
