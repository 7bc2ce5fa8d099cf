"""Exact match of every ability on prompts that were never trained on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import chat_tasks
import curriculum
from lessons import Lesson, Source, Task
from sampling import answers, prompt_ids
from string_tasks import STRING_TASKS

Draw = Callable[[Source], Lesson]


def draws() -> dict[str, Draw]:
    """List how to draw a lesson of each ability."""
    table: dict[str, Draw] = {}
    for task in STRING_TASKS + chat_tasks.FACT_TASKS:
        table[task.name] = _task_draw(task)
    table["unknown_subject"] = _unknown
    table["manners"] = _in_context
    table["memory"] = curriculum.memory_lesson
    table["system_upper"] = curriculum.upper_lesson
    table["system_brief"] = curriculum.brief_lesson
    table["system_persona"] = curriculum.persona_lesson
    table["again"] = _again
    table["raw_text"] = curriculum.raw_lesson
    return table


def _task_draw(task: Task) -> Draw:
    """Make a draw of single-turn lessons of one task."""

    def draw(source: Source) -> Lesson:
        make = curriculum.string_turn if task in STRING_TASKS else curriculum.fact_turn
        while True:
            name, messages = make(source, task)
            if messages[-1]["content"] != chat_tasks.UNKNOWN:
                return Lesson(name, tuple(messages))

    return draw


def _unknown(source: Source) -> Lesson:
    """Ask for a fact about a word that is not in the closed world."""
    while True:
        name, messages = curriculum.fact_turn(source)
        if messages[-1]["content"] == chat_tasks.UNKNOWN:
            return Lesson(name, tuple(messages))


def _in_context(source: Source) -> Lesson:
    """Greet, thank and so on after an unrelated turn."""
    before = curriculum.string_turn(source)[1]
    name, messages = chat_tasks.manners_turn(source)
    return Lesson(name, (*before, *messages))


def _again(source: Source) -> Lesson:
    """Ask to repeat the last answer."""
    before = curriculum.string_turn(source)[1]
    asked = chat_tasks.turn(source.rng.choice(curriculum.AGAIN), before[-1]["content"])
    return Lesson("again", (*before, *asked))


def has_one_answer(lesson: Lesson) -> bool:
    """Say whether the last question has one right answer."""
    asked = lesson.messages[-2]["content"]
    free = {p for _, phrasings, _ in chat_tasks.OPEN for p in phrasings} | {*chat_tasks.WORD_ASKED}
    about = ("Write a sentence about", "Tell me about")
    return asked not in free and not asked.startswith(about)


def held_out(draw: Draw, count: int, seed: int) -> list[Lesson]:
    """Draw different held-out lessons, fewer where there are not enough."""
    source, found = Source(seed, "held_out"), dict[str, Lesson]()
    for _ in range(count * 20):
        lesson = draw(source)
        if has_one_answer(lesson):
            found.setdefault(str(lesson.messages), lesson)
        if len(found) == count:
            break
    return list(found.values())


def score(model: Any, lessons: list[Lesson]) -> tuple[float, list[tuple[str, str, str]]]:
    """Measure exact match, and list the misses as prompt, answer, expected."""
    prompts = [prompt_ids(lesson.messages[:-1], lesson.raw) for lesson in lessons]
    wanted = [lesson.messages[-1]["content"] for lesson in lessons]
    given = answers(model, prompts)
    rows = zip(lessons, given, wanted, strict=True)
    misses = [(lesson.messages[-2]["content"], a, b) for lesson, a, b in rows if a != b]
    return 1 - len(misses) / len(lessons), misses
