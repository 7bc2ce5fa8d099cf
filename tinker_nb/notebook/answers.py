"""What a model answered, as text."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinker_nb.client.states import FutureSnapshot
from tinker_nb.data.chat import ChatTokenizer
from tinker_nb.wire.results import SampleResponse


@dataclass(frozen=True)
class Answers:
    """The answers to one prompt.

    Parameters
    ----------
    texts
        Each sample as text, without special tokens.
    response
        The samples as they came, with tokens and log-probabilities.
    """

    texts: list[str]
    response: SampleResponse = field(repr=False)

    @property
    def text(self) -> str:
        """The first answer."""
        return self.texts[0]

    def __str__(self) -> str:
        return "\n".join(self.texts)


def read_answers(response: SampleResponse, tokenizer: ChatTokenizer) -> Answers:
    """Return a response as text."""
    return Answers([tokenizer.decode(each.tokens) for each in response.sequences], response)


def describe_answers(snapshot: FutureSnapshot) -> str:
    """Return the answers in one line, for a card."""
    answers = snapshot.result
    return " · ".join(answers.texts) if isinstance(answers, Answers) else ""
