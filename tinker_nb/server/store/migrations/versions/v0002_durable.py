"""Living models' state, checkpoints that expire, sessions that end in a way of their own."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, and name folders without the way to them: data may move."""
    with op.batch_alter_table("sessions") as sessions:
        for name in ("end", "end_detail", "project_id"):
            sessions.add_column(sa.Column(name, sa.String()))
        sessions.create_index("ix_sessions_created_at", ["created_at"])
    with op.batch_alter_table("runs") as runs:
        for name in ("steps_file", "gradients_file", "restored"):
            runs.add_column(sa.Column(name, sa.String()))
        runs.create_index("ix_runs_state", ["state"])
        runs.create_index("ix_runs_created_at", ["created_at"])
    with op.batch_alter_table("checkpoints") as checkpoints:
        false = sa.false()
        checkpoints.add_column(
            sa.Column("public", sa.Boolean(), nullable=False, server_default=false)
        )
        checkpoints.add_column(sa.Column("expires_at", sa.Float()))
        checkpoints.create_index("ix_checkpoints_created_at", ["created_at"])
        checkpoints.create_index("ix_checkpoints_expires_at", ["expires_at"])
    for table, key in (("checkpoints", "path"), ("samplers", "sampler_id")):
        _name_folders(table, key)


def _name_folders(table: str, key: str) -> None:
    connection = op.get_bind()
    rows = sa.table(table, sa.column(key), sa.column("directory"))
    found = sa.select(rows).where(rows.c.directory.is_not(None))
    for name, directory in connection.execute(found).all():
        change = sa.update(rows).where(rows.c[key] == name)
        connection.execute(change.values(directory=Path(directory).name))
