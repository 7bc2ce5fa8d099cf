"""Tasks on words, letters and numbers."""

from __future__ import annotations

from collections.abc import Callable

from lessons import Slots, Source, Task

from tinker_nb.data.toy import VOWELS

Edit = Callable[[str], str]


def _one(source: Source) -> Slots:
    """Draw one word, sometimes a longer or scrambled one."""
    return {"w": _stuff(source)}


def _stuff(source: Source) -> str:
    """Draw a word; now and then two in one, scrambled or cut short."""
    word, roll = source.word(), source.rng.random()
    if roll < 0.06:
        return "".join(source.rng.sample(word, len(word)))
    if roll < 0.10:
        return (word + source.word())[: source.rng.randint(9, 12)]
    return word


def _two(source: Source) -> Slots:
    """Draw two words."""
    return {"w": source.word(), "v": source.word()}


def _times(source: Source) -> Slots:
    """Draw a word and a small number."""
    return {"w": source.word(), "n": str(source.rng.randint(2, 4))}


def _several(source: Source) -> Slots:
    """Draw two to five words in a row."""
    return {"w": " ".join(source.word() for _ in range(source.rng.randint(2, 5)))}


def _sum(source: Source) -> Slots:
    """Draw two numbers up to twelve; some pairs are held out."""
    while True:
        a, b = source.rng.randint(0, 12), source.rng.randint(0, 12)
        if source.is_mine(f"sum:{a}+{b}"):
            return {"a": str(a), "b": str(b)}


def _pair(source: Source) -> Slots:
    """Draw two different numbers below a hundred; some pairs are held out."""
    while True:
        a, b = source.rng.sample(range(100), 2)
        if source.is_mine(f"pair:{a},{b}"):
            return {"a": str(a), "b": str(b)}


def _range(source: Source) -> Slots:
    """Draw the two ends of a short count."""
    while True:
        a, length = source.rng.randint(0, 12), source.rng.randint(2, 6)
        if source.is_mine(f"range:{a},{length}"):
            return {"a": str(a), "b": str(a + length)}


def _count(slots: Slots) -> str:
    """Count up, both ends included."""
    return " ".join(str(n) for n in range(int(slots["a"]), int(slots["b"]) + 1))


def _yes(right: bool) -> str:
    """Say yes or no."""
    return "yes" if right else "no"


def _edit(name: str, edit: Edit, *phrasings: str) -> Task:
    """Make a task that edits one word."""
    return Task(name, _one, phrasings, lambda slots: edit(slots["w"]))


EDITS: tuple[Task, ...] = (
    _edit(
        "copy", str, "Repeat: {w}", "Repeat the word {w}.", "Say {w}.", "Copy this: {w}",
        "Echo {w}", "Say: {w}", "Can you say {w}?",
    ),
    _edit(
        "reverse", lambda w: w[::-1], "Reverse: {w}", "Reverse the word {w}.",
        "Write {w} backwards.", "What is {w} backwards?", "Spell {w} in reverse.",
        "Word: {w}\nReversed:",
    ),
    _edit(
        "upper", str.upper, "Upper case: {w}", "Write {w} in upper case.",
        "Put {w} in capital letters.", "Shout {w}!", "Word: {w}\nUpper case:",
    ),
    _edit(
        "capitalise", str.capitalize, "Capitalise: {w}", "Capitalise the word {w}.",
        "Write {w} with a capital letter.", "Make the first letter of {w} a capital.",
    ),
    _edit(
        "spell", "-".join, "Spell: {w}", "Spell the word {w}.", "How do you spell {w}?",
        "Spell {w} with dashes.", "Word: {w}\nSpelled:",
    ),
    _edit(
        "letters", " ".join, "Letters of {w}", "List the letters of {w}.",
        "Put spaces between the letters of {w}.", "Which letters are in {w}?",
    ),
    _edit(
        "rotate_left", lambda w: w[1:] + w[:1], "Rotate left: {w}", "Rotate {w} to the left.",
        "Move the first letter of {w} to the end.", "Word: {w}\nRotated left:",
    ),
    _edit(
        "rotate_right", lambda w: w[-1:] + w[:-1], "Rotate right: {w}",
        "Rotate {w} to the right.", "Move the last letter of {w} to the front.",
        "Word: {w}\nRotated right:",
    ),
    _edit(
        "first_letter", lambda w: w[0], "First letter: {w}", "What is the first letter of {w}?",
        "Which letter does {w} start with?", "{w} starts with which letter?",
    ),
    _edit(
        "last_letter", lambda w: w[-1], "Last letter: {w}", "What is the last letter of {w}?",
        "Which letter does {w} end with?", "{w} ends with which letter?",
    ),
    _edit(
        "drop_first", lambda w: w[1:], "Drop the first letter: {w}",
        "Remove the first letter of {w}.", "Write {w} without its first letter.",
    ),
    _edit(
        "drop_last", lambda w: w[:-1], "Drop the last letter: {w}",
        "Remove the last letter of {w}.", "Write {w} without its last letter.",
    ),
    _edit(
        "count_letters", lambda w: str(len(w)), "Count the letters: {w}",
        "How many letters are in {w}?", "How long is the word {w}?",
        "How many letters does {w} have?",
    ),
    _edit(
        "double", lambda w: "".join(c + c for c in w), "Double: {w}",
        "Double each letter of {w}.", "Write every letter of {w} twice.",
    ),
    _edit(
        "remove_vowels", lambda w: "".join(c for c in w if c not in VOWELS),
        "Remove the vowels: {w}", "Write {w} without vowels.", "Drop the vowels from {w}.",
    ),
    _edit(
        "keep_vowels", lambda w: "".join(c for c in w if c in VOWELS), "Vowels: {w}",
        "Keep only the vowels of {w}.", "Which vowels are in {w}?",
    ),
    _edit(
        "starts_with_vowel", lambda w: _yes(w[0] in VOWELS), "Does {w} start with a vowel?",
        "Is the first letter of {w} a vowel?", "Starts with a vowel: {w}",
    ),
)  # fmt: skip

OTHERS: tuple[Task, ...] = (
    Task(
        "swap_words", _two,
        ("Swap: {w} {v}", "Swap the words {w} and {v}.", "Exchange {w} and {v}."),
        lambda s: f"{s['v']} {s['w']}",
    ),
    Task(
        "sort_words", _two,
        ("Sort: {w} {v}", "Sort the words {w} and {v}.", "Put {w} and {v} in order."),
        lambda s: " ".join(sorted((s["w"], s["v"]))),
    ),
    Task(
        "join_words", _two,
        ("Join: {w} {v}", "Join the words {w} and {v}.", "Make one word of {w} and {v}."),
        lambda s: s["w"] + s["v"],
    ),
    Task(
        "repeat_times", _times,
        ("Say {w} {n} times.", "Repeat {w} {n} times.", "Write the word {w} {n} times."),
        lambda s: " ".join([s["w"]] * int(s["n"])),
    ),
    Task(
        "initials", _several,
        ("Initials: {w}", "Give the initials of {w}.", "Take the first letter of each word: {w}"),
        lambda s: "".join(word[0] for word in s["w"].split()),
    ),
    Task(
        "count_words", _several,
        ("Count the words: {w}", "How many words are there? {w}", "How many words: {w}"),
        lambda s: str(len(s["w"].split())),
    ),
    Task(
        "sum", _sum,
        ("What is {a} + {b}?", "{a} + {b}", "Add {a} and {b}.", "{a} plus {b}", "{a}+{b}="),
        lambda s: str(int(s["a"]) + int(s["b"])),
    ),
    Task(
        "larger", _pair,
        ("Which is larger, {a} or {b}?", "Larger: {a} {b}", "Which number is bigger, {a} or {b}?"),
        lambda s: str(max(int(s["a"]), int(s["b"]))),
    ),
    Task(
        "count_up", _range,
        ("Count from {a} to {b}.", "Count: {a} to {b}", "Numbers from {a} to {b}"),
        _count,
    ),
)  # fmt: skip

STRING_TASKS: tuple[Task, ...] = EDITS + OTHERS

WEIGHTS = {
    "sum": 2.0, "reverse": 2.5, "larger": 1.5, "count_up": 1.5, "rotate_left": 1.5,
    "rotate_right": 1.5, "drop_last": 1.5, "sort_words": 1.5, "starts_with_vowel": 1.5,
    "double": 1.5, "initials": 1.5, "copy": 0.7, "upper": 0.7, "capitalise": 0.7,
}  # fmt: skip
STRING_WEIGHTS: tuple[float, ...] = tuple(WEIGHTS.get(task.name, 1.0) for task in STRING_TASKS)
