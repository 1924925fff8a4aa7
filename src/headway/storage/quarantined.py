"""Rows that failed a contract: one parquet file per check, `quarantine/PROJECT/NAME.parquet` in the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = "quarantine"


def files(state: Path) -> Iterator[Path]:
    """Return every file of failing rows, of all projects of a store."""
    yield from sorted((state / FOLDER).glob("*/*.parquet"))


def written_ns(path: Path) -> int:
    """Return when a file was written, in ns since 1970; raises FileNotFoundError if it is gone."""
    return path.stat().st_mtime_ns
