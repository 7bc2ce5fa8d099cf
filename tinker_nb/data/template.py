"""Chat templates: Jinja texts of Hugging Face models, with the assistant's parts marked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tinker_nb.data.messages import Conversation
from tinker_nb.errors import InvalidInputError

Span = tuple[int, int]


@dataclass(frozen=True)
class MarkedText:
    """A conversation as text.

    Parameters
    ----------
    text
        The text.
    spans
        Where the assistant speaks in it: first character and the one after the last.
    """

    text: str
    spans: tuple[Span, ...] = ()


class ChatTemplate(Protocol):
    """What makes a text of a conversation."""

    def render(
        self, conversation: Conversation, *, add_generation_prompt: bool = False, **variables: Any
    ) -> MarkedText:
        """Return the text, with the places the template itself marks as the assistant's.

        Raises
        ------
        InvalidInputError
            The template refuses the conversation.
        """


class _GenerationTag(Extension):
    """``{% generation %}…{% endgeneration %}``: marks what the assistant says.

    The marks are a fresh random text for every rendering, so no message can forge them.
    """

    tags = {"generation"}  # noqa: RUF012  # jinja2's own way to declare it

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn the block into a call that puts marks around its text."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = self.call_method("_marked", [nodes.ContextReference()])
        return nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _marked(self, context: jinja2.runtime.Context, caller: Any) -> str:
        mark = context["generation_mark"]
        return f"{mark}{caller()}{mark}"


_TAGS: list[type[Extension]] = [_GenerationTag, loopcontrols]


class MarkedTemplate:
    """A chat template that tells the assistant's words from the others'.

    Parameters
    ----------
    text
        The template.
    special_tokens
        Texts of ``bos_token``, ``eos_token`` … for it.
    """

    def __init__(self, text: str, special_tokens: Mapping[str, str]) -> None:
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=_TAGS
        )
        environment.globals["raise_exception"] = _raise_exception
        environment.filters["tojson"] = _to_json
        self._template = environment.from_string(text)
        self._special_tokens = dict(special_tokens)

    def render(
        self, conversation: Conversation, *, add_generation_prompt: bool = False, **variables: Any
    ) -> MarkedText:
        """Return the text, with the places inside ``{% generation %}`` blocks.

        Raises
        ------
        InvalidInputError
            The template refuses the conversation.
        """
        mark = secrets.token_hex(16)
        given = {"strftime_now": now().strftime, "tools": None, "documents": None}
        fixed = {
            "messages": [dict(message) for message in conversation],
            "add_generation_prompt": add_generation_prompt,
            "generation_mark": mark,
        }
        try:
            marked = self._template.render(given | self._special_tokens | variables | fixed)
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError) as error:
            raise refusal(error) from error
        return _without_marks(marked.split(mark))


def load_template(text: str, special_tokens: Mapping[str, str]) -> ChatTemplate:
    """Return a template; one with tags or filters not known here is left to ``transformers``.

    Raises
    ------
    ConfigurationError
        The template cannot be read, or only by ``transformers``, which is not installed.
    """
    try:
        return MarkedTemplate(text, special_tokens)
    except jinja2.TemplateSyntaxError as error:
        # Imported here as what almost no model needs.
        from tinker_nb.data.transformers_template import TransformersTemplate

        return TransformersTemplate(text, special_tokens, error)


def now() -> datetime:
    """Return the time here, for templates that tell the model the date."""
    return datetime.now(UTC).astimezone()


def refusal(error: Exception) -> InvalidInputError:
    """Return the error of a template that refuses a conversation."""
    return InvalidInputError(f"The chat template refuses this conversation: {error}")


def _without_marks(parts: list[str]) -> MarkedText:
    """Join parts, others' and the assistant's in turn, and remember where the latter were."""
    spans, at = [], 0
    for index, part in enumerate(parts):
        if index % 2:
            spans.append((at, at + len(part)))
        at += len(part)
    return MarkedText("".join(parts), tuple(spans))


def _raise_exception(message: str) -> None:
    """Let a template refuse a conversation, as Hugging Face templates do."""
    raise jinja2.TemplateError(message)


def _to_json(value: Any, ensure_ascii: bool = False, **layout: Any) -> str:
    """Jinja's own filter is for HTML and escapes for it."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **layout)
