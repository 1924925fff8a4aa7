"""Read the table of `[data] source`: files, a database query, or `module:function`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import polars as pl

from headway.core.batch import is_data_file, parse_partitions
from headway.core.config import Config
from headway.core.errors import ConfigError, DataError, HeadwayError
from headway.core.plugins import guarded, load_object, load_sibling
from headway.data.context import load_source
from headway.data.dvc import POINTER, not_fetched_error, resolve_pointer, unfetched_files
from headway.data.parsing import parse_dates, replace_missing
from headway.data.settings.data import DataSection
from headway.storage import addresses

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)


def read_csv(path: Path) -> pl.DataFrame:
    """Read a csv file with a header line; only ISO 8601 dates are parsed.

    Raises
    ------
    DataError
        With file and line, if a row has more fields than the header, a quote is not closed, the bytes are not
        UTF-8, a name occurs twice or the separator is not a comma.
    """
    try:
        table = pl.read_csv(path, infer_schema_length=None)
    except pl.exceptions.NoDataError as error:
        raise DataError(
            f"'{path.name}' is empty", where=str(path), hint="a header line, then a line per row"
        ) from error
    except pl.exceptions.PolarsError as error:
        raise _csv_error(path, str(error).partition("\n")[0]) from error
    check_header(table.columns, path)
    return parse_dates(table)


def check_header(names: list[str], path: Path) -> None:
    """Raise DataError if a name occurs twice, or fields are not separated by commas."""
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
    """Locate the first line that cannot be read; the fast reader only reports that there is one."""
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
                return DataError(what, where=f"{path}:{reader.line_num}", hint="quote a string that contains a comma")
    except csv.Error as error:
        what = f"cannot read '{path.name}': {error}"
        return DataError(
            what, where=f"{path}:{reader.line_num}", hint='close the quote; a quote within a string is written ""'
        )
    return DataError(f"cannot read '{path.name}': {message}", where=str(path), hint="is it a csv file?")


def read_table(config: Config, *, columns: Collection[str] | None = None) -> pl.DataFrame:
    """Read the table of a project's source and replace the words of `[data] missing`.

    Of parquet files and objects only `columns` are read, those of them that exist; None: all.

    Raises
    ------
    ConfigError
        If no valid source is declared.
    PluginError
        If its library is not installed.
    DataError
        If it cannot be read. No error shows the password of a URL.
    """
    section = config[DataSection]
    if not section.source:
        raise ConfigError("no data source is declared", where="[data] source", hint='source = "table.parquet"')
    return replace_missing(_read_source(config, section, columns), section.missing)


def read_file(path: Path, *, columns: Collection[str] | None = None) -> pl.DataFrame:
    """Read a parquet, csv or Arrow file, or the target of a `.dvc` file; of parquet only `columns`, if not None.

    Raises
    ------
    DataError
        If the file is missing or does not have the format of its suffix.
    """
    path = resolve_path(path)
    if path.is_dir():
        return _read_files(path, columns)
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise ConfigError(f"cannot read '{path.name}'", where=str(path), hint=f"one of {', '.join(_READERS)}")
    if not path.exists():
        pointer = path.with_name(path.name + POINTER)
        if pointer.is_file():
            raise not_fetched_error(path, pointer)
        raise DataError(
            f"no file '{path.name}'", where=str(path), hint="correct the path: --data, or [data] source in headway.toml"
        )
    try:
        if columns is not None and path.suffix == ".parquet":
            return _choose(pl.scan_parquet(path, glob=False, hive_partitioning=False), columns).collect()
        return reader(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"cannot read '{path.name}': {error}", where=str(path), hint=f"is it a {path.suffix[1:]} file?"
        ) from error


def source_files(config: Config) -> list[Path]:
    """Return the files of `[data] source`, sorted by name; none for a database or function."""
    path = resolve_path(config.path(config[DataSection].source))
    if path.is_dir() or "*" in path.name:
        return list_files(path)
    return [path] if path.suffix in _READERS else []


def unfetched_source_files(config: Config) -> list[Path]:
    """Return the files of a source folder or pattern that DVC tracks and that were not fetched."""
    path = resolve_path(config.path(config[DataSection].source))
    folder, pattern = (path, "*") if path.is_dir() else (path.parent, path.name)
    found = unfetched_files(folder, pattern) if path.is_dir() or "*" in path.name else []
    return [file for file in found if file.suffix in _READERS]


def resolve_path(path: Path) -> Path:
    """Return the target of a `.dvc` file, and any other path unchanged."""
    return resolve_pointer(path) if path.suffix == POINTER and not path.is_dir() else path


def _choose(frame: pl.LazyFrame, columns: Collection[str]) -> pl.LazyFrame:
    return frame.select(name for name in frame.collect_schema().names() if name in columns)


def _read_source(config: Config, section: DataSection, columns: Collection[str] | None) -> pl.DataFrame:
    path = resolve_path(config.path(section.source))
    if section.source.startswith("s3://"):
        return _read_objects(section, columns)
    if "://" in section.source:
        return _read_database(section, Path(config.folder))
    if section.query:
        raise ConfigError(
            "a query is for a database", where=f"[data] source = '{section.name}'", hint='source = "sqlite:///FILE"'
        )
    if path.is_dir() or "*" in path.name:
        return _read_files(path, columns)
    if path.suffix not in _READERS and ":" in section.source:
        return _to_table(load_object(section.source, Path(config.folder))(), section.source)
    if path.suffix not in _READERS:
        hint = f"one of {', '.join(_READERS)}, a folder of them, a database URL, or module:function"
        raise ConfigError(f"cannot read '{section.name}'", where="[data] source", hint=hint)
    return read_file(path, columns=columns)


def _read_files(path: Path, columns: Collection[str] | None) -> pl.DataFrame:
    """Concatenate the files of a folder, or of a pattern such as `parts/2024-*.parquet`, in order of name."""
    found = list_files(path)
    if not found:
        raise DataError(f"no file '{path.name}'", where=str(path), hint=f"files that end with {', '.join(_READERS)}")
    folder = path if path.is_dir() else path.parent
    tables = {file.relative_to(folder).as_posix(): read_file(file, columns=columns) for file in found}
    return pl.concat(same_columns(tables, str(folder)).values())


def scan_objects(section: DataSection) -> dict[str, pl.LazyFrame]:
    """Return the parquet objects below `s3://BUCKET/PREFIX` by their key, in order of name."""
    if section.query:
        raise ConfigError("a query is for a database", where="[data] source", hint="remove query")
    address = section.source.rstrip("/")
    bucket = load_sibling(addresses.__name__, "s3", reads=f"'{address}'").Bucket(address)
    keys = sorted(found.key for found in bucket.objects() if is_data_file(found.key, ".parquet"))
    if not keys:
        raise DataError(f"no .parquet object below '{address}'", hint="s3://BUCKET/PREFIX of parquet objects")
    return {
        key: pl.scan_parquet(
            f"{address}/{key}", glob=False, hive_partitioning=False, storage_options=bucket.read_options
        )
        for key in keys
    }


def collect(frame: pl.LazyFrame, name: str, where: str) -> pl.DataFrame:
    """Read a part of a table; raise DataError, which names it, if it cannot be read."""
    try:
        return frame.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"cannot read '{name}': {error}", where=f"{where}/{name}", hint="is it a parquet or Arrow file?"
        ) from error


def _read_objects(section: DataSection, columns: Collection[str] | None) -> pl.DataFrame:
    """Concatenate the parquet objects below `s3://BUCKET/PREFIX`, in order of name."""
    address = section.source.rstrip("/")
    frames = scan_objects(section)
    if columns is not None:
        frames = {key: _choose(frame, columns) for key, frame in frames.items()}
    tables = {key: collect(frame, key, address) for key, frame in frames.items()}
    return pl.concat(same_columns(tables, address).values())


def same_columns(tables: Mapping[str, Frame], where: str) -> dict[str, Frame]:
    """Return tables by name, with a column for each Hive partition in their names."""
    tables = _with_partitions(tables, where)
    (first_name, first), *others = ((name, table.collect_schema()) for name, table in tables.items())
    for name, schema in others:
        if schema != first:
            raise DataError(
                f"'{name}' has other columns than '{first_name}': {_schema_difference(schema, first)}",
                where=where,
                hint="write both with the same columns and types",
            )
    return tables


def _with_partitions(tables: Mapping[str, Frame], where: str) -> dict[str, Frame]:
    """Add the Hive partitions of each name as columns: integers if all values are, else strings."""
    values = {name: parse_partitions(name.split("/")[:-1]) for name in tables}
    names = list(next(iter(values.values())))
    for file, found in values.items():
        if list(found) != names:
            raise DataError(
                f"'{file}' has the partitions {', '.join(found) or 'none'}, '{next(iter(values))}' has "
                f"{', '.join(names) or 'none'}",
                where=where,
                hint="one layout for all files, such as year=2024/month=1/part.parquet",
            )
    kinds = {name: _partition_type([found[name] for found in values.values()]) for name in names}
    return {
        file: table.with_columns(
            pl.lit(values[file][name], dtype=pl.String).cast(kinds[name]).alias(name) for name in names
        )
        for file, table in tables.items()
    }


def _partition_type(values: Sequence[str | None]) -> type[pl.DataType]:
    is_number = all(value is None or re.fullmatch(r"0|-?[1-9]\d{0,17}", value) for value in values)
    return pl.Int64 if is_number else pl.String


def list_files(path: Path) -> list[Path]:
    """Return the files of a folder and of the Hive partitions in it, or those of a pattern."""
    if not path.is_dir():
        return sorted(file for file in path.parent.glob(path.name) if file.suffix in _READERS)
    found = (file for file in path.rglob("*") if file.suffix in _READERS)
    return sorted(file for file in found if all("=" in name for name in file.relative_to(path).parts[:-1]))


def _schema_difference(schema: pl.Schema, first: pl.Schema) -> str:
    """Describe the first column that differs between two tables."""
    names = list(dict.fromkeys([*schema, *first]))
    name = next((column for column in names if schema.get(column) != first.get(column)), "in another order")
    return f"{name} ({schema.get(name, 'absent')}, not {first.get(name, 'absent')})"


def _read_database(section: DataSection, folder: Path) -> pl.DataFrame:
    scheme = database_scheme(section)
    with hide_passwords(section.source), guarded("source", scheme):
        return load_source(scheme)(section.source, section.query, folder=folder)


def database_scheme(section: DataSection) -> str:
    """Return the scheme of a database; raise ConfigError if it has no query."""
    if not section.query:
        hint = 'query = "SELECT ... FROM ..."'
        raise ConfigError("a database needs a query", where=f"[data] source = '{section.name}'", hint=hint)
    return section.source.partition(":")[0]


@contextmanager
def hide_passwords(url: str) -> Iterator[None]:
    """Hide the passwords of a URL in the errors that are raised within."""
    secrets = _secrets(url)
    try:
        yield
    except HeadwayError as error:
        what, where, hint = (_redact(text, secrets) for text in (error.what, error.where, error.hint))
        raise type(error)(what, where=where, hint=hint) from None


def _secrets(url: str) -> list[str]:
    """Return the passwords in a URL, encoded and decoded.

    Raises
    ------
    ConfigError
        If a password has characters with a meaning in URLs: a driver would show a part of it.
    """
    found = re.search(r"://[^:@]*:(.*)@", url, re.DOTALL)
    written = [found[1]] if found else []
    if any(re.search(r"[@/?#\[\]\s]", password) for password in written):
        raise ConfigError(
            "the password in the URL contains a character with another meaning in URLs",
            where="[data] source",
            hint="write it percent-encoded: %40 for @, %2F for /, %23 for #, %3F for ?",
        )
    written += re.findall(r"(?i)password=([^&\s]+)", url)
    return [password for text in written for password in (text, unquote(text)) if password]


def _redact(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def is_ipc_file(path: Path) -> bool:
    """Return True for an Arrow IPC file and False for a stream; both use the suffix .arrow."""
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"


def _read_arrow(path: Path) -> pl.DataFrame:
    return pl.read_ipc(path) if is_ipc_file(path) else pl.read_ipc_stream(path)


def _to_table(value: Any, source: str) -> pl.DataFrame:
    if isinstance(value, pl.DataFrame):
        return value
    if hasattr(value, "__arrow_c_stream__"):
        return pl.DataFrame(value)
    raise DataError(f"{source} gave {type(value).__name__}, not a table", hint="return a polars, pandas or Arrow table")


_READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".parquet": pl.read_parquet,
    ".csv": read_csv,
    ".arrow": _read_arrow,
    ".arrows": _read_arrow,
    ".ipc": _read_arrow,
    ".feather": _read_arrow,
}
