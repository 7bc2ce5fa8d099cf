"""Small talk: facts of the closed world, manners, memory and open questions."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable

import facts
from lessons import Message, Slots, Source, Task

Reply = Callable[[random.Random], str]

IDENTITY = "I am tiny-chat, a small language model."
UNTOLD = "You have not told me your name."
UNKNOWN = "I do not know."


def turn(user: str, assistant: str) -> list[Message]:
    """Make a user turn and the answer to it."""
    return [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]


def _fact(name: str, table: dict[str, str], sentence: str, *phrasings: str) -> Task:
    """Make a task that looks a fact up; unknown subjects get an honest answer."""
    keys = sorted(table)

    def slots(source: Source) -> Slots:
        if source.rng.random() < 0.15:
            word = source.word()
            return {"k": word.capitalize() if keys[0][0].isupper() else word}
        return {"k": source.rng.choice(keys)}

    def answer(s: Slots) -> str:
        return _sentence(sentence.format(**s, v=table[s["k"]])) if s["k"] in table else UNKNOWN

    def brief(s: Slots) -> str:
        return table.get(s["k"], UNKNOWN)

    return Task(name, slots, phrasings, answer, combine=True, brief=brief)


def mend_articles(text: str) -> str:
    """Write "an" before a vowel."""
    return re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)


def _sentence(text: str) -> str:
    """Mend articles and the first letter."""
    text = mend_articles(text)
    return text[0].upper() + text[1:]


def _following(items: list[str]) -> dict[str, str]:
    """Map each item to the one after it, in a circle."""
    return dict(zip(items, items[1:] + items[:1], strict=True))


_PREVIOUS = {after: before for before, after in _following(facts.DAYS).items()}
_LETTERS = list("abcdefghijklmnopqrstuvwxyz")

FACT_TASKS: tuple[Task, ...] = (
    _fact(
        "colour", facts.COLOURS, "The {k} is {v}.", "What colour is the {k}?",
        "Tell me the colour of {k}.", "Which colour does {k} have?", "What color is {k}?",
        "The colour of {k}, please?",
    ),
    _fact(
        "sound", facts.SOUNDS, "The {k} says {v}.", "What does the {k} say?",
        "What sound does a {k} make?", "Tell me the sound of a {k}.", "How does a {k} go?",
    ),
    _fact(
        "home", facts.HOMES, "The {k} lives in the {v}.", "Where does the {k} live?",
        "What is the home of a {k}?", "Tell me where a {k} lives.", "Where can I find a {k}?",
    ),
    _fact(
        "baby", facts.BABIES, "A baby {k} is a {v}.", "What is a baby {k} called?",
        "What do you call a young {k}?", "Name the baby of a {k}.", "What is a young {k}?",
    ),
    _fact(
        "legs", facts.LEGS, "A {k} has {v} legs.", "How many legs does a {k} have?",
        "How many legs has a {k}?", "Count the legs of a {k}.", "Tell me the legs of a {k}.",
    ),
    _fact(
        "opposite", facts.OPPOSITES, "The opposite of {k} is {v}.",
        "What is the opposite of {k}?", "Opposite: {k}", "Tell me the opposite of {k}.",
        "Which word is the opposite of {k}?", "What is the reverse meaning of {k}?",
    ),
    _fact(
        "capital", facts.CAPITALS, "The capital of {k} is {v}.",
        "What is the capital of {k}?", "Capital of {k}?", "Tell me the capital of {k}.",
        "Which city is the capital of {k}?", "Name the capital of {k}.",
    ),
    _fact(
        "kind", facts.KINDS, "The word {k} names a {v}.", "What kind of thing is {k}?",
        "What is {k}?", "Tell me what {k} is.", "What does the word {k} name?",
    ),
    _fact(
        "day_after", _following(facts.DAYS), "{v} comes after {k}.",
        "What day comes after {k}?", "Which day follows {k}?", "What is the day after {k}?",
        "Day after {k}?", "Tell me the day after {k}.", "If today is {k}, what is tomorrow?",
    ),
    _fact(
        "day_before", _PREVIOUS, "{v} comes before {k}.", "What day comes before {k}?",
        "What is the day before {k}?", "Day before {k}?", "Tell me the day before {k}.",
        "If today is {k}, what was yesterday?",
    ),
    _fact(
        "month_after", _following(facts.MONTHS), "{v} comes after {k}.",
        "What month comes after {k}?", "Which month follows {k}?",
        "What is the month after {k}?", "Month after {k}?", "Tell me the month after {k}.",
    ),
    _fact(
        "letter_after", dict(itertools.pairwise(_LETTERS)),
        "The letter after {k} is {v}.", "What letter comes after {k}?",
        "Which letter follows {k}?", "Next letter: {k}", "Tell me the letter after {k}.",
    ),
)  # fmt: skip

MANNERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "greeting",
        ("Hello", "Hello!", "Hi", "Hi!", "Hi there", "Hey", "Good morning!", "Hello there!"),
        "Hello! How can I help you?",
    ),
    (
        "how_are_you",
        ("How are you?", "How are you today?", "How do you do?", "Are you well?"),
        "I am fine, thank you. How are you?",
    ),
    ("thanks", ("Thanks", "Thank you!", "Thanks a lot.", "Many thanks!"), "You are welcome!"),
    ("goodbye", ("Bye", "Goodbye!", "Bye bye!", "See you later.", "Good night."), "Goodbye!"),
    (
        "identity",
        (
            "What is your name?",
            "Who are you?",
            "What are you called?",
            "Tell me your name.",
            "Your name?",
            "What are you?",
            "Introduce yourself.",
        ),
        IDENTITY,
    ),
    (
        "skills",
        ("What can you do?", "How can you help me?", "Help", "Tell me what you can do."),
        "I can play with words, add small numbers and chat a little.",
    ),
    (
        "human",
        ("Are you a human?", "Are you a robot?", "Are you real?", "Are you an animal?"),
        "No, I am a small language model.",
    ),
)

NAME_TOLD = ("My name is {n}.", "I am {n}.", "Call me {n}.", "Hi, I am {n}.", "Hello, I'm {n}!")
NAME_ASKED = ("What is my name?", "Who am I?", "Do you know my name?", "Say my name.")
FAVOURITES = {
    "colour": facts.COLOUR_NAMES,
    "animal": facts.ANIMALS,
    "fruit": facts.FRUIT,
}


def _fill(rng: random.Random, pattern: str) -> str:
    """Fill a pattern with words of the closed world."""
    adj, adj2 = rng.sample(facts.ADJECTIVES, 2)
    animal, animal2 = rng.sample(facts.ANIMALS, 2)
    act, act2 = rng.sample(facts.ACTIONS, 2)
    place, place2 = rng.sample(facts.PLACES, 2)
    text = pattern.format(
        adj=adj, adj2=adj2, animal=animal, animal2=animal2, act=act, act2=act2,
        place=place, place2=place2, thing=rng.choice(facts.THINGS),
    )  # fmt: skip
    return _sentence(text)


def _compliment(rng: random.Random) -> str:
    """Say one or two nice things."""
    lines = rng.sample(facts.COMPLIMENTS, rng.choice((1, 1, 2)))
    return " ".join(_fill(rng, line) for line in lines)


def _story(rng: random.Random) -> str:
    """Tell a story of one to four sentences."""
    count = rng.randint(0, 3)
    lines = [facts.STORY_LINES[0], *rng.sample(facts.STORY_LINES[1:], count)]
    return " ".join(_fill(rng, line) for line in lines)


OPEN: tuple[tuple[str, tuple[str, ...], Reply], ...] = (
    (
        "nice",
        ("Say something nice.", "Say something kind.", "Be nice to me.", "Cheer me up."),
        _compliment,
    ),
    (
        "story",
        ("Tell me a story.", "Tell a story.", "Write a story.", "Tell me a short story."),
        _story,
    ),
    (
        "animal",
        ("Name an animal.", "Tell me an animal.", "Pick an animal."),
        lambda rng: rng.choice(facts.ANIMALS),
    ),
    (
        "fruit",
        ("Name a fruit.", "Tell me a fruit.", "Pick a fruit."),
        lambda rng: rng.choice(facts.FRUIT),
    ),
    (
        "colour_name",
        ("Name a colour.", "Tell me a colour.", "Pick a colour."),
        lambda rng: rng.choice(facts.COLOUR_NAMES),
    ),
    (
        "number",
        ("Pick a number.", "Tell me a number.", "Pick a number from 0 to 99."),
        lambda rng: str(rng.randint(0, 99)),
    ),
    ("coin", ("Flip a coin.", "Heads or tails?"), lambda rng: rng.choice(("heads", "tails"))),
    ("die", ("Roll a die.", "Roll the dice."), lambda rng: str(rng.randint(1, 6))),
)
WORD_ASKED = ("Tell me a word.", "Say a word.", "Give me a word.", "Any word, please.")


ABOUT = (
    "The {a} {act} in the {place}.",
    "The {a} is {adj}.",
    "The {a} {act} with the {animal}.",
    "A {adj} {a} {act} to the {place}.",
    "The {a} has a {adj} {thing}.",
)


def about(source: Source) -> list[Message]:
    """Ask for a sentence about an animal."""
    animal = source.rng.choice(facts.ANIMALS)
    pattern = source.rng.choice(("Write a sentence about a {}.", "Tell me about the {}."))
    reply = source.rng.choice(ABOUT)
    return turn(
        mend_articles(pattern.format(animal)), _fill(source.rng, reply.replace("{a}", animal))
    )


def open_turn(source: Source) -> list[Message]:
    """Ask something with many right answers."""
    rng = source.rng
    roll = rng.random()
    if roll < 0.2:
        return turn(rng.choice(WORD_ASKED), source.common_word())
    if roll < 0.35:
        return about(source)
    _, phrasings, reply = rng.choice(OPEN + OPEN[:2])
    return turn(rng.choice(phrasings), reply(rng))


def manners_turn(source: Source) -> tuple[str, list[Message]]:
    """Draw a greeting or the like, and the name of its ability."""
    name, phrasings, reply = source.rng.choice(MANNERS)
    return name, turn(source.rng.choice(phrasings), reply)


def name_turns(source: Source) -> tuple[list[Message], list[Message]]:
    """Tell a name, and ask for it later."""
    name = source.word().capitalize()
    told = turn(source.rng.choice(NAME_TOLD).format(n=name), f"Nice to meet you, {name}!")
    return told, turn(source.rng.choice(NAME_ASKED), f"Your name is {name}.")


def favourite_turns(source: Source) -> tuple[list[Message], list[Message]]:
    """Tell a favourite thing, and ask for it later."""
    kind = source.rng.choice(sorted(FAVOURITES))
    item = source.rng.choice(FAVOURITES[kind])
    told = turn(f"My favourite {kind} is {item}.", f"I like {item} too.")
    return told, turn(f"What is my favourite {kind}?", f"Your favourite {kind} is {item}.")
