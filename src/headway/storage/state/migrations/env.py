"""What alembic runs: all migrations within the transaction of the connection that was passed to it."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="headway_version")
with context.begin_transaction():
    context.run_migrations()
