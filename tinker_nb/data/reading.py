"""Conversations out of what a user has at hand: lists, JSONL text, transcripts, files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.data.datums import TrainOn, conversations_to_datums
from tinker_nb.data.frames import kind_of, read_frame
from tinker_nb.data.rows import ROLES, Shape, is_list, read_messages, read_row
from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.wire.data import Datum

Conversations = list[list[dict[str, str]]]
_TURN = re.compile(rf"^({'|'.join(ROLES)}):[ \t]?", re.MULTILINE)
_SEPARATOR = re.compile(r"^-{3,}[ \t]*$", re.MULTILINE)


def as_examples(value: Any) -> Conversations | list[Datum]:
    """Return one or many examples as a list of conversations or of datums.

    Parameters
    ----------
    value
        A `Datum`, a list of them, or anything `load_conversations` takes but a file.

    Raises
    ------
    InvalidInputError
        It is none of these; the message names the place.
    """
    if isinstance(value, Datum):
        return [value]
    if is_list(value) and len(value) and all(isinstance(item, Datum) for item in value):
        return list(value)
    return _loaded(value)


def load_conversations(source: Any) -> Conversations:
    """Return the conversations of a data set.

    Each example is a list of messages, or an object (a row, a line) with ``messages``; with
    ``prompt`` and ``completion``, ``response`` or ``answer``; with ``question`` and ``answer``;
    with ``instruction``, ``output`` and perhaps ``input``; or with ``text``, which is learnt as a
    whole.

    Parameters
    ----------
    source
        The path of a JSONL or JSON file, one example or a list of examples, a pandas ``DataFrame``
        or a Hugging Face ``Dataset``.

    Raises
    ------
    InvalidInputError
        It is none of these; the message names the row.
    UnknownNameError
        There is no such file.

    Examples
    --------
    >>> conversations = load_conversations("chats.jsonl")
    >>> conversations = load_conversations(datasets.load_dataset("openai/gsm8k", "main")["train"])
    """
    return read_file(source) if isinstance(source, str | Path) else _loaded(source)


def read_text(text: str) -> Conversations:
    """Read conversations from a cell: JSONL, or ``user:`` and ``assistant:`` turns.

    In the second form a line of dashes separates conversations, and a text without any turn is one
    user message.
    """
    stripped = text.strip()
    if not stripped:
        raise InvalidInputError("The cell is empty: give a conversation or JSONL lines.")
    if stripped[0] in "{[":
        return read_jsonl(stripped)
    parts = [part for part in _SEPARATOR.split(stripped) if part.strip()]
    return [_transcript(part.strip()) for part in parts]


def read_jsonl(text: str) -> Conversations:
    """Read one conversation per line, in any form `load_conversations` takes."""
    found = []
    # Not splitlines: a text inside JSON may hold other signs that count as its ends of lines.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise InvalidInputError(f"Line {number} is not JSON: {error.msg}.") from error
        found.append(_conversation(f"Line {number}", value))
    return _some(found)


def read_file(path: str | Path) -> Conversations:
    """Read a JSONL file, or a JSON file with a list of conversations."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownNameError(f"The file {str(path)!r} cannot be read: {error}.") from error
    if Path(path).suffix == ".json":
        try:
            return _loaded(json.loads(text))
        except json.JSONDecodeError:
            pass  # JSONL under the other name is common
    return read_jsonl(text)


def to_datums(
    examples: Conversations | list[Datum],
    tokenizer: ChatTokenizer,
    train_on: TrainOn = "all_assistant",
) -> list[Datum]:
    """Return examples as datums; those that are already stay as they are."""
    datums = [example for example in examples if isinstance(example, Datum)]
    if datums:
        return datums
    conversations = [example for example in examples if not isinstance(example, Datum)]
    return conversations_to_datums(conversations, tokenizer, train_on=train_on)


def _loaded(value: Any) -> Conversations:
    """Return the conversations of a data set that is at hand."""
    if (kind := kind_of(value)) is not None:
        shape, rows = read_frame(value, kind)
        return _some(_conversations("Row", rows, shape))
    if hasattr(value, "tolist"):  # an array, or one column of a data set
        value = value.tolist()
    if isinstance(value, Mapping) or (is_list(value) and len(value) and _is_message(value[0])):
        return _conversations("Example", [value])
    if not is_list(value):
        raise InvalidInputError(
            f"A {type(value).__name__} is no data; give conversations, datums, a data set, or a "
            "JSONL file."
        )
    return _some(_conversations("Example", value))


def _some(found: Conversations) -> Conversations:
    if not found:
        raise InvalidInputError("There is no data: give at least one example.")
    return found


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value


def _conversations(what: str, values: Iterable[Any], shape: Shape | None = None) -> Conversations:
    return [_conversation(f"{what} {place}", value, shape) for place, value in enumerate(values)]


def _conversation(place: str, value: Any, shape: Shape | None = None) -> list[dict[str, str]]:
    try:
        return read_row(value, shape) if isinstance(value, Mapping) else read_messages(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"{place}: {error.message}", advice=error.advice) from error


def _transcript(text: str) -> list[dict[str, str]]:
    parts = _TURN.split(text)
    if len(parts) == 1:
        return [{"role": "user", "content": text}]
    if parts[0].strip():
        raise InvalidInputError("Text stands before the first 'user:' or 'assistant:'.")
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": role, "content": content.strip()} for role, content in turns]
