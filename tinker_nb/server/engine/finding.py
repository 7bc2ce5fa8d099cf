"""Finding the base model's files, before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path

from tinker_nb.errors import ConfigurationError
from tinker_nb.server.config import TINY_CHAT
from tinker_nb.server.tiny_chat import MODEL_DIR

_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer*"]


def find_model(name: str) -> Path:
    """Return the directory of a model given as ``tiny-chat``, a directory or a hub name.

    Raises
    ------
    ConfigurationError
        There is no such model.
    """
    directory = MODEL_DIR if name == TINY_CHAT else Path(name).expanduser()
    if not directory.is_dir():
        directory = _download(name)
    if not (directory / "config.json").is_file():
        raise ConfigurationError(f"{directory} holds no model: config.json is missing.")
    return directory.resolve()


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except (OSError, HFValidationError, ValueError) as error:
        raise ConfigurationError(
            f"There is no model {name!r}: it is neither {TINY_CHAT!r} nor a directory, and no hub "
            f"model of that name could be fetched ({type(error).__name__})."
        ) from error
