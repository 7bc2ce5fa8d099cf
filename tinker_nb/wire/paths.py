"""``tinker://RUN/KIND/NAME`` paths of checkpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from tinker_nb.errors import InvalidInputError

CheckpointKind = Literal["weights", "sampler_weights", "external_weights"]
CHECKPOINT_TYPES: dict[str, Literal["training", "sampler", "external"]] = {
    "weights": "training",
    "sampler_weights": "sampler",
    "external_weights": "external",
}
_PREFIX = "tinker://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class TinkerPath:
    """A parsed path; ``str()`` gives the text back."""

    run: str
    kind: CheckpointKind
    name: str

    @property
    def checkpoint_id(self) -> str:
        """The id used by checkpoint endpoints, such as ``weights/step-1``."""
        return f"{self.kind}/{self.name}"

    def __str__(self) -> str:
        return f"{_PREFIX}{self.run}/{self.checkpoint_id}"


def parse_tinker_path(path: str) -> TinkerPath:
    """Parse ``tinker://RUN/KIND/NAME``; raises `InvalidInputError` on anything else."""
    parts = path.removeprefix(_PREFIX).split("/")
    if not path.startswith(_PREFIX) or len(parts) != 3 or parts[1] not in CHECKPOINT_TYPES:
        raise InvalidInputError(
            f"{path!r} is no checkpoint path; it reads tinker://RUN/weights/NAME "
            "or tinker://RUN/sampler_weights/NAME."
        )
    run, kind, name = parts
    return TinkerPath(run, kind, check_name(name))  # type: ignore[arg-type]  # checked above


def check_name(name: str) -> str:
    """Return a checkpoint's name; raises `InvalidInputError` when it is not one."""
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no checkpoint name: use letters, digits, dot, dash and underscore, "
            "at most 128, beginning with a letter or digit."
        )
    return name
