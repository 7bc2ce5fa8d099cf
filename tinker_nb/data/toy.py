"""Toy words and tasks for tutorials, tests and benchmarks.

Everything here is pure Python and deterministic.  A word belongs to the split
``"train"`` or ``"held_out"`` by a stable hash of its letters, so a held-out word
occurs in no training set, neither in pre-training nor in fine-tuning.

Examples
--------
>>> pig_latin("glorp")
'orpglay'
>>> pig_latin("apple")
'appleway'
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Literal

Split = Literal["train", "held_out"]
Conversation = list[dict[str, str]]

VOWELS = "aeiou"
PIG_LATIN_PROMPT = "Say in pig latin: {word}"

_HELD_OUT_ONE_IN = 8
_COMMON_SHARE = 0.15
_LENGTHS = range(3, 9)


def _split(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()


_ONSETS = (
    "",
    "",
    "",
    *_split(
        "b c d f g h j k l m n p r s t v w y z bl br cl cr dr fl fr gl gr pl pr "
        "sk sl sm sn sp st sw tr tw ch sh th str spr"
    ),
)
_MIDDLES = _split("b d f g k l m n p r s t v x z nd rk lt mp st rb sh ck nt ld")
_CODAS = (
    "",
    "",
    *_split("b d f g k l m n p r s t x z ck ft lk lt mp nd nk nt rb rk rp rt sh sk st"),
)

COMMON_WORDS: tuple[str, ...] = tuple(
    _split("""
    able acorn actor adult after again agree alarm album alone amber angel anger ankle answer
    apple apron april arrow artist aunt autumn avenue award bacon badge baker balloon banana
    banjo barrel basket beach beard beauty bench berry blanket blood board boat bottle bottom
    bread breeze brick bridge bright broom brother brush bubble bucket butter button cabin
    cactus cake camel camera candle canvas carpet carrot castle cattle center chair chalk
    cherry chicken circle circus clever clock cloud clover coast coffee comet cookie copper
    corner cotton cradle crayon cream crown curtain dance danger dawn desert diamond dinner
    doctor dollar dolphin dragon drawer dream dress drum eagle early earth east easter elbow
    empty engine evening family farmer father feather fence field finger fire flame flower
    forest fossil fountain frame friend frost garden garlic gentle ghost giant ginger glass
    globe glove golden guitar hammer harbor harvest hazel heart helmet hidden hill hollow honey
    hotel hour hunter island ivory jacket jelly jewel jungle kettle kitchen kitten knight
    ladder lamp lantern laugh lawn leaf lemon letter light lizard lucky lunch magic maple
    marble market meadow melon metal middle minute mirror mitten moment monkey morning moss
    mother motor mountain muffin music mustard napkin needle never nickel night noodle north
    number ocean office olive onion orange orbit orchard oven oyster paint palace panda paper
    parrot party peach peanut pearl pebble pencil pepper piano pickle picnic picture pillow
    pilot planet plate plenty pocket poem potato powder present prince puddle pumpkin puppet
    purple puzzle quick quiet rabbit radio rain rainbow raven ribbon river robin rocket roof
    saddle sailor salad salmon sand school scissors season secret shadow shelf shell shoulder
    silent silver simple sister sleepy smile smooth soap sofa soldier south spider spinach
    spoon spring square squirrel stable star station stone story straw street summer sunset
    supper sweater table teacher temple thunder ticket tiger tomato tower trail train travel
    tree tulip tunnel turkey turtle umbrella uncle under valley vanilla velvet village violin
    voyage wagon walnut water weather west whale wheat wheel whisper willow window winter
    wisdom wonder wool yellow yogurt zebra zipper
    """)
)

TRAIN_ONLY: frozenset[str] = frozenset(
    _split("""
    apple barn beach black calf calm canada capitalise castle cat change cherry cock contain
    crow danced day denmark donkey drum false field for friday from full goat have helsinki
    hey hive home hoot horse last left list long lose loud monkey moo move names nice
    october only opposite orange order ottawa remove repeat ribbit roar sat says sour spaces
    spain spelled squeak story swam tall thank them tokyo told vowels warsaw wet
    """)
)
"""Words of the base model's small talk that the hash alone would hold out."""


def split_of(word: str) -> Split:
    """Say to which split a word belongs.

    Parameters
    ----------
    word : str
        Any word; case does not matter.

    Returns
    -------
    str
        ``"train"`` or ``"held_out"``, the same on every machine and run.
    """
    lowered = word.lower()
    if len(lowered) < _LENGTHS.start or lowered in TRAIN_ONLY:
        return "train"
    held_out = zlib.crc32(lowered.encode()) % _HELD_OUT_ONE_IN == 0
    return "held_out" if held_out else "train"


def common_words(split: Split) -> list[str]:
    """List the common English words of a split.

    Parameters
    ----------
    split : str
        ``"train"`` or ``"held_out"``.

    Returns
    -------
    list of str
        The words, in alphabetical order.
    """
    return sorted(word for word in set(COMMON_WORDS) if split_of(word) == split)


def pseudo_word(rng: random.Random) -> str:
    """Make up one pronounceable lower-case word of three to eight letters.

    Parameters
    ----------
    rng : random.Random
        Source of randomness; it is advanced.

    Returns
    -------
    str
        A word of either split that does not end in ``"ay"``.
    """
    while True:
        word = rng.choice(_ONSETS) + rng.choice(VOWELS)
        for _ in range(rng.choice((0, 0, 1, 1, 1, 2))):
            word += rng.choice(_MIDDLES) + rng.choice(VOWELS)
        word += rng.choice(_CODAS)
        if len(word) in _LENGTHS and not word.endswith("ay"):
            return word


def iter_words(rng: random.Random, split: Split) -> Iterator[str]:
    """Draw words of a split without end; a word may come twice.

    Parameters
    ----------
    rng : random.Random
        Source of randomness; it is advanced.
    split : str
        ``"train"`` or ``"held_out"``.

    Yields
    ------
    str
        Mostly made-up words, now and then a common English one.
    """
    common = common_words(split)
    while True:
        word = rng.choice(common) if rng.random() < _COMMON_SHARE else pseudo_word(rng)
        if split_of(word) == split:
            yield word


def random_words(count: int, *, seed: int, split: Split) -> list[str]:
    """Draw different words of a split.

    Parameters
    ----------
    count : int
        How many words.
    seed : int
        The same seed gives the same words.
    split : str
        ``"train"`` or ``"held_out"``.

    Returns
    -------
    list of str
        ``count`` different words.
    """
    words: dict[str, None] = {}
    rng = random.Random(seed)  # noqa: S311
    for word in iter_words(rng, split):
        if len(words) >= count:
            break
        words[word] = None
    return list(words)


def pig_latin(word: str) -> str:
    """Translate a lower-case word to Pig Latin.

    Leading consonants move to the end and ``"ay"`` follows; a word that starts
    with one of ``aeiou`` only takes ``"way"``.

    Parameters
    ----------
    word : str
        The word.

    Returns
    -------
    str
        Its translation, such as ``"orpglay"`` for ``"glorp"``.
    """
    if word.startswith(tuple(VOWELS)):
        return word + "way"
    start = next((i for i, letter in enumerate(word) if letter in VOWELS), len(word))
    return word[start:] + word[:start] + "ay"


def pig_latin_conversations(count: int, *, seed: int, split: Split) -> list[Conversation]:
    """Make conversations that ask for one word in Pig Latin.

    Parameters
    ----------
    count : int
        How many conversations, each about another word.
    seed : int
        The same seed gives the same conversations.
    split : str
        ``"train"`` or ``"held_out"``.

    Returns
    -------
    list of list of dict
        Conversations of one user turn and one assistant turn.
    """
    return [_ask(word) for word in random_words(count, seed=seed, split=split)]


def _ask(word: str) -> Conversation:
    """Make the conversation about one word."""
    return [
        {"role": "user", "content": PIG_LATIN_PROMPT.format(word=word)},
        {"role": "assistant", "content": pig_latin(word)},
    ]
