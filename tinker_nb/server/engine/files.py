"""Checkpoints in PEFT's format: written under another name, then renamed; safetensors only."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tinker_nb.errors import UnknownNameError
from tinker_nb.server.engine.adapters import Adapter, Shape, Slots

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
_GROUPS = "groups"  # in the tensors' metadata: PEFT refuses fields it does not know in its config


def save_adapter(slots: Slots, adapter: Adapter, directory: Path) -> int:
    """Write an adapter's weights to a new directory; returns the bytes written."""
    slot = slots.slot(adapter.shape)
    staging = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    staging.mkdir(parents=True)
    views = [view.contiguous().clone() for view in slot.views(adapter.weights)]
    metadata = {"format": "pt", _GROUPS: ",".join(sorted(adapter.shape.groups))}
    save_file(dict(zip(slot.keys, views, strict=True)), staging / WEIGHTS_FILE, metadata)
    slot.config.save_pretrained(str(staging))
    config = json.loads((staging / CONFIG_FILE).read_text())
    config["inference_mode"] = True
    (staging / CONFIG_FILE).write_text(json.dumps(config, indent=2, sort_keys=True))
    size = sum(path.stat().st_size for path in staging.iterdir())
    staging.replace(directory)
    return size


def load_adapter(slots: Slots, directory: Path) -> Adapter:
    """Read an adapter's weights; `UnknownNameError` when they are not there or not readable."""
    try:
        config = json.loads((directory / CONFIG_FILE).read_text())
        with safe_open(directory / WEIGHTS_FILE, framework="pt") as tensors:
            groups = frozenset(tensors.metadata()[_GROUPS].split(","))
            shape = Shape(config["r"], config["lora_alpha"], groups)
            parts = [tensors.get_tensor(key).float() for key in slots.slot(shape).keys]
        return Adapter(shape, torch.cat([part.reshape(-1) for part in parts]))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise UnknownNameError(
            f"The checkpoint {directory.name} is gone or cannot be read ({type(error).__name__})."
        ) from error
