"""From rows to what is told of them. No I/O."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tinker_nb.server.store.listing import Holding, RunFacts
from tinker_nb.server.store.tables import SILENT, CheckpointRow, RunRow, SessionRow
from tinker_nb.wire.paths import CHECKPOINT_TYPES, parse_tinker_path
from tinker_nb.wire.rest import Checkpoint, TrainingRun, WeightsInfoResponse
from tinker_nb.wire.sessions import (
    ClientSessionFinished,
    SessionActive,
    SessionFinishReason,
    SessionStatus,
    SessionSummary,
)

#: Whom everything belongs to: a key opens all of this server, so there is one user.
OWNER = "local"
#: Where the protocol wants a project's name and a session has none.
NO_PROJECT = "default"
_COUNTED = {"weights": "last_checkpoint", "sampler_weights": "last_sampler_checkpoint"}


def moment(seconds: float) -> datetime:
    """Return a time of ours as the protocol has it."""
    return datetime.fromtimestamp(seconds, UTC)


def metadata(kept: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Return metadata as text only; None for none.

    The official SDK reads texts, and would refuse a whole list for one number in it.
    """
    texts = {key: _text(value) for key, value in (kept or {}).items()}
    return texts or None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def checkpoint(row: CheckpointRow) -> Checkpoint:
    """Describe a checkpoint."""
    path = parse_tinker_path(row.path)
    return Checkpoint(
        checkpoint_id=path.checkpoint_id,
        checkpoint_type=CHECKPOINT_TYPES[path.kind],
        time=moment(row.created_at),
        tinker_path=row.path,
        size_bytes=row.size_bytes,
        public=row.public,
        user_metadata=metadata(row.user_metadata),
        expires_at=None if row.expires_at is None else moment(row.expires_at),
    )


def training_run(run: RunRow, facts: RunFacts) -> TrainingRun:
    """Describe a run."""
    newest = {
        name: checkpoint(facts.newest[kind])
        for kind, name in _COUNTED.items()
        if kind in facts.newest
    }
    saved = [row.created_at for row in facts.newest.values()]
    return TrainingRun(
        training_run_id=run.model_id,
        base_model=run.base_model,
        model_owner=OWNER,
        is_lora=True,
        lora_rank=run.rank,
        corrupted=run.state == "lost",
        # Requests are forgotten in time; a checkpoint tells of one too.
        last_request_time=moment(max([facts.last_request or run.created_at, *saved])),
        last_checkpoint=newest.get("last_checkpoint"),
        last_sampler_checkpoint=newest.get("last_sampler_checkpoint"),
        user_metadata=metadata(run.user_metadata),
    )


def weights_info(run: RunRow) -> WeightsInfoResponse:
    """Say what must be known to load a checkpoint of a run."""
    groups = run.groups.split(",")
    return WeightsInfoResponse(
        base_model=run.base_model,
        is_lora=True,
        lora_rank=run.rank,
        train_unembed="unembed" in groups,
        train_mlp="mlp" in groups,
        train_attn="attn" in groups,
    )


def session_status(row: SessionRow) -> SessionStatus | None:
    """Say how a session stands; None when it neither ended nor is known to run."""
    if row.finished_at is None:
        return SessionActive()
    if row.end == SILENT:
        return None
    # Sessions of the first server ended without a reason, which only a good end had.
    reason = SessionFinishReason.model_validate({"type": row.end or "success"})
    return ClientSessionFinished(reason=reason, detail=row.end_detail)


def session_summary(row: SessionRow, held: Holding) -> SessionSummary:
    """Describe a session that was found."""
    return SessionSummary(
        session_id=row.session_id,
        created_at=moment(row.created_at),
        owner=OWNER,
        project_id=row.project_id or NO_PROJECT,
        checkpoints_count=held.count,
        status=session_status(row),
        display_name=row.display_name,
        user_metadata=metadata(row.user_metadata),
        checkpoint_storage_bytes=held.size_bytes,
    )
