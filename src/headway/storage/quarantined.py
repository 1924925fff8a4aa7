"""Where rows that failed a contract are put: a parquet file a look, `quarantine/PROJECT/NAME.parquet` in the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = "quarantine"


def files(state: Path) -> Iterator[Path]:
    """Every file of failing rows, of all projects of a store."""
    yield from sorted((state / FOLDER).glob("*/*.parquet"))


def written_ns(path: Path) -> int:
    """When a file was written, in ns since 1970; raises FileNotFoundError where it went."""
    return path.stat().st_mtime_ns
