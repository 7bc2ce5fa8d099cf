"""The tables of the first server."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(), primary_key=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("heartbeat_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.Column("tags", sa.String(), nullable=False),
        sa.Column("display_name", sa.String()),
        sa.Column("user_metadata", sa.JSON(), nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("model_id", sa.String(), primary_key=True),
        sa.Column("session_id", sa.String(), sa.ForeignKey("sessions.session_id"), index=True),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("alpha", sa.Float(), nullable=False),
        sa.Column("groups", sa.String(), nullable=False),
        sa.Column("seed", sa.Integer()),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("user_metadata", sa.JSON(), nullable=False),
    )
    op.create_table(
        "checkpoints",
        sa.Column("path", sa.String(), primary_key=True),
        sa.Column(
            "model_id", sa.String(), sa.ForeignKey("runs.model_id"), nullable=False, index=True
        ),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("directory", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("ephemeral", sa.Boolean(), nullable=False),
        sa.Column("user_metadata", sa.JSON(), nullable=False),
    )
    op.create_table(
        "samplers",
        sa.Column("sampler_id", sa.String(), primary_key=True),
        sa.Column("session_id", sa.String(), nullable=False, index=True),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("model_path", sa.String()),
        sa.Column("directory", sa.String()),
        sa.Column("follows", sa.String(), index=True),
        sa.Column("created_at", sa.Float(), nullable=False),
    )
    op.create_table(
        "futures",
        sa.Column("request_id", sa.String(), primary_key=True),
        sa.Column("dedup_key", sa.String(), unique=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("model_id", sa.String(), index=True),
        sa.Column("created_at", sa.Float(), nullable=False),
        sa.Column("finished_at", sa.Float()),
        sa.Column("form", sa.String(), index=True),
        sa.Column("body", sa.LargeBinary()),
    )
