"""``tinker://RUN/KIND/NAME`` paths of checkpoints."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

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


@dataclass(frozen=True)
class CheckpointPath:
    """A checkpoint's path as any server may write it; ``str()`` gives the text back.

    Parameters
    ----------
    run
        The training run, which is the model's id.
    checkpoint_id
        ``KIND/NAME``, or the bare ``NAME`` of servers whose paths read ``tinker://RUN/NAME``.
    """

    run: str
    checkpoint_id: str

    @property
    def kind(self) -> CheckpointKind | None:
        """What the checkpoint is for, where the path says it."""
        kind, slash, _ = self.checkpoint_id.partition("/")
        return cast("CheckpointKind", kind) if slash else None

    def __str__(self) -> str:
        return f"{_PREFIX}{self.run}/{self.checkpoint_id}"


def parse_checkpoint_path(path: str) -> CheckpointPath:
    """Parse the path of a checkpoint on any server; raises `InvalidInputError`.

    Names are the server's affair: only what cannot be a path is refused.
    """
    run, *rest = path.removeprefix(_PREFIX).split("/") if isinstance(path, str) else [""]
    # With a kind as its only name the path was cut off; the run's wrong checkpoint must not be hit.
    named = len(rest) == 1 and rest[0] not in CHECKPOINT_TYPES
    sorted_by_kind = len(rest) == 2 and rest[0] in CHECKPOINT_TYPES
    sound = all(part not in ("", ".", "..") for part in (run, *rest))
    if not (sound and (named or sorted_by_kind) and path.startswith(_PREFIX)):
        raise InvalidInputError(
            f"{path!r} is no checkpoint path; it reads tinker://RUN/weights/NAME, "
            "tinker://RUN/sampler_weights/NAME or tinker://RUN/external_weights/NAME."
        )
    return CheckpointPath(run, "/".join(rest))
