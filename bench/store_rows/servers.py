"""The servers that a benchmark of stores starts: those of the tests, with their data on disk."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from tests.storage import postgres

os.environ["PGPASSWORD"] = postgres.PASSWORD  # before any process is forked


def postgresql() -> AbstractContextManager[postgres.Postgres]:
    """Run a PostgreSQL server that flushes to disk, as by default."""
    return postgres.server(fsync=True)
