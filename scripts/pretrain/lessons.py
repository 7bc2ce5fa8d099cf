"""What a lesson is, and how a task makes one."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tinker_nb.data.toy import Split, common_words, iter_words

Message = dict[str, str]
Slots = dict[str, str]

_PAIR_HELD_OUT_ONE_IN = 8


class Source:
    """Randomness and words of one split.

    Parameters
    ----------
    seed : int
        Seed of every choice.
    split : str
        ``"train"`` or ``"held_out"``.
    """

    def __init__(self, seed: int, split: Split) -> None:
        self.rng = random.Random(seed)
        self.split: Split = split
        self._common = common_words(split)
        self._words: Iterator[str] = iter_words(self.rng, split)

    def word(self) -> str:
        """Draw one word of the split."""
        return next(self._words)

    def common_word(self) -> str:
        """Draw one word of the split, a common English one half of the time."""
        return self.rng.choice(self._common) if self.rng.random() < 0.5 else self.word()

    def is_mine(self, key: str) -> bool:
        """Say whether a combination, such as a fact and its phrasing, is in the split."""
        held_out = zlib.crc32(key.encode()) % _PAIR_HELD_OUT_ONE_IN == 0
        return held_out == (self.split == "held_out")


@dataclass(frozen=True)
class Lesson:
    """One conversation to learn from.

    Attributes
    ----------
    task : str
        The ability that the last turn shows.
    messages : tuple of dict
        The turns.
    raw : bool
        Whether it is plain text, with no roles.
    """

    task: str
    messages: tuple[Message, ...]
    raw: bool = False


@dataclass(frozen=True)
class Task:
    """A question with several phrasings and one right answer.

    Attributes
    ----------
    name : str
        The ability.
    slots : callable
        Draws what the phrasings are about.
    phrasings : tuple of str
        Format strings over the slots.
    answer : callable
        The right answer for the slots.
    combine : bool
        Whether pairs of subject and phrasing are held out (closed worlds).
    brief : callable or None
        The answer in one word, where there is one.
    """

    name: str
    slots: Callable[[Source], Slots]
    phrasings: tuple[str, ...]
    answer: Callable[[Slots], str]
    combine: bool = False
    brief: Callable[[Slots], str] | None = None

    def draw(self, source: Source) -> tuple[str, Slots]:
        """Draw a prompt of the source's split, and its slots."""
        while True:
            slots = self.slots(source)
            index = source.rng.randrange(len(self.phrasings))
            key = f"{self.name}:{index}:{sorted(slots.items())}"
            if not self.combine or source.is_mine(key):
                return self.phrasings[index].format(**slots), slots
