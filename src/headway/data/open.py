"""Open the data of a project: a file, or `module:function` that gives a table."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from headway.core.config import Config, DataSection
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError, DataError
from headway.core.plugins import load_object

_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": lambda path: pl.read_csv(path, try_parse_dates=True, infer_schema_length=None),
    ".arrow": pl.read_ipc,
    ".feather": pl.read_ipc,
}


def open_dataset(config: Config) -> Dataset:
    """The dataset that `[data]` names, with its roles checked against its columns.

    Raises DataError or ConfigError where the source is missing, is no table, or lacks a declared column.
    """
    table = _read(config)
    return dataset_of(table, roles_of(config.data), name=config.data.source)


def dataset_of(table: pl.DataFrame, roles: Roles, *, name: str) -> Dataset:
    """A dataset of a polars table; raises DataError where a role names a column that is not there."""
    if table.is_empty():
        raise DataError(f"the table of '{name}' has no rows", where=name)
    declared = [roles.target, roles.time, roles.groups, roles.weight, *roles.slices, *roles.known, *roles.ignore]
    missing = [column for column in declared if column and column not in table.columns]
    if missing:
        raise DataError(
            f"headway.toml names columns that the table lacks: {', '.join(missing)}",
            where=f"{name} has: {', '.join(table.columns)}",
            mend="correct [data] in headway.toml",
        )
    return Dataset(name=name, table=table, roles=roles, digest=digest(table), provenance={"source": name})


def roles_of(section: DataSection) -> Roles:
    """The roles that `[data]` declares."""
    if not section.target:
        raise ConfigError("no target is declared", where="[data] target", mend='target = "COLUMN"')
    return Roles(
        target=section.target,
        task=section.task,
        time=section.time,
        decision=section.decision,
        groups=section.groups,
        slices=section.slices,
        weight=section.weight,
        known=section.known,
        ignore=section.ignore,
    )


def digest(table: pl.DataFrame) -> str:
    """The SHA-256 of a table's columns, names and types, in their order, as Arrow IPC."""
    content = io.BytesIO()
    table.rechunk().write_ipc_stream(content, compression="uncompressed")
    return f"sha256:{hashlib.sha256(content.getbuffer()).hexdigest()}"


def _read(config: Config) -> pl.DataFrame:
    source = config.data.source
    if not source:
        raise ConfigError("no data source is declared", where="[data] source", mend='source = "table.parquet"')
    path = config.path(source)
    reader = _READERS.get(path.suffix)
    if reader is None and ":" in source:
        return _table(load_object(source, Path(config.folder))(), source)
    if reader is None:
        raise ConfigError(f"cannot read '{source}'", mend=f"one of {', '.join(_READERS)}, or module:function")
    if not path.exists():
        raise DataError(f"no file '{source}'", where=str(path), mend="correct [data] source in headway.toml")
    try:
        return reader(path)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"cannot read '{source}': {error}", where=str(path)) from error


def _table(value: Any, source: str) -> pl.DataFrame:
    if isinstance(value, pl.DataFrame):
        return value
    if hasattr(value, "__arrow_c_stream__"):
        return pl.DataFrame(value)
    raise DataError(f"{source} gave {type(value).__name__}, not a table", mend="return a polars, pandas or Arrow table")
