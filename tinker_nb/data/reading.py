"""Conversations out of what a user has at hand: lists, JSONL text, transcripts, files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.data.datums import TrainOn, conversations_to_datums
from tinker_nb.errors import InvalidInputError, UnknownNameError
from tinker_nb.wire.data import Datum

Conversations = list[list[dict[str, str]]]
_ROLES = ("system", "user", "assistant")
_TURN = re.compile(rf"^({'|'.join(_ROLES)}):[ \t]?", re.MULTILINE)
_SEPARATOR = re.compile(r"^-{3,}[ \t]*$", re.MULTILINE)


def as_examples(value: Any) -> Conversations | list[Datum]:
    """Return one or many examples as a list of conversations or of datums.

    Parameters
    ----------
    value
        A `Datum`, a conversation (a list of messages), an object with ``messages``, or a list of
        any of these.

    Raises
    ------
    InvalidInputError
        It is none of these; the message names the place.
    """
    if isinstance(value, Datum):
        return [value]
    if isinstance(value, Mapping) or (_is_list(value) and value and _is_message(value[0])):
        return [_conversation(0, value)]
    if not _is_list(value):
        raise InvalidInputError(
            f"A {type(value).__name__} is no data; give conversations, datums, or a JSONL file."
        )
    if not value:
        raise InvalidInputError("There is no data: give at least one example.")
    if all(isinstance(item, Datum) for item in value):
        return list(value)
    return [_conversation(index, item) for index, item in enumerate(value)]


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
    """Read one conversation per line: a list of messages, or an object with ``messages``."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found.append(_conversation(number, json.loads(line)))
        except json.JSONDecodeError as error:
            raise InvalidInputError(f"Line {number} is not JSON: {error.msg}.") from error
    return found


def read_file(path: str | Path) -> Conversations:
    """Read a JSONL file."""
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnknownNameError(f"The file {str(path)!r} cannot be read: {error}.") from error
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


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_message(value: Any) -> bool:
    return isinstance(value, Mapping) and "role" in value


def _conversation(place: int, value: Any) -> list[dict[str, str]]:
    messages = value.get("messages") if isinstance(value, Mapping) else value
    if not _is_list(messages) or not messages:
        raise InvalidInputError(f"Example {place} is no conversation: give a list of messages.")
    return [_message(place, message) for message in messages]


def _message(place: int, message: Any) -> dict[str, str]:
    if not isinstance(message, Mapping) or not isinstance(message.get("content"), str):
        raise InvalidInputError(f"Example {place}: a message needs 'role' and a text 'content'.")
    if message.get("role") not in _ROLES:
        raise InvalidInputError(
            f"Example {place}: the role {message.get('role')!r} is none of {', '.join(_ROLES)}."
        )
    return {"role": message["role"], "content": message["content"]}


def _transcript(text: str) -> list[dict[str, str]]:
    parts = _TURN.split(text)
    if len(parts) == 1:
        return [{"role": "user", "content": text}]
    if parts[0].strip():
        raise InvalidInputError("Text stands before the first 'user:' or 'assistant:'.")
    turns = zip(parts[1::2], parts[2::2], strict=True)
    return [{"role": role, "content": content.strip()} for role, content in turns]
