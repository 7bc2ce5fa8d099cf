"""Conversations to training data: shifted targets and the weights that say what is learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

from tinker_nb.data.chat import ChatTokenizer, Conversation
from tinker_nb.data.messages import assistant_places
from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.data import Datum, ModelInput

if TYPE_CHECKING:
    from tinker_nb.data.turns import Turns

TrainOn = Literal["last_assistant", "all_assistant", "all"]


def conversation_to_datum(
    conversation: Conversation, tokenizer: ChatTokenizer, *, train_on: TrainOn = "all_assistant"
) -> Datum:
    """Return a conversation as one datum for ``cross_entropy``.

    A conversation in which nobody but the user speaks is learnt as a whole; one with an assistant
    never is unless asked for.

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
        The conversation is empty, too short or not of text alone, its template refuses it, or it
        cannot be told where the assistant speaks.
    """
    if train_on not in get_args(TrainOn):
        raise InvalidInputError(
            f"train_on is one of {', '.join(get_args(TrainOn))}; not {train_on!r}."
        )
    tokens, weights = _weighed(conversation, tokenizer, train_on)
    if len(tokens) < 2:
        raise InvalidInputError(
            "The conversation has fewer than two tokens; nothing can be learnt."
        )
    return Datum(
        ModelInput.from_ints(tokens[:-1]),
        {"target_tokens": tokens[1:], "weights": weights[1:]},
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
            message = f"Conversation {index}: {error.message}"
            raise InvalidInputError(message, advice=error.advice) from error
    return datums


def _weighed(
    conversation: Conversation, tokenizer: ChatTokenizer, train_on: TrainOn
) -> tuple[list[int], list[float]]:
    """Return a conversation's tokens and what each weighs as a target."""
    if train_on == "all":
        tokens = tokenizer.apply_chat_template(conversation)
        return tokens, [1.0] * len(tokens)
    turns: Turns = "last" if train_on == "last_assistant" else "all"
    rendered = tokenizer.render(conversation, turns=turns)
    if not assistant_places(conversation):
        return rendered.tokens, [1.0] * len(rendered.tokens)
    if not any(rendered.assistant[1:]):
        raise InvalidInputError("The assistant says nothing in it; nothing can be learnt.")
    return rendered.tokens, [float(mark) for mark in rendered.assistant]
