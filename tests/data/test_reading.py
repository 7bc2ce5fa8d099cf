"""Conversations out of lists, JSONL, transcripts and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinker_nb.data.reading import as_examples, load_conversations, read_file, read_jsonl, read_text
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
        ([HELLO, []], "Example 1: it is no conversation"),
        ([HELLO, [{"role": "user"}]], "Example 1: a message needs"),
        ([[{"role": "robot", "content": "x"}]], "'robot' is none of"),
    ],
)
def test_what_does_not(value: Any, words: str) -> None:
    with pytest.raises(InvalidInputError, match=f"(?i){words}"):
        as_examples(value)


@pytest.mark.parametrize(
    ("row", "conversation"),
    [
        ({"prompt": "Hi", "completion": "Hello"}, HELLO),
        ({"prompt": "Hi", "response": "Hello"}, HELLO),
        ({"prompt": "Hi", "answer": "Hello"}, HELLO),
        ({"question": "Hi", "answer": "Hello"}, HELLO),
        ({"instruction": "Hi", "output": "Hello"}, HELLO),
        ({"instruction": "Hi", "input": "", "output": "Hello"}, HELLO),
        ({"instruction": "Hi", "input": None, "output": "Hello"}, HELLO),
        (
            {"instruction": "Add", "input": "1 2", "output": "3"},
            [{"role": "user", "content": "Add\n\n1 2"}, {"role": "assistant", "content": "3"}],
        ),
        ({"prompt": HELLO[:1], "completion": HELLO[1:]}, HELLO),
        ({"text": "Once"}, [{"role": "user", "content": "Once"}]),
        ({"prompt": "first words", "messages": HELLO}, HELLO),
        ({"messages": np.array(HELLO, dtype=object)}, HELLO),
    ],
)
def test_rows_become_conversations(row: dict[str, Any], conversation: Any) -> None:
    assert as_examples([row]) == [conversation]
    assert as_examples(row) == [conversation]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"a": 1, "b": 2}, "no conversation is made of a, b; give messages; prompt with"),
        ({"prompt": "Hi"}, "made of prompt; give"),
        ({}, "made of no columns"),
        ({"prompt": "Hi", "completion": None}, "'completion' must hold a text, not None"),
        ({"prompt": float("nan"), "completion": "x"}, "'prompt' must hold a text, not nan"),
        ({"messages": None}, "it is no conversation"),
        ({"messages": [{"role": "tool", "content": "4"}]}, "messages of tools"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "only text"),
    ],
)
def test_a_row_that_is_none_is_named(row: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^Example 1: .*{words}"):
        as_examples([{"messages": HELLO}, row])
    lines = "\n".join(json.dumps(each) for each in [{"messages": HELLO}, row])
    with pytest.raises(InvalidInputError, match=f"^Line 2: .*{words}"):
        read_jsonl(lines)


def test_texts_that_templates_know_are_kept_and_others_not() -> None:
    thought = {"role": "assistant", "content": "4", "reasoning_content": "2 + 2"}
    extra = {**thought, "tool_calls": None, "weight": 1.0, "id": "x"}
    assert as_examples([[HELLO[0], extra]]) == [[HELLO[0], thought]]


def test_what_was_given_is_left_as_it_was() -> None:
    row = {"prompt": [{"role": "user", "content": "a"}], "completion": "b"}
    before = json.dumps(row)
    found = as_examples([row])
    assert isinstance(found[0], list)
    found[0][0]["content"] = "changed"
    assert json.dumps(row) == before


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


def test_a_line_may_hold_any_text() -> None:
    strange = [{"role": "user", "content": "a\u2028b\x85c"}, HELLO[1]]
    lines = "\r\n".join([json.dumps(strange, ensure_ascii=False), json.dumps(HELLO)])
    assert read_jsonl(lines) == [strange, HELLO]


def test_no_lines_are_no_data() -> None:
    with pytest.raises(InvalidInputError, match="There is no data"):
        read_jsonl("\n\n")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_file_holds_a_list(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "data.json"
    path.write_text(json.dumps([{"prompt": "Hi", "answer": "Hello"}] * 2, indent=indent))
    assert read_file(path) == [HELLO, HELLO]


def test_a_json_file_may_hold_lines(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text("\ufeff" + f"{json.dumps(HELLO)}\n{json.dumps(HELLO)}\n", encoding="utf-8")
    assert read_file(path) == [HELLO, HELLO]


def test_conversations_are_loaded_from_a_path_or_from_values(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps({"prompt": "Hi", "completion": "Hello"}), encoding="utf-8")
    assert load_conversations(path) == load_conversations(str(path)) == [HELLO]
    assert load_conversations([HELLO]) == load_conversations(HELLO) == [HELLO]
    with pytest.raises(InvalidInputError, match="Example 0"):
        load_conversations([DATUM])
