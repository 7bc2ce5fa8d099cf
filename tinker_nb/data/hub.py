"""The files a tokenizer is made of: from a model's directory, or from the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinker_nb.errors import ConfigurationError, UnknownNameError

_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_SECONDS = 5.0  # for the hub's first answer; without a network nobody waits longer


def read_directory(directory: str | Path) -> dict[str, str | None]:
    """Return the texts of a model's tokenizer files by name.

    Raises
    ------
    ConfigurationError
        They cannot be read.
    """
    folder = Path(directory)
    try:
        return {name: _read(folder / name) for name in _FILES}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"No tokenizer can be read from {folder}.") from error


def fetch_files(name: str, revision: str | None = None) -> dict[str, str | None]:
    """Return the texts of a hub model's tokenizer files by name.

    The hub is asked for the model first, with little patience. Where it does not answer, or
    ``HF_HUB_OFFLINE`` is set, everything comes from the cache of earlier times.

    Raises
    ------
    UnknownNameError
        The hub knows no model of this name.
    ConfigurationError
        The hub does not answer and the cache lacks a file, or the model is not for everybody.
    """
    reason = _why_unreachable(name, revision)
    if reason is not None:
        return _cached(name, revision, reason)
    return {file: _fetched(name, file, revision) for file in _FILES}


def _why_unreachable(name: str, revision: str | None) -> Exception | None:
    """Ask the hub for a model; return why it gave no answer, or nothing when it did."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().model_info(name, revision=revision, timeout=_SECONDS)
    except GatedRepoError as error:
        raise _gated(name) from error
    except (HFValidationError, RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise _unknown(name, revision) from error
    except Exception as error:  # each version of the hub's client has another HTTP library
        return error
    return None


def _fetched(name: str, file: str, revision: str | None) -> str | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, LocalEntryNotFoundError

    try:
        return _read(Path(hf_hub_download(name, file, revision=revision)))
    except GatedRepoError as error:  # what there is may be known to all, and the files to few
        raise _gated(name) from error
    except Exception as error:
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        raise ConfigurationError(
            f"{file} of {name!r} cannot be fetched from the hub: {_first_line(error)}"
        ) from error


def _cached(name: str, revision: str | None, reason: Exception) -> dict[str, str | None]:
    from huggingface_hub import try_to_load_from_cache

    found = {file: try_to_load_from_cache(name, file, revision=revision) for file in _FILES}
    paths = {file: path for file, path in found.items() if isinstance(path, str)}
    texts = {file: _read(Path(paths[file])) if file in paths else None for file in _FILES}
    # None means that nothing is known of a file; another mark says that the model has none.
    if texts["tokenizer.json"] is None or found["tokenizer_config.json"] is None:
        raise _unreachable(name, reason) from reason
    return texts


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _unknown(name: str, revision: str | None) -> UnknownNameError:
    what = f"{name!r} of revision {revision!r}" if revision else repr(name)
    return UnknownNameError(
        f"There is no model {what}: it is neither a directory nor known to the hub.",
        advice="Check the name; a private model also needs: hf auth login.",
    )


def _gated(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"The hub gives {name!r} only to those who were let in.",
        advice="Ask for access on the model's page, then run: hf auth login.",
    )


def _unreachable(name: str, reason: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"The tokenizer of {name!r} is not on this machine, and the hub cannot be asked: "
        f"{_first_line(reason)}",
        advice="Connect to the network once, or give a directory that holds tokenizer.json.",
    )


def _first_line(error: Any) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
