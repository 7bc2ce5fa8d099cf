"""Adapters as flat vectors, and the slots of the base model they are plugged into.

PEFT keeps one set of LoRA layers (a slot) for every shape of adapter: rank, scale, layers. What
differs between models of one shape is a single vector. Plugging an adapter in points the slot's
parameters into its vector, so a thousand adapters cost their numbers and nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import torch
from peft import LoraConfig, LoraModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor

from tinker_nb.errors import InvalidInputError
from tinker_nb.server.engine.base import Base
from tinker_nb.server.engine.work import AdapterSpec, LayerGroup


@dataclass(frozen=True)
class Shape:
    """What two adapters must share to use one slot."""

    rank: int
    alpha: float
    groups: frozenset[LayerGroup]


@dataclass(frozen=True)
class Slot:
    """One set of LoRA layers on the base: its PEFT name, its parameters and their names."""

    name: str
    config: LoraConfig
    parameters: tuple[torch.nn.Parameter, ...]
    keys: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of values of an adapter of this shape."""
        return sum(parameter.numel() for parameter in self.parameters)

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return the parts of a flat vector, shaped like the parameters."""
        parts = torch.split(flat, [parameter.numel() for parameter in self.parameters])
        pairs = zip(parts, self.parameters, strict=True)
        return [part.view(parameter.shape) for part, parameter in pairs]


@dataclass
class Adapter:
    """One model's weights, the gradients that wait for a step, and the optimizer's state."""

    shape: Shape
    weights: Tensor
    gradients: Tensor | None = None
    moments: tuple[Tensor, Tensor] | None = None
    steps: int = 0


class Slots:
    """The slots of one base model; at most one adapter is plugged in at a time."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._peft: LoraModel | None = None
        self._slots: dict[Shape, Slot] = {}
        self._layers: list[BaseTunerLayer] = []
        self._plugged: tuple[str, int] | None = None

    def create(self, spec: AdapterSpec) -> Adapter:
        """Make an adapter that changes nothing yet: the second factor is zero."""
        shape = Shape(spec.rank, spec.alpha, spec.groups & self._base.facts.trainable)
        slot = self.slot(shape)
        generator = torch.Generator()
        generator.manual_seed(generator.seed() if spec.seed is None else spec.seed)
        weights = torch.zeros(slot.size)
        for key, view in zip(slot.keys, slot.views(weights), strict=True):
            if ".lora_A." in key:
                # Kaiming's uniform with a = sqrt(5), as PEFT and torch's linear layers start.
                bound = 1.0 / math.sqrt(view.shape[1])
                view.uniform_(-bound, bound, generator=generator)
        return Adapter(shape, weights)

    def slot(self, shape: Shape) -> Slot:
        """Return the slot of a shape, made when it is the first of its shape."""
        if shape not in self._slots:
            self._slots[shape] = self._make(shape)
        return self._slots[shape]

    def plug(self, adapter: Adapter | None) -> None:
        """Make the base model compute with this adapter, or with none."""
        if adapter is None:
            self._activate(None)
            return
        slot = self.slot(adapter.shape)
        self._activate(slot.name)
        place = (slot.name, adapter.weights.data_ptr())
        if self._plugged == place:
            return
        for parameter, view in zip(slot.parameters, slot.views(adapter.weights), strict=True):
            parameter.data = view
        self._plugged = place

    def _activate(self, name: str | None) -> None:
        for layer in self._layers:
            if name is None:
                layer.enable_adapters(enabled=False)
            elif layer.disable_adapters or layer.active_adapters != [name]:
                layer.enable_adapters(enabled=True)
                layer.set_adapter(name)

    def _make(self, shape: Shape) -> Slot:
        name, config = f"slot{len(self._slots)}", self._config(shape)
        model = self._base.model
        if self._peft is None:
            self._peft = LoraModel(model, config, name)
        else:
            self._peft.peft_config[name] = config
            self._peft.inject_adapter(model, name)
        self._layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
        self._plugged = None
        named = [(key, p) for key, p in model.named_parameters() if f".{name}." in key]
        keys = tuple(f"base_model.model.{key.replace(f'.{name}.', '.')}" for key, _ in named)
        return Slot(name, config, tuple(p for _, p in named), keys)

    def _config(self, shape: Shape) -> Any:
        layers = [name for group in shape.groups for name in self._base.layers[group]]
        if not layers:
            raise InvalidInputError("This model has no layers of the groups to be trained.")
        return LoraConfig(
            task_type="CAUSAL_LM",
            base_model_name_or_path=self._base.facts.name,
            r=shape.rank,
            lora_alpha=cast("int", shape.alpha),  # fractions are fine, whatever PEFT's type says
            target_modules=sorted({name.rpartition(".")[2] for name in layers}),
            init_lora_weights=False,
        )
