"""A file of any size as a lazy frame: parquet and Arrow with their types, csv as texts, which the contract reads."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from headway.core.config import Config
from headway.core.errors import DataError
from headway.data.read import read_file, resolve_path

PARQUET, CSV, ARROW = (".parquet",), (".csv",), (".arrow", ".ipc", ".feather")


def scan_file(path: Path, config: Config) -> pl.LazyFrame:
    """The rows of a file, which are not yet read; the words of `[data] missing` are missing values.

    Of a `.dvc` file it is the file that it points to. Raises DataError where there is none, or one of another kind.
    """
    path = resolve_path(path)
    if not path.is_file():
        raise DataError(f"no file '{path.name}'", where=str(path), hint="headway contract check FILE")
    words = list(config.data.missing)
    if path.suffix in CSV:
        return _scan_csv(path, words)
    if path.suffix in PARQUET:
        frame = pl.scan_parquet(path, glob=False)
    elif path.suffix in ARROW and _is_ipc_file(path):
        frame = pl.scan_ipc(path, glob=False)
    else:
        frame = read_file(path).lazy()
    texts = pl.selectors.string()
    return frame.with_columns(pl.when(~texts.is_in(words)).then(texts)) if words else frame


def _scan_csv(path: Path, words: list[str]) -> pl.LazyFrame:
    if not path.stat().st_size:
        raise DataError(f"'{path.name}' is empty", where=str(path), hint="a line of names, then a line a row")
    return pl.scan_csv(path, infer_schema=False, null_values=words or None, glob=False)


def _is_ipc_file(path: Path) -> bool:
    """Whether it is an Arrow file, and no stream."""
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"
