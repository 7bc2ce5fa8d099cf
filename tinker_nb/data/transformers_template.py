"""Chat templates that only ``transformers`` can read: newer tags and filters than known here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2

from tinker_nb.data.messages import Conversation
from tinker_nb.data.template import MarkedText, refusal
from tinker_nb.errors import ConfigurationError

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class TransformersTemplate:
    """A chat template rendered by ``transformers``.

    Parameters
    ----------
    text
        The template.
    special_tokens
        Texts of ``bos_token``, ``eos_token`` … for it.
    reason
        Why it cannot be rendered here.

    Raises
    ------
    ConfigurationError
        ``transformers`` is not installed, or cannot read the template either.
    """

    def __init__(self, text: str, special_tokens: Mapping[str, str], reason: Exception) -> None:
        self._render = _renderer(reason)
        self._text = text
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
        # The time is theirs to tell: what they call with ours is turned to text on the way.
        known = {name: value for name, value in variables.items() if name != "strftime_now"}
        try:
            texts, spans = self._render(
                conversations=[[dict(message) for message in conversation]],
                chat_template=self._text,
                return_assistant_tokens_mask=bool(_GENERATION.search(self._text)),
                add_generation_prompt=add_generation_prompt,
                **{**self._special_tokens, **known},
            )
        except (jinja2.TemplateSyntaxError, ImportError) as error:
            raise _unreadable(error) from error
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError) as error:
            raise refusal(error) from error
        return MarkedText(texts[0], tuple(tuple(span) for span in (spans or [[]])[0]))


def _renderer(reason: Exception) -> Any:
    try:
        from transformers.utils.chat_template_utils import render_jinja_template
    except ImportError as error:
        raise ConfigurationError(
            f"The model's chat template needs the package transformers: {reason}",
            advice="Install it: pip install transformers.",
        ) from error
    return render_jinja_template


def _unreadable(error: Exception) -> ConfigurationError:
    return ConfigurationError(f"The model's chat template cannot be read: {error}")
