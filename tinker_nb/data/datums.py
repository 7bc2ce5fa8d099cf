"""Conversations to training data: shifted targets and the weights that say what is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from tinker_nb.data.chat import ChatTokenizer, Conversation, Rendered
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.data import Datum, ModelInput

TrainOn = Literal["last_assistant", "all_assistant", "all"]


def conversation_to_datum(
    conversation: Conversation, tokenizer: ChatTokenizer, *, train_on: TrainOn = "all_assistant"
) -> Datum:
    """Return a conversation as one datum for ``cross_entropy``.

    A conversation in which nobody but the user speaks is learnt as a whole.

    Parameters
    ----------
    conversation
        Messages with ``role`` and ``content``.
    tokenizer
        The model's.
    train_on
        Which tokens weigh 1: the last assistant turn, every assistant turn, or all.

    Returns
    -------
    Datum
        ``model_input`` of N - 1 tokens; ``target_tokens`` and ``weights`` of the same length.

    Raises
    ------
    InvalidInputError
        The conversation is empty, too short, or its template refuses it.
    """
    if train_on not in get_args(TrainOn):
        raise InvalidInputError(
            f"train_on is one of {', '.join(get_args(TrainOn))}; not {train_on!r}."
        )
    rendered = tokenizer.render(conversation)
    if len(rendered.tokens) < 2:
        raise InvalidInputError(
            "The conversation has fewer than two tokens; nothing can be learnt."
        )
    weights = _weights(rendered, train_on)
    return Datum(
        ModelInput.from_ints(rendered.tokens[:-1]),
        {"target_tokens": rendered.tokens[1:], "weights": weights[1:]},
    )


def conversations_to_datums(
    conversations: Sequence[Conversation],
    tokenizer: ChatTokenizer,
    *,
    train_on: TrainOn = "all_assistant",
) -> list[Datum]:
    """Return each conversation as a datum; a refusal names the conversation by its place."""
    datums = []
    for index, conversation in enumerate(conversations):
        try:
            datums.append(conversation_to_datum(conversation, tokenizer, train_on=train_on))
        except InvalidInputError as error:
            raise InvalidInputError(f"Conversation {index}: {error.message}") from error
    return datums


def _weights(rendered: Rendered, train_on: TrainOn) -> list[float]:
    marks = rendered.assistant
    if train_on == "all" or not any(marks):
        return [1.0] * len(marks)
    if train_on == "last_assistant":
        marks = _last_run(marks)
    return [float(mark) for mark in marks]


def _last_run(marks: Sequence[bool]) -> list[bool]:
    """Keep only the last unbroken run of marks."""
    end = len(marks) - list(reversed(marks)).index(True)
    start = end
    while start > 0 and marks[start - 1]:
        start -= 1
    return [start <= index < end for index in range(len(marks))]
