"""Chat templates: Jinja texts of Hugging Face models, with the assistant's parts marked."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tinker_nb.errors import InvalidInputError


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
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_GenerationTag, "jinja2.ext.loopcontrols"],
        )
        environment.globals["raise_exception"] = _raise_exception
        environment.filters["tojson"] = lambda value, **_: json.dumps(value, ensure_ascii=False)
        self._template = environment.from_string(text)
        self._special_tokens = dict(special_tokens)

    def render(
        self, conversation: Sequence[Mapping[str, str]], add_generation_prompt: bool
    ) -> list[str]:
        """Return the text in parts: others' and the assistant's in turn, others' first.

        Raises
        ------
        InvalidInputError
            The template refuses the conversation.
        """
        mark = secrets.token_hex(16)
        try:
            marked = self._template.render(
                messages=[dict(message) for message in conversation],
                add_generation_prompt=add_generation_prompt,
                generation_mark=mark,
                **self._special_tokens,
            )
        except jinja2.TemplateError as error:
            raise InvalidInputError(
                f"The chat template refuses this conversation: {error}"
            ) from error
        return marked.split(mark)


def _raise_exception(message: str) -> None:
    """Let a template refuse a conversation, as Hugging Face templates do."""
    raise jinja2.TemplateError(message)
