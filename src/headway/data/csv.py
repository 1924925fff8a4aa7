"""Read a csv file; what is wrong with one is told by line and column, which its fast reader does not do."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import polars as pl

from headway.core.errors import DataError
from headway.data.texts import parse_dates


def read_csv(path: Path) -> pl.DataFrame:
    """The table of a csv file with a line of names; dates are read in ISO 8601 only.

    Raises DataError that names the line where a row has more fields than there are names, a quote stays open, or the
    bytes are not UTF-8; also for a name that is given twice and for another separator than the comma.
    """
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except pl.exceptions.NoDataError as error:
        raise DataError(
            f"'{path.name}' is empty", where=str(path), hint="a line of names, then a line a row"
        ) from error
    except pl.exceptions.PolarsError as error:
        raise _csv_error(path, str(error).partition("\n")[0]) from error
    _check_header(table.columns, path)
    return parse_dates(table)


def _check_header(names: list[str], path: Path) -> None:
    twice = [name for name in names if re.search(r"_duplicated_\d+$", name)]
    if twice:
        name = twice[0].rpartition("_duplicated_")[0]
        raise DataError(f"'{path.name}' has two columns '{name}'", where=f"{path}:1", hint="rename one of them")
    other = re.search(r"[;\t|]", names[0]) if len(names) == 1 else None
    if other:
        raise DataError(
            f"'{path.name}' separates fields by {other[0]!r}", where=f"{path}:1", hint="write it with commas"
        )


def _csv_error(path: Path, message: str) -> DataError:
    """The first line that cannot be read, and why; what the fast reader said where this finds none."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"'{path.name}' is not UTF-8: byte {content[error.start]:#04x}"
        return DataError(what, where=f"{path}:{line}", hint=f"iconv -f latin1 -t utf-8 {path.name}")
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    try:
        names = next(reader)
        for row in reader:
            if len(row) > len(names):
                what = f"a row has {len(row)} fields, where '{path.name}' names {len(names)} columns: {','.join(row)}"
                return DataError(what, where=f"{path}:{reader.line_num}", hint="quote a text that holds a comma")
    except csv.Error as error:
        what = f"cannot read '{path.name}': {error}"
        return DataError(
            what, where=f"{path}:{reader.line_num}", hint='close the quote; a quote in a text is written ""'
        )
    return DataError(f"cannot read '{path.name}': {message}", where=str(path), hint="is it a csv file?")
