"""JSON bodies of the endpoints for training runs and checkpoints (sections 2.8 and 6)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from tinker_nb.wire.base import WireModel
from tinker_nb.wire.params import OptimizerConfig

AccessScope = Literal["owned", "accessible"]
CheckpointType = Literal["training", "sampler", "external"]


class Cursor(WireModel):
    """Which part of a longer list an answer is."""

    offset: int
    limit: int
    total_count: int


class Checkpoint(WireModel):
    """Saved weights."""

    checkpoint_id: str
    checkpoint_type: CheckpointType
    time: datetime
    tinker_path: str
    size_bytes: int | None = None
    public: bool = False
    user_metadata: dict[str, Any] | None = None
    expires_at: datetime | None = None


class CheckpointsListResponse(WireModel):
    """A list of checkpoints; ``cursor`` is there where the list may be longer."""

    checkpoints: list[Checkpoint]
    cursor: Cursor | None = None


class TrainingRun(WireModel):
    """A model in training, or one that was."""

    training_run_id: str
    base_model: str
    model_owner: str
    is_lora: bool | None = None
    corrupted: bool = False
    lora_rank: int | None = None
    last_request_time: datetime
    last_checkpoint: Checkpoint | None = None
    last_sampler_checkpoint: Checkpoint | None = None
    user_metadata: dict[str, Any] | None = None


class TrainingRunsResponse(WireModel):
    """A list of training runs."""

    training_runs: list[TrainingRun]
    cursor: Cursor | None = None


class WeightsInfoRequest(WireModel):
    """``POST /api/v1/weights_info``."""

    tinker_path: str


class WeightsInfoResponse(WireModel):
    """What must be known to load a checkpoint."""

    base_model: str
    is_lora: bool | None = None
    lora_rank: int | None = None
    train_unembed: bool | None = None
    train_mlp: bool | None = None
    train_attn: bool | None = None
    optimizer_config: OptimizerConfig = Field(default_factory=OptimizerConfig)


class CheckpointTtlRequest(WireModel):
    """``PUT .../ttl``; null keeps the checkpoint for ever."""

    ttl_seconds: int | None = None


class CopyWeightsRequest(WireModel):
    """``POST /api/v1/copy_weights``; the access token travels in a header."""

    source_path: str
    destination_project_id: str | None = None
    session_id: str | None = None
    model_seq_id: int | None = None
    ttl_seconds: int | None = None


class CopyWeightsResponse(WireModel):
    """Where the copy is."""

    tinker_path: str


class ExternalWeightsUrlsResponse(WireModel):
    """Where to fetch each file of an export, without a key, until ``expires``."""

    urls: dict[str, str]
    expires: datetime


class CheckpointArchiveUrlResponse(WireModel):
    """Where to fetch a checkpoint's archive, without a key, until ``expires``."""

    url: str
    expires: datetime


class WhoamiResponse(WireModel):
    """Whose key it is."""

    user_urn: str
    org_urn: str
    email: str | None = None
