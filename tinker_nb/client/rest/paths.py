"""From ids and ``tinker://`` paths to the paths of requests. No I/O."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from tinker_nb.errors import InvalidInputError
from tinker_nb.wire.paths import CHECKPOINT_TYPES, CheckpointPath, parse_checkpoint_path

_API = "/api/v1"


def segment(text: str, what: str) -> str:
    """Return an id as one segment of a request's path; raises `InvalidInputError`.

    Colons stay as they are: servers put them into the ids of models.
    """
    # Dots would leave the place they are written in, and so would a slash.
    if not isinstance(text, str) or text.strip() in ("", ".", "..") or "/" in text:
        raise InvalidInputError(f"{text!r} is no {what}.")
    return quote(text, safe=":")


def run_route(training_run_id: str) -> str:
    """Return where a training run is."""
    return f"{_API}/training_runs/{segment(training_run_id, 'training run id')}"


def checkpoint_route(checkpoint: CheckpointPath, action: str = "") -> str:
    """Return where a checkpoint, or something about it, is."""
    parts = checkpoint.checkpoint_id.split("/")
    shown = "/".join(segment(part, "checkpoint id") for part in parts)
    return f"{run_route(checkpoint.run)}/checkpoints/{shown}" + (f"/{action}" if action else "")


def checkpoint_of(training_run_id: str, checkpoint_id: str) -> CheckpointPath:
    """Return the checkpoint of a run by its id, ``weights/NAME`` or a bare ``NAME``."""
    # A kind alone is an id that was cut off.
    if not isinstance(checkpoint_id, str) or checkpoint_id in ("", *CHECKPOINT_TYPES):
        raise InvalidInputError(
            f"{checkpoint_id!r} is no checkpoint id; it reads weights/NAME or sampler_weights/NAME."
        )
    return CheckpointPath(training_run_id, checkpoint_id)


def external_checkpoint(tinker_path: str) -> CheckpointPath:
    """Return the export a path names; raises `InvalidInputError` on a path of anything else."""
    checkpoint = parse_checkpoint_path(tinker_path)
    if checkpoint.kind != "external_weights":
        raise InvalidInputError(
            f"{tinker_path!r} is no export: only tinker://RUN/external_weights/NAME has files "
            "to fetch.",
            advice="Export the weights first with TrainingClient.save_weights_external(name).",
        )
    return checkpoint


def session_route(session_id: str) -> str:
    """Return where a session is."""
    return f"{_API}/sessions/{segment(session_id, 'session id')}"


def sampler_route(sampler_id: str) -> str:
    """Return where a sampler is."""
    return f"{_API}/samplers/{segment(sampler_id, 'sampler id')}"


def with_query(path: str, **fields: str | int | None) -> str:
    """Return a path with a query of the fields that have a value."""
    given = {name: value for name, value in fields.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
