"""Where the assistant speaks in a rendered conversation, for templates that do not mark it.

A template without ``{% generation %}`` is asked again: for the conversation up to an assistant's
message, with the words that ask for an answer, and for the conversation up to its end. What the
second text has more than the first is what the assistant says. That holds only where both texts
begin the whole one, which is checked: some templates write a turn differently once others follow
it, such as by leaving out its thinking.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from tinker_nb.data.messages import Conversation, assistant_places
from tinker_nb.data.template import ChatTemplate, MarkedText, Span, now
from tinker_nb.errors import InvalidInputError

Turns = Literal["all", "last"]


def render_turns(
    template: ChatTemplate,
    conversation: Conversation,
    turns: Turns = "all",
    end_tokens: Sequence[str] = (),
) -> MarkedText:
    """Return a conversation as text, with all turns of the assistant marked or the last one.

    Parameters
    ----------
    template
        The model's.
    conversation
        Messages; without an assistant among them nothing is marked.
    turns
        Which ones are marked.
    end_tokens
        Texts that end a turn; white space after one is the template's, not the assistant's.

    Raises
    ------
    InvalidInputError
        The template refuses the conversation, or it cannot be told where the assistant speaks.
    """
    finder = _Finder(template, conversation)
    whole, places = finder.whole, assistant_places(conversation)
    if not places:
        return MarkedText(whole.text)
    if whole.spans:
        return MarkedText(whole.text, finder.marked(places, turns))
    wanted = places if turns == "all" else places[-1:]
    spans = finder.found(wanted)
    return MarkedText(whole.text, tuple(_up_to_end(whole.text, s, end_tokens) for s in spans))


class _Finder:
    """The renderings of one conversation and of its beginnings, all at one time of the day."""

    def __init__(self, template: ChatTemplate, conversation: Conversation) -> None:
        self._template = template
        self._conversation = conversation
        self._variables: dict[str, Any] = {"strftime_now": now().strftime}
        self.whole = template.render(conversation, **self._variables)

    def marked(self, places: Sequence[int], turns: Turns) -> tuple[Span, ...]:
        """Return the template's own marks, or those of the last message, which may be several."""
        if turns == "all":
            return self.whole.spans
        begin = self._length(places[-1])
        after = [span for span in self.whole.spans if begin is not None and span[1] > begin]
        return tuple(after) or self.whole.spans[-1:]

    def found(self, places: Sequence[int]) -> list[Span]:
        """Return where the messages at these places are; they must be the assistant's."""
        spans: list[Span] = []
        for place in places:
            span = self._span(place)
            if span is None or (spans and span[0] < spans[-1][1]):
                raise self._unclear(place)
            spans.append(span)
        return spans

    def _span(self, place: int) -> Span | None:
        begin = self._length(place, add_generation_prompt=True)
        last = place == len(self._conversation) - 1
        end = len(self.whole.text) if last else self._length(place + 1)
        return None if begin is None or end is None or end < begin else (begin, end)

    def _length(self, count: int, *, add_generation_prompt: bool = False) -> int | None:
        """Return how far the first messages reach; nothing where their text begins no whole."""
        try:
            beginning = self._template.render(
                self._conversation[:count],
                add_generation_prompt=add_generation_prompt,
                **self._variables,
            )
        except InvalidInputError:
            return None
        return len(beginning.text) if self.whole.text.startswith(beginning.text) else None

    def _unclear(self, place: int) -> InvalidInputError:
        last = assistant_places(self._conversation)[-1]
        advice = "Use train_on='all' to learn from every token, the others' too."
        if place != last and self._span(last) is not None:
            advice = (
                "Use train_on='last_assistant' to learn from the last answer, or train_on='all'."
            )
        return InvalidInputError(
            f"It cannot be told which tokens the assistant says in message {place}: the chat "
            "template does not mark them, and what it makes of the messages up to there is not "
            "the beginning of what it makes of the whole conversation.",
            advice=advice,
        )


def _up_to_end(text: str, span: Span, end_tokens: Sequence[str]) -> Span:
    """Leave out white space after the token that ends the turn: no model writes on after it."""
    begin, end = span
    said = text[begin:end].rstrip()
    ended = bool(said) and said.endswith(tuple(end_tokens))
    return (begin, begin + len(said)) if ended else span
