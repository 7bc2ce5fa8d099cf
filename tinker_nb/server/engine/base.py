"""The base model: loading it, and saying what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from tinker_nb.errors import ConfigurationError
from tinker_nb.server.engine.finding import find_model
from tinker_nb.server.engine.work import LayerGroup, ModelFacts

_ATTENTION = re.compile(r"attn|attention")
_MLP = re.compile(r"mlp|feed_forward|ffn")
_DEFAULT_CONTEXT = 2048


@dataclass(frozen=True)
class Base:
    """A loaded model, its facts, the ends of a turn, and its layers by group."""

    model: Any
    facts: ModelFacts
    end_tokens: frozenset[int]
    layers: dict[LayerGroup, tuple[str, ...]]


def load_base(
    name: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    gradient_checkpointing: bool = False,
    download: bool = False,
) -> Base:
    """Load a model, frozen, from safetensors only.

    Parameters
    ----------
    name
        ``tiny-chat``, a directory, or a hub name.
    device, dtype
        Where it computes and in which numbers; ``auto`` is a GPU in bfloat16 where there is one,
        else the CPU in float32.
    gradient_checkpointing
        Compute activations twice instead of keeping them.
    download
        Whether a hub name may be fetched.

    Raises
    ------
    ConfigurationError
        There is no such model, or its files cannot be read.
    """
    directory = find_model(name, download=download)
    place = _device(device)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=_dtype(dtype, place),
            use_safetensors=True,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"The model in {directory} cannot be read: {first_line}"
        ) from error
    model = model.to(place)
    model.requires_grad_(requires_grad=False)
    model.train(mode=False)
    if gradient_checkpointing:
        _checkpoint_gradients(model)
    layers = _layers_by_group(model)
    return Base(model, _facts(name, directory, model, layers), _end_tokens(model), layers)


def _device(name: str) -> torch.device:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"
    if not there.get(name, True):
        raise ConfigurationError(f"This machine has no {name}; use --device cpu.")
    return torch.device(name)


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name == "auto":
        name = "bfloat16" if device.type == "cuda" else "float32"
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def _checkpoint_gradients(model: Any) -> None:
    """Let the model compute its activations twice, which it does in training mode only.

    That mode would also drop values at random; what is trained here is what is sampled.
    """
    # The method's name changed with transformers 5.
    names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
    enable = next(found for name in names if (found := getattr(model, name, None)))
    enable({"use_reentrant": False})
    model.train(mode=True)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def _facts(
    name: str, directory: Path, model: Any, layers: dict[LayerGroup, tuple[str, ...]]
) -> ModelFacts:
    config = model.config.get_text_config()
    return ModelFacts(
        name=directory.name if Path(name).expanduser().is_dir() else name,
        directory=directory,
        arch=str(config.model_type),
        vocab_size=int(model.get_input_embeddings().weight.shape[0]),
        context=int(getattr(config, "max_position_embeddings", None) or _DEFAULT_CONTEXT),
        trainable=frozenset(group for group, names in layers.items() if names),
    )


def _end_tokens(model: Any) -> frozenset[int]:
    """Return the tokens that end a turn; models give one, several or none."""
    ends = model.generation_config.eos_token_id
    if ends is None:
        ends = model.config.get_text_config().eos_token_id
    if ends is None:
        return frozenset()
    return frozenset(ends if isinstance(ends, list) else [ends])


def _layers_by_group(model: Any) -> dict[LayerGroup, tuple[str, ...]]:
    """Return the names of the linear layers an adapter can be put on.

    An output head that shares its weights with the input embedding is left out: an adapter on it
    would undo the sharing, which PEFT checkpoints cannot say.
    """
    groups: dict[LayerGroup, list[str]] = {"attn": [], "mlp": [], "unembed": []}
    head = model.get_output_embeddings()
    tied = head is None or head.weight is model.get_input_embeddings().weight
    for name, module in model.named_modules():
        if module is head:
            groups["unembed"].extend([] if tied else [name])
        elif isinstance(module, nn.Linear) and (group := _group(name)):
            groups[group].append(name)
    return {group: tuple(names) for group, names in groups.items()}


def _group(name: str) -> LayerGroup | None:
    if _ATTENTION.search(name):
        return "attn"
    return "mlp" if _MLP.search(name) else None
