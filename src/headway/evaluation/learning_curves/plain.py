"""Rows for a library that does not read polars; what it does read stays as it was given."""

from __future__ import annotations

from typing import Any


def plain(rows: Any) -> Any:
    """A polars table as a numpy array, all else as it is: a pandas table keeps its names and categories."""
    return rows.to_numpy() if type(rows).__module__.startswith("polars") else rows
