"""Conversations to token ids and back: a chat template over the light ``tokenizers`` package."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tinker_nb.errors import ConfigurationError, InvalidInputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tinker_nb.data.template import MarkedTemplate

Message = Mapping[str, str]
Conversation = Sequence[Message]


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens.

    Parameters
    ----------
    tokens
        Token ids.
    assistant
        For each token, whether the assistant says it (and so may be trained on).
    """

    tokens: list[int]
    assistant: list[bool]


class ChatTokenizer:
    """A tokenizer with its chat template.

    Parameters
    ----------
    tokenizer
        The tokenizer.
    chat_template
        Jinja template of a conversation, as Hugging Face models carry it.
    special_tokens
        Texts of ``bos_token``, ``eos_token`` … for the template.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_template: str | None,
        special_tokens: Mapping[str, str] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._chat_template = chat_template
        self._special_tokens = dict(special_tokens or {})

    @classmethod
    def from_directory(cls, directory: str | Path) -> ChatTokenizer:
        """Read ``tokenizer.json``, its config and its template from a model's directory."""
        folder = Path(directory)
        try:
            files = {name: _read(folder / name) for name in _FILES}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"No tokenizer can be read from {folder}.") from error
        return cls.from_files(files)

    @classmethod
    def from_files(cls, files: Mapping[str, str | None]) -> ChatTokenizer:
        """Make one from the texts of the files a model's directory holds."""
        tokenizer = files.get("tokenizer.json")
        if not tokenizer:
            raise ConfigurationError("The model has no tokenizer.json.")
        config = json.loads(files.get("tokenizer_config.json") or "{}")
        template = files.get("chat_template.jinja") or config.get("chat_template")
        tokens = {
            name: value["content"] if isinstance(value, dict) else value
            for name, value in config.items()
            if name.endswith("_token") and value
        }
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(tokenizer), template, tokens)

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text, with no special tokens added."""
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """Return the text of token ids."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=skip_special_tokens))

    @property
    def eos_token_id(self) -> int | None:
        """Id of the token that ends a turn."""
        return self._tokenizer.token_to_id(self._special_tokens.get("eos_token", ""))

    def render(
        self, conversation: Conversation, *, add_generation_prompt: bool = False
    ) -> Rendered:
        """Return a conversation as tokens, with the assistant's marked.

        Raises
        ------
        InvalidInputError
            The conversation is empty, or the template refuses it.
        """
        if not conversation:
            raise InvalidInputError("The conversation is empty.")
        return self._tokenized(self._template.render(conversation, add_generation_prompt))

    def prompt(self, conversation: Conversation | str) -> list[int]:
        """Return the tokens that ask for an answer; a text counts as one user message."""
        if isinstance(conversation, str):
            conversation = [{"role": "user", "content": conversation}]
        return self.render(conversation, add_generation_prompt=True).tokens

    def _tokenized(self, parts: list[str]) -> Rendered:
        """Encode the whole text at once, so that tokens are those of inference, then mark them."""
        trained: list[bool] = []
        for index, part in enumerate(parts):
            trained.extend([index % 2 == 1] * len(part))
        encoding = self._tokenizer.encode("".join(parts), add_special_tokens=False)
        assistant = [start < end and trained[start] for start, end in encoding.offsets]
        return Rendered(list(encoding.ids), assistant)

    @cached_property
    def _template(self) -> MarkedTemplate:
        if not self._chat_template:
            raise ConfigurationError("The model has no chat template.")
        # Loaded with the first conversation, as most of what this module costs.
        from tinker_nb.data.template import MarkedTemplate

        return MarkedTemplate(self._chat_template, self._special_tokens)


_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None
