"""The base of every JSON model on the wire."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pydantic import BaseModel, ConfigDict


class WireModel(BaseModel):
    """A JSON object of the protocol: unknown fields are ignored, as both sides must."""

    # Validators are built with their first use: all of them at once would double what an import
    # of the package costs.
    model_config = ConfigDict(extra="ignore", protected_namespaces=(), defer_build=True)

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON object, without fields that are ``None``."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_json(self) -> bytes:
        """Return the JSON object as bytes, without fields that are ``None``."""
        return self.model_dump_json(exclude_none=True).encode()


def build_models(*modules: ModuleType) -> None:
    """Build the validators of all models of some modules now, for who reads them as types."""
    for module in modules:
        for each in vars(module).values():
            if isinstance(each, type) and issubclass(each, WireModel):
                each.model_config = {**each.model_config, "defer_build": False}
                each.model_rebuild(force=True)
