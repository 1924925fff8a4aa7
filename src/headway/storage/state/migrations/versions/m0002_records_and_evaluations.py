"""Create the tables of records by kind, name and digest, and of evaluations on `test` by name and dataset."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "headway_records",
        sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("kind", "name", "digest"),
    )
    op.create_index("headway_records_of_kind", "headway_records", ["kind", "name", "place"])
    op.create_table(
        "headway_evaluations",
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
    )
    op.create_index("headway_evaluations_of_dataset", "headway_evaluations", ["name", "dataset"])
