"""Messages and conversations: what the package takes for one, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinker_nb.errors import InvalidInputError

Message = Mapping[str, str]
Conversation = Sequence[Message]

_FOR_TEMPLATES = ("role", "content", "name", "reasoning_content", "thinking")
_TOOL_KEYS = ("tool_calls", "tool_call_id", "function_call")
_LISTENERS = frozenset({"system", "developer", "user"})


def checked_message(message: Any) -> dict[str, str]:
    """Return what templates read of a message: its role, its text, and other texts they know.

    Raises
    ------
    InvalidInputError
        It is no message, or not one of text alone.
    """
    if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
        raise InvalidInputError("a message needs 'role' and a text 'content'.")
    if message["role"] == "tool" or any(_given(message.get(key)) for key in _TOOL_KEYS):
        raise InvalidInputError(
            "messages of tools and calls to them are not supported; write them as text of the "
            "roles system, user and assistant."
        )
    if not isinstance(message.get("content"), str):
        raise InvalidInputError(_no_text(message.get("content")))
    # Data sets with one column for all messages fill the keys a message lacks with nothing.
    return {key: message[key] for key in _FOR_TEMPLATES if isinstance(message.get(key), str)}


def checked_conversation(conversation: Any) -> list[dict[str, str]]:
    """Return the messages of a conversation; a refusal names the message by its place."""
    if isinstance(conversation, str | bytes | Mapping) or not isinstance(conversation, Sequence):
        raise InvalidInputError(
            f"A {type(conversation).__name__} is no conversation: give a list of messages."
        )
    if not conversation:
        raise InvalidInputError("The conversation is empty.")
    checked = []
    for place, message in enumerate(conversation):
        try:
            checked.append(checked_message(message))
        except InvalidInputError as error:
            raise InvalidInputError(f"Message {place}: {error.message}") from error
    return checked


def assistant_places(conversation: Conversation) -> list[int]:
    """Return where the assistant speaks.

    Raises
    ------
    InvalidInputError
        Somebody else speaks instead, so that it is unclear what is to be learnt.
    """
    places = [at for at, each in enumerate(conversation) if each["role"] == "assistant"]
    others = {each["role"] for each in conversation} - _LISTENERS
    if others and not places:
        raise InvalidInputError(
            f"Nobody speaks as 'assistant' in it, but as {', '.join(map(repr, sorted(others)))}.",
            advice="Rename the role whose words are to be learnt, or use train_on='all'.",
        )
    return places


def _given(value: Any) -> bool:
    """Say whether a key holds something: arrays have no truth value, and NaN is nothing."""
    return hasattr(value, "__len__") and len(value) > 0


def _no_text(content: Any) -> str:
    if content is None:
        return "a message needs 'role' and a text 'content'."
    if isinstance(content, Mapping) or hasattr(content, "__len__"):
        return "its content is in parts; only text is supported, so join the texts to one."
    return f"a message needs a text 'content', not {content!r}."
