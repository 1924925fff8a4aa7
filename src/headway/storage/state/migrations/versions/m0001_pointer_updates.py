"""Create the table of pointer updates, in the order of their chain."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "headway_pointer_updates",
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("pointer", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("name", "pointer", "number"),
    )
    op.create_index("headway_updates_of_pointer", "headway_pointer_updates", ["name", "pointer", "place"])
