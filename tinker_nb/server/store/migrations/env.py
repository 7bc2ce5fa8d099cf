"""What Alembic runs; `tinker_nb.server.store.database` hands it a connection."""

from __future__ import annotations

from alembic import context

from tinker_nb.server.store.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
