"""The parts of a tokenizer, out of the texts of the files a model carries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinker_nb.errors import ConfigurationError, InvalidInputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# No token of a vocabulary looks like this: quotes in its text are escaped.
_TRIMMED = re.compile(r'"trim_offsets"\s*:\s*true')

#: What ``transformers`` understands at a template's call and this package does not.
_NOT_HERE = frozenset(
    {
        "chat_template",
        "continue_final_message",
        "documents",
        "max_length",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "tools",
        "truncation",
    }
)


def read_tokenizer(text: str | None) -> Tokenizer:
    """Return the tokenizer of a ``tokenizer.json``.

    What it says of cutting and filling up texts is for other uses and is dropped. Its tokens keep
    the white space they begin with in their offsets, or nobody could say whose it is.

    Raises
    ------
    ConfigurationError
        There is none, or it is broken.
    """
    if not text:
        raise ConfigurationError(
            "The model has no tokenizer.json.",
            advice="Convert its tokenizer with transformers: load it and save_pretrained() it.",
        )
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(_TRIMMED.sub('"trim_offsets":false', text))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigurationError(f"The model's tokenizer.json cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def read_config(text: str | None) -> dict[str, Any]:
    """Return what a ``tokenizer_config.json`` says; nothing where there is none."""
    try:
        config = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The model's tokenizer_config.json is not JSON: {error}"
        ) from error
    if not isinstance(config, dict):
        raise ConfigurationError("The model's tokenizer_config.json is no JSON object.")
    return config


def config_template(config: Mapping[str, Any]) -> str | None:
    """Return the chat template in a config; of several the one for plain conversations."""
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {each.get("name"): each.get("template") for each in template}
        template = named.get("default")
    return template if isinstance(template, str) else None


def special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of ``bos_token``, ``eos_token`` … of a config."""
    named = {key: value for key, value in config.items() if key.endswith("_token")}
    texts = {
        key: value.get("content") if isinstance(value, dict) else value
        for key, value in named.items()
    }
    return {key: text for key, text in texts.items() if isinstance(text, str)}


def template_variables(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes to a template; refuse what ``transformers`` would do and we do not."""
    refused = sorted(name for name in _NOT_HERE & given.keys() if given[name])
    if refused:
        raise InvalidInputError(f"apply_chat_template takes no {', '.join(refused)} here.")
    return {name: value for name, value in given.items() if name not in _NOT_HERE}
