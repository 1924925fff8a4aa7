"""Labels from a file with two columns, `key` and `label`."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from headway.core.errors import DataError
from headway.core.sections import DataSection
from headway.data.roles import encode_target
from headway.storage.traffic import Label

_HINT = "a csv or parquet file with columns key and label, such as: key,label"


def read_label_file(file: Path, section: DataSection) -> list[Label]:
    """Read the labels of a csv or parquet file, written in the form of the target that `[data]` declares.

    Raises DataError if the file cannot be read, lacks a column, or a label is missing or not a number.
    """
    try:
        table = (
            pl.read_parquet(file)
            if file.suffix == ".parquet"
            else pl.read_csv(file, schema_overrides={"key": pl.String})
        )
        labels_table = table.select(pl.col("key").cast(pl.String), "label")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"labels cannot be read: {error}", where=str(file), hint=_HINT) from error
    empty = labels_table.with_row_index().filter(pl.any_horizontal(pl.col("key", "label").is_null()))
    if len(empty):
        raise DataError("a key or a label is missing", where=f"{file}, row {empty['index'][0]}", hint=_HINT)
    try:
        labels = encode_target(labels_table["label"], section).cast(pl.Float64)
    except DataError as error:
        raise DataError(
            f"labels cannot be read: {error.what}", where=f"{file}; {error.where}", hint=error.hint
        ) from error
    return [Label(key, label) for key, label in zip(labels_table["key"], labels, strict=True)]
