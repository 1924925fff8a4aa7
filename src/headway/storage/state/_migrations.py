"""Migrate the tables of the state in PostgreSQL with alembic, which is imported only where a table is out of date."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

FOLDER = Path(__file__).parent / "migrations"


def configuration() -> Config:
    """Return the configuration of alembic, which is in no file."""
    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.set_main_option("path_separator", "os")
    return made


def migrate(connection: sa.Connection, *, to: str = "head") -> None:
    """Migrate the tables within the transaction of a connection."""
    made = configuration()
    made.attributes["connection"] = connection
    command.upgrade(made, to)
