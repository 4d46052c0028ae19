"""Run by alembic: applies our own revisions over the connection that `glancetx.db.migrations` hands over."""

from __future__ import annotations

from alembic import context

from glancetx.db.own_schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
