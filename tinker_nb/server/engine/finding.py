"""Finding the base model's files, before anything heavy is imported."""

from __future__ import annotations

from pathlib import Path

from tinker_nb.errors import ConfigurationError
from tinker_nb.server.config import TINY_CHAT
from tinker_nb.server.tiny_chat import MODEL_DIR

_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "tokenizer*"]


def find_model(name: str, *, download: bool = False) -> Path:
    """Return the directory of a model given as ``tiny-chat``, a directory or a hub name.

    A hub name is looked for in the local cache first.

    Parameters
    ----------
    name
        Which.
    download
        Whether a hub name that is not in the cache may be fetched.

    Raises
    ------
    ConfigurationError
        There is no such model, or it would have to be fetched.
    """
    directory = MODEL_DIR if name == TINY_CHAT else Path(name).expanduser()
    if not directory.is_dir():
        directory = _from_hub(name, download=download)
    if not (directory / "config.json").is_file():
        raise ConfigurationError(f"{directory} holds no model: config.json is missing.")
    return directory.resolve()


def _from_hub(name: str, *, download: bool) -> Path:
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return _snapshot(name, local_only=True)
    except LocalEntryNotFoundError as error:
        if download:
            return _fetched(name)
        raise ConfigurationError(
            f"There is no model {name!r}: it is neither {TINY_CHAT!r} nor a directory, and no hub "
            "model of that name is in the local cache; to fetch one, add --download."
        ) from error
    except (OSError, HFValidationError, ValueError) as error:
        raise ConfigurationError(
            f"There is no model {name!r}: it is neither {TINY_CHAT!r} nor a directory, and no hub "
            "model can have that name."
        ) from error


def _fetched(name: str) -> Path:
    try:
        return _snapshot(name, local_only=False)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"There is no model {name!r}: it is neither {TINY_CHAT!r} nor a directory, and no hub "
            f"model of that name could be fetched ({type(error).__name__})."
        ) from error


def _snapshot(name: str, *, local_only: bool) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, allow_patterns=_HUB_FILES, local_files_only=local_only))
