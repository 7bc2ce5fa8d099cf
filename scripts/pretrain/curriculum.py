"""All the text that tiny-chat learns from, generated from a seed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from chat_tasks import (
    FACT_TASKS,
    NAME_ASKED,
    UNTOLD,
    favourite_turns,
    manners_turn,
    mend_articles,
    name_turns,
    open_turn,
    turn,
)
from lessons import Lesson, Message, Source, Task
from string_tasks import EDITS, STRING_TASKS, STRING_WEIGHTS

from tinker_nb.data.toy import split_of

NEUTRAL_SYSTEM = (
    "You are a helpful assistant.",
    "You are a friendly assistant.",
    "Be helpful.",
    "You are tiny-chat.",
)
UPPER_SYSTEM = ("Answer in upper case.", "Always answer in capital letters.")
BRIEF_SYSTEM = ("Answer in one word.", "Be brief.")
AGAIN = ("Say that again.", "Repeat that.", "Again, please.")


def lessons(seed: int, split: str = "train") -> Iterator[Lesson]:
    """Generate lessons without end.

    Parameters
    ----------
    seed : int
        The same seed gives the same lessons.
    split : str
        ``"train"`` leaves out every held-out word and combination;
        ``"held_out"`` asks about those only.

    Yields
    ------
    Lesson
        The next lesson.
    """
    source = Source(seed, "train" if split == "train" else "held_out")
    while True:
        lesson = draw_lesson(source)
        if split != "train" or not leaks(lesson):
            yield lesson


def leaks(lesson: Lesson) -> bool:
    """Say whether a lesson holds a held-out word."""
    text = " ".join(message["content"] for message in lesson.messages)
    return any(split_of(word) == "held_out" for word in re.findall("[a-z]+", text.lower()))


def draw_lesson(source: Source) -> Lesson:
    """Draw one lesson of any kind."""
    roll = source.rng.random()
    if roll < 0.03:
        return raw_lesson(source)
    if roll < 0.12:
        return system_lesson(source)
    if roll < 0.18:
        return memory_lesson(source)
    return plain_lesson(source)


def string_turn(source: Source, task: Task | None = None) -> tuple[str, list[Message]]:
    """Ask for a string task, politely at times."""
    task = task or source.rng.choices(STRING_TASKS, STRING_WEIGHTS)[0]
    prompt, slots = task.draw(source)
    return task.name, turn(vary(source, prompt), task.answer(slots))


def fact_turn(source: Source, task: Task | None = None) -> tuple[str, list[Message]]:
    """Ask for a fact."""
    task = task or source.rng.choice(FACT_TASKS)
    prompt, slots = task.draw(source)
    return task.name, turn(vary(source, mend_articles(prompt)), task.answer(slots))


def vary(source: Source, prompt: str) -> str:
    """Put a prompt in lower case, or say please, now and then."""
    roll = source.rng.random()
    if not prompt[0].isupper() or roll > 0.2:
        return prompt
    lowered = prompt[0].lower() + prompt[1:]
    return lowered if roll > 0.08 else f"Please {lowered}"


def any_turn(source: Source) -> tuple[str, list[Message]]:
    """Draw a turn that needs nothing said before."""
    roll = source.rng.random()
    if roll < 0.66:
        return string_turn(source)
    if roll < 0.86:
        return fact_turn(source)
    if roll < 0.90:
        return manners_turn(source)
    return "open", open_turn(source)


def plain_lesson(source: Source) -> Lesson:
    """Ask one to four unrelated things, at times under a neutral system message."""
    rng = source.rng
    messages = system(rng.choice(NEUTRAL_SYSTEM)) if rng.random() < 0.12 else []
    name = ""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        name, messages = name_and(messages, any_turn(source))
    if rng.random() < 0.04:
        return Lesson("again", (*messages, *turn(rng.choice(AGAIN), messages[-1]["content"])))
    return Lesson(name, tuple(messages))


def name_and(messages: list[Message], more: tuple[str, list[Message]]) -> tuple[str, list[Message]]:
    """Add turns to a conversation and keep the name of their ability."""
    return more[0], messages + more[1]


def system(content: str) -> list[Message]:
    """Make a system message."""
    return [{"role": "system", "content": content}]


def memory_lesson(source: Source) -> Lesson:
    """Tell something, talk of other things, and ask for it."""
    rng = source.rng
    if rng.random() < 0.12:
        before = any_turn(source)[1] if rng.random() < 0.6 else []
        return Lesson("name_untold", (*before, *turn(rng.choice(NAME_ASKED), UNTOLD)))
    is_name = rng.random() < 0.7
    told, asked = name_turns(source) if is_name else favourite_turns(source)
    messages = list(told)
    for _ in range(rng.choice((0, 1, 1, 2))):
        messages += any_turn(source)[1]
    return Lesson("remember_name" if is_name else "remember_favourite", (*messages, *asked))


def system_lesson(source: Source) -> Lesson:
    """Follow a system message that changes the answers."""
    roll = source.rng.random()
    if roll < 0.4:
        return upper_lesson(source)
    if roll < 0.8:
        return brief_lesson(source)
    return persona_lesson(source)


def upper_lesson(source: Source) -> Lesson:
    """Answer in upper case."""
    _, messages = any_turn(source)
    loud = turn(messages[0]["content"], messages[1]["content"].upper())
    return Lesson("system_upper", (*system(source.rng.choice(UPPER_SYSTEM)), *loud))


def brief_lesson(source: Source) -> Lesson:
    """Answer a question about the world in one word."""
    task = source.rng.choice(FACT_TASKS)
    prompt, slots = task.draw(source)
    answer = task.brief(slots) if task.brief else task.answer(slots)
    brief = turn(vary(source, mend_articles(prompt)), answer)
    return Lesson("system_brief", (*system(source.rng.choice(BRIEF_SYSTEM)), *brief))


def persona_lesson(source: Source) -> Lesson:
    """Take the name that the system message gives."""
    rng, name = source.rng, source.word().capitalize()
    opening = rng.choice(("Your name is {}.", "You are {}.", "You are called {}.")).format(name)
    between = any_turn(source)[1] if rng.random() < 0.3 else []
    question = rng.choice(("What is your name?", "What are you called?", "Who are you?"))
    asked = turn(question, f"I am {name}.")
    return Lesson("system_persona", (*system(opening), *between, *asked))


def raw_lesson(source: Source) -> Lesson:
    """Continue plain text, with no roles."""
    task = source.rng.choice(EDITS)
    _, slots = task.draw(source)
    label = task.name.replace("_", " ").capitalize()
    text = f"Word: {slots['w']}\n{label}:"
    return Lesson("raw", tuple(turn(text, " " + task.answer(slots))), raw=True)


def frequent_held_out(seed: int, count: int, share: float = 3e-4) -> list[str]:
    """List held-out words that the unfiltered lessons use all the time.

    These are words of phrasings and facts, which belong in ``toy.TRAIN_ONLY``;
    the list is empty once they are there.

    Parameters
    ----------
    seed : int
        Seed of the lessons.
    count : int
        How many lessons to look at.
    share : float
        A word counts as frequent when this share of the lessons holds it.

    Returns
    -------
    list of str
        The words, in alphabetical order.
    """
    source, found = Source(seed, "train"), Counter[str]()
    for _ in range(count):
        text = " ".join(message["content"] for message in draw_lesson(source).messages)
        found.update(set(re.findall("[a-z]+", text.lower())))
    often = [word for word, number in found.items() if number >= share * count]
    return sorted(word for word in often if split_of(word) == "held_out")
