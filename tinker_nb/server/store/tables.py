"""The tables."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, Float, ForeignKey, LargeBinary
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Table(DeclarativeBase):
    """Base of the tables; times are seconds since the epoch."""

    type_annotation_map = {dict[str, Any]: JSON, bytes: LargeBinary, float: Float}  # noqa: RUF012


#: The end of a session whose client fell silent: it never said that it was done.
SILENT = "silent"


class SessionRow(Table):
    """A client's session.

    ``end`` says how it was finished: success, errored or interrupted, as its client says, or
    `SILENT`.
    """

    __tablename__ = "sessions"

    session_id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[float] = mapped_column(index=True)
    heartbeat_at: Mapped[float]
    finished_at: Mapped[float | None]
    end: Mapped[str | None]
    end_detail: Mapped[str | None]
    tags: Mapped[str] = mapped_column(default="")
    display_name: Mapped[str | None]
    project_id: Mapped[str | None]
    user_metadata: Mapped[dict[str, Any]] = mapped_column(default=dict)


class RunRow(Table):
    """A LoRA model: a training run. ``state`` is live, unloaded or lost.

    Of a live model ``steps_file`` and ``gradients_file`` name the files of its present state in
    the folder of living models; a change of them and the result that it belongs to are one
    transaction. ``restored`` tells in words what a restart could not bring back.
    """

    __tablename__ = "runs"

    model_id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str | None] = mapped_column(ForeignKey("sessions.session_id"), index=True)
    base_model: Mapped[str]
    rank: Mapped[int]
    alpha: Mapped[float]
    groups: Mapped[str]
    seed: Mapped[int | None]
    state: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[float] = mapped_column(index=True)
    steps_file: Mapped[str | None]
    gradients_file: Mapped[str | None]
    restored: Mapped[str | None]
    user_metadata: Mapped[dict[str, Any]] = mapped_column(default=dict)


class CheckpointRow(Table):
    """A checkpoint; the ephemeral ones have no name of their own and are not listed.

    ``directory`` is the name of its folder among the checkpoints.
    """

    __tablename__ = "checkpoints"

    path: Mapped[str] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("runs.model_id"), index=True)
    kind: Mapped[str]
    directory: Mapped[str]
    size_bytes: Mapped[int]
    created_at: Mapped[float] = mapped_column(index=True)
    ephemeral: Mapped[bool]
    public: Mapped[bool] = mapped_column(default=False)
    expires_at: Mapped[float | None] = mapped_column(index=True)
    user_metadata: Mapped[dict[str, Any]] = mapped_column(default=dict)


class SamplerRow(Table):
    """A sampling session: the base model, or the weights in a checkpoint's folder.

    ``follows`` names the model whose newest in-flight save it follows.
    """

    __tablename__ = "samplers"

    sampler_id: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(index=True)
    base_model: Mapped[str]
    model_path: Mapped[str | None]
    directory: Mapped[str | None]
    follows: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[float]


class FutureRow(Table):
    """A request and, once finished, its result: ``form`` says how ``body`` reads."""

    __tablename__ = "futures"

    request_id: Mapped[str] = mapped_column(primary_key=True)
    dedup_key: Mapped[str | None] = mapped_column(unique=True)
    kind: Mapped[str]
    model_id: Mapped[str | None] = mapped_column(index=True)
    created_at: Mapped[float]
    finished_at: Mapped[float | None]
    form: Mapped[str | None] = mapped_column(index=True)
    body: Mapped[bytes | None]
