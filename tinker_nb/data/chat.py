"""Conversations to token ids and back: a chat template over the light ``tokenizers`` package."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from tinker_nb.data.messages import (
    Conversation as Conversation,
    Message as Message,
    checked_conversation,
)
from tinker_nb.data.parts import (
    config_template,
    read_config,
    read_tokenizer,
    special_tokens,
    template_variables,
)
from tinker_nb.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from tinker_nb.data.template import ChatTemplate
    from tinker_nb.data.turns import Turns


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

    Its methods and properties carry the names of a ``transformers`` tokenizer, so code that asks
    for one goes on working; other than there, no special tokens are added or shown unless asked.

    Parameters
    ----------
    tokenizer
        The tokenizer.
    chat_template
        Jinja template of a conversation, as Hugging Face models carry it.
    special_tokens
        Texts of ``bos_token``, ``eos_token`` … for the template.
    name
        Where it is from, for people.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        chat_template: str | None,
        special_tokens: Mapping[str, str] | None = None,
        *,
        name: str = "",
    ) -> None:
        self._tokenizer = tokenizer
        self._special_tokens = dict(special_tokens or {})
        self.chat_template = chat_template
        self.name_or_path = name

    @classmethod
    def from_pretrained(
        cls, name_or_directory: str | Path, *, revision: str | None = None
    ) -> ChatTokenizer:
        """Make one of a model's directory, or of a model's name on the Hugging Face hub.

        Parameters
        ----------
        name_or_directory
            Such as ``Qwen/Qwen3-8B``; a directory of that name comes first.
        revision
            A branch, tag or commit on the hub.

        Raises
        ------
        UnknownNameError
            There is no such model.
        ConfigurationError
            The hub cannot be asked and the model is not in its cache, or has no ``tokenizer.json``.
        """
        if Path(name_or_directory).expanduser().is_dir():
            return cls.from_directory(Path(name_or_directory).expanduser())
        from tinker_nb.data.hub import fetch_files

        name = str(name_or_directory)
        return cls.from_files(fetch_files(name, revision), name=name)

    @classmethod
    def from_directory(cls, directory: str | Path) -> ChatTokenizer:
        """Read ``tokenizer.json``, its config and its template from a model's directory."""
        from tinker_nb.data.hub import read_directory

        return cls.from_files(read_directory(directory), name=str(directory))

    @classmethod
    def from_files(cls, files: Mapping[str, str | None], *, name: str = "") -> ChatTokenizer:
        """Make one from the texts of the files a model's directory holds.

        Raises
        ------
        ConfigurationError
            There is no ``tokenizer.json``, or a file is broken.
        """
        config = read_config(files.get("tokenizer_config.json"))
        template = files.get("chat_template.jinja") or config_template(config)
        tokenizer = read_tokenizer(files.get("tokenizer.json"))
        return cls(tokenizer, template, special_tokens(config), name=name)

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return the token ids of a text; with special tokens around it only when asked."""
        return list(self._tokenizer.encode(text, add_special_tokens=add_special_tokens).ids)

    def decode(self, tokens: int | Iterable[int], skip_special_tokens: bool = True) -> str:
        """Return the text of token ids; with special tokens in it only when asked."""
        ids = [int(token) for token in ([tokens] if isinstance(tokens, int) else tokens)]
        return str(self._tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))

    @overload
    def apply_chat_template(
        self,
        conversation: Conversation,
        add_generation_prompt: bool = ...,
        tokenize: Literal[True] = ...,
        **variables: Any,
    ) -> list[int]: ...

    @overload
    def apply_chat_template(
        self,
        conversation: Conversation,
        add_generation_prompt: bool = ...,
        *,
        tokenize: Literal[False],
        **variables: Any,
    ) -> str: ...

    def apply_chat_template(
        self,
        conversation: Conversation,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        **variables: Any,
    ) -> list[int] | str:
        """Return a conversation as the model reads it.

        Parameters
        ----------
        conversation
            Messages with ``role`` and ``content``.
        add_generation_prompt
            Whether to end with the words that ask the assistant to speak.
        tokenize
            Whether to return token ids, or the text.
        variables
            What else the template knows, such as ``enable_thinking=False``.

        Raises
        ------
        InvalidInputError
            The conversation is empty or not of text alone, or the template refuses it.
        ConfigurationError
            The model has no chat template, or one that cannot be read.
        """
        marked = self._template.render(
            checked_conversation(conversation),
            add_generation_prompt=add_generation_prompt,
            **template_variables(variables),
        )
        return self.encode(marked.text) if tokenize else marked.text

    def prompt(self, conversation: Conversation | str) -> list[int]:
        """Return the tokens that ask for an answer; a text counts as one user message."""
        if isinstance(conversation, str):
            conversation = [{"role": "user", "content": conversation}]
        return self.apply_chat_template(conversation, add_generation_prompt=True)

    def render(self, conversation: Conversation, *, turns: Turns = "all") -> Rendered:
        """Return a conversation as tokens, with the assistant's marked.

        A token is the assistant's when its first character is. Where the template does not mark
        what the assistant says, that is what each of its messages adds to those before.

        Parameters
        ----------
        conversation
            Messages with ``role`` and ``content``.
        turns
            Whether to mark all turns of the assistant, or its last one.

        Raises
        ------
        InvalidInputError
            The conversation is empty or not of text alone, the template refuses it, or it writes
            an answer differently once others follow, so that it cannot be found.
        ConfigurationError
            The model has no chat template, or one that cannot be read.
        """
        from tinker_nb.data.turns import render_turns

        messages = checked_conversation(conversation)
        marked = render_turns(self._template, messages, turns, self._special_texts)
        said = [False] * len(marked.text)
        for begin, end in marked.spans:
            said[begin:end] = [True] * (end - begin)
        # The whole text at once, so that the tokens are those of inference.
        encoding = self._tokenizer.encode(marked.text, add_special_tokens=False)
        assistant = [begin < end and said[begin] for begin, end in encoding.offsets]
        return Rendered(list(encoding.ids), assistant)

    @property
    def bos_token(self) -> str | None:
        """Text of the token that begins a text."""
        return self._special_tokens.get("bos_token")

    @property
    def bos_token_id(self) -> int | None:
        """Id of the token that begins a text."""
        return self._id(self.bos_token)

    @property
    def eos_token(self) -> str | None:
        """Text of the token that ends a turn."""
        return self._special_tokens.get("eos_token")

    @property
    def eos_token_id(self) -> int | None:
        """Id of the token that ends a turn."""
        return self._id(self.eos_token)

    @property
    def pad_token(self) -> str | None:
        """Text of the token that fills up a batch."""
        return self._special_tokens.get("pad_token")

    @property
    def pad_token_id(self) -> int | None:
        """Id of the token that fills up a batch."""
        return self._id(self.pad_token)

    @property
    def vocab_size(self) -> int:
        """How many tokens there are, added ones such as those of the template not counted."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size(with_added_tokens=True))

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"ChatTokenizer({self.name_or_path!r}, {len(self)} tokens)"

    def _id(self, token: str | None) -> int | None:
        return None if token is None else self._tokenizer.token_to_id(token)

    @cached_property
    def _special_texts(self) -> tuple[str, ...]:
        added = self._tokenizer.get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.special)

    @cached_property
    def _template(self) -> ChatTemplate:
        if not self.chat_template:
            raise ConfigurationError("The model has no chat template.")
        # Loaded with the first conversation, as most of what this module costs.
        from tinker_nb.data.template import load_template

        return load_template(self.chat_template, self._special_tokens)
