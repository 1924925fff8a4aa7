"""Rows that failed a contract lie in quarantine, packed as parquet: whose they are is told by values, not by bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from headway.core.errors import StoreError
from headway.storage import atomic, quarantined


def rows_of(path: Path, keys: Sequence[str]) -> int:
    """How many rows hold one of these keys as a value of any column, a number as it is written; 0 where the file went.

    Raises StoreError for a file that cannot be read.
    """
    table = _read(path)
    return 0 if table is None else int(table.select(_holds(table, keys)).to_series().sum())


def rows_if_old(path: Path, before_ns: int) -> int | None:
    """How many rows a file has that was written before a time in ns since 1970; None where it is not so old."""
    try:
        if quarantined.written_ns(path) >= before_ns:
            return None
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except FileNotFoundError:
        return None


def erase(path: Path, keys: Sequence[str]) -> None:
    """Let the rows of these keys go out of a file, in one step; without keys the whole file goes. Again is safe."""
    table = _read(path) if keys else None
    if table is not None:
        left = table.filter(~_holds(table, keys))
        atomic.fill(path, lambda file: left.write_parquet(file))
    elif not keys:
        path.unlink(missing_ok=True)
        atomic.sync(path.parent)


def _read(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        return None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"a file in quarantine cannot be read: {error}", where=str(path)) from error


def _holds(table: pl.DataFrame, keys: Sequence[str]) -> pl.Expr:
    plain = [pl.col(name).cast(pl.String).is_in(list(keys)).fill_null(value=False)
             for name, kind in table.schema.items() if not kind.is_nested()]  # fmt: skip
    nested = [pl.col(name).list.eval(pl.element().cast(pl.String).is_in(list(keys))).list.any().fill_null(value=False)
              for name, kind in table.schema.items() if kind.base_type() == pl.List]  # fmt: skip
    return pl.any_horizontal(pl.lit(value=False), *plain, *nested).alias("holds")
