"""Conversations out of lists, JSONL, transcripts and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinker_nb.data.reading import as_examples, read_file, read_jsonl, read_text
from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.wire.data import Datum, ModelInput

HELLO = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
DATUM = Datum(ModelInput.from_ints([1]), {"target_tokens": [2]})


@pytest.mark.parametrize(
    ("value", "examples"),
    [
        (HELLO, [HELLO]),
        ([HELLO, HELLO], [HELLO, HELLO]),
        ({"messages": HELLO, "source": "x"}, [HELLO]),
        ([{"messages": HELLO}], [HELLO]),
        (DATUM, [DATUM]),
        ([DATUM, DATUM], [DATUM, DATUM]),
    ],
)
def test_what_counts_as_examples(value: Any, examples: Any) -> None:
    assert as_examples(value) == examples


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "no data"),
        (7, "a int is no data"),
        ("text", "is no data"),
        ([HELLO, []], "Example 1 is no conversation"),
        ([HELLO, [{"role": "user"}]], "Example 1: a message needs"),
        ([[{"role": "robot", "content": "x"}]], "'robot' is none of"),
    ],
)
def test_what_does_not(value: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=f"(?i){words}"):
        as_examples(value)


def test_a_cell_of_turns() -> None:
    text = "user: Hi\nassistant: Hello\n\nthere\n---\nsystem: Be brief\nuser: Bye"
    assert read_text(text) == [
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello\n\nthere"}],
        [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Bye"}],
    ]


def test_a_cell_without_turns_is_one_user_message() -> None:
    assert read_text("  Say in pig latin: glorp\n") == [
        [{"role": "user", "content": "Say in pig latin: glorp"}]
    ]


def test_a_cell_of_jsonl() -> None:
    lines = "\n\n".join([json.dumps(HELLO), json.dumps({"messages": HELLO})])
    assert read_text(lines) == [HELLO, HELLO]


def test_a_broken_line_is_named() -> None:
    with pytest.raises(InvalidInputError, match="Line 2 is not JSON"):
        read_jsonl(json.dumps(HELLO) + "\n{oops")


def test_text_before_the_first_turn_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="before the first"):
        read_text("hello\nuser: Hi")


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(HELLO) + "\n", encoding="utf-8")
    assert read_file(path) == [HELLO]
    with pytest.raises(UnknownNameError, match="cannot be read"):
        read_file(tmp_path / "none.jsonl")
