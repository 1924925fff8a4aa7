"""Read a table in batches: files, objects on S3, and results of databases that stream them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.core.plugins import guarded
from headway.data.context import BatchSource, load_source
from headway.data.parsing import concat_frames, date_expressions, parse_dates
from headway.data.read import (
    check_header,
    collect,
    database_scheme,
    hide_passwords,
    is_ipc_file,
    list_files,
    resolve_path,
    same_columns,
    scan_objects,
)
from headway.data.settings.data import DataSection

BATCH_VALUES = 1 << 23
"""Values of a batch: 64 MB as numbers."""
MAX_VALUES = 100_000_000
"""Values of the rows that are held in memory if `[data] max_rows` is 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TableScan:
    """A table in parts, each with its name and number of rows, which is read one batch at a time.

    It has more rows than memory shall hold, which is `max_rows`.
    """

    parts: Mapping[str, pl.LazyFrame]
    lengths: tuple[int, ...]
    where: str
    max_rows: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return sum(self.lengths)

    @property
    def schema(self) -> pl.Schema:
        """Columns, with their types."""
        return next(iter(self.parts.values())).collect_schema()

    def batches(self) -> Iterator[pl.DataFrame]:
        """Yield all rows in their order, in batches of about equal size."""
        rows = max(1, BATCH_VALUES // max(1, len(self.schema)))
        waiting: list[pl.DataFrame] = []
        for (name, frame), length in zip(self.parts.items(), self.lengths, strict=True):
            for start in range(0, length, rows):
                waiting.append(collect(frame.slice(start, rows), name, self.where))
                if sum(map(len, waiting)) >= rows:
                    yield pl.concat(waiting)
                    waiting = []
        if waiting:
            yield pl.concat(waiting)


def scan_source(config: Config, folder: Path) -> TableScan | pl.DataFrame | None:
    """Return the source of a project as a scan if it has more rows than memory shall hold.

    Returns
    -------
    TableScan, DataFrame or None
        None for a table that `read_table` shall read: it is small enough, or its source is not one that can be read
        in batches. The result of a database is read to find out; if it is small, it is returned. Else its rows are
        written to `folder`, as are those of csv files.
    """
    section = config[DataSection]
    if not section.source:
        return None
    if section.source.startswith("s3://"):
        return _scan(scan_objects(section), section.source.rstrip("/"), folder, section.max_rows)
    if "://" in section.source:
        return _scan_database(config, folder)
    return None if section.query else scan_path(config.path(section.source), folder, max_rows=section.max_rows)


def scan_path(path: Path, folder: Path, *, max_rows: int = 0) -> TableScan | None:
    """Return a scan of a file, or of a folder or pattern of them, if they have more rows than memory shall hold.

    None as well if a file cannot be read: `read_file` then shows which, and why.
    """
    path = resolve_path(path)
    with suppress(pl.exceptions.PolarsError, OSError, DataError):
        files = list_files(path) if path.is_dir() or "*" in path.name else [path]
        if files and all(map(_is_readable_in_parts, files)) and not _is_small(files, max_rows):
            root = path if path.is_dir() else path.parent
            frames = {file.relative_to(root).as_posix(): _scan_file(file) for file in files}
            return _scan(frames, str(root), folder, max_rows)
    return None


def _scan(frames: Mapping[str, pl.LazyFrame], where: str, folder: Path, max_rows: int) -> TableScan | None:
    n_columns = len(next(iter(frames.values())).collect_schema())
    lengths = tuple(collect(frame.select(pl.len()), name, where).item() for name, frame in frames.items())
    limit = _limit(max_rows, n_columns)
    if sum(lengths) <= limit:
        return None
    parts = {
        name: _from_csv(Path(where, name), folder / f"csv-{at}.parquet") if name.endswith(".csv") else frame
        for at, (name, frame) in enumerate(frames.items())
    }
    return TableScan(parts=same_columns(parts, where), lengths=lengths, where=where, max_rows=limit)


def _limit(max_rows: int, n_columns: int) -> int:
    return max_rows or MAX_VALUES // max(1, n_columns)


def _is_readable_in_parts(file: Path) -> bool:
    is_arrow = file.suffix in (".arrow", ".ipc", ".feather") and is_ipc_file(file)
    return is_arrow or file.suffix in (".parquet", ".csv")


def _is_small(files: Sequence[Path], max_rows: int) -> bool:
    """Return whether csv files are too short for that many rows; a row has a byte for each of its columns at least."""
    if any(file.suffix != ".csv" for file in files):
        return False
    with files[0].open("rb") as first:
        n_columns = first.readline().count(b",") + 1
    return sum(file.stat().st_size for file in files) <= _limit(max_rows, n_columns) * n_columns


def _scan_file(file: Path) -> pl.LazyFrame:
    if file.suffix == ".csv":
        return pl.scan_csv(file, infer_schema=False, glob=False)
    if file.suffix == ".parquet":
        return pl.scan_parquet(file, glob=False, hive_partitioning=False)
    return pl.scan_ipc(file, glob=False)


def _from_csv(file: Path, path: Path) -> pl.LazyFrame:
    """Write the rows of a csv file to parquet, of which any rows can be read; their dates are parsed."""
    frame = pl.scan_csv(file, infer_schema_length=None, glob=False)
    check_header(frame.collect_schema().names(), file)
    frame.sink_parquet(path, row_group_size=BATCH_VALUES // 128, engine="streaming")
    written = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    return written.with_columns(date_expressions(written))


def _scan_database(config: Config, folder: Path) -> TableScan | pl.DataFrame | None:
    section = config[DataSection]
    scheme = database_scheme(section)
    source = load_source(scheme)
    if not isinstance(source, BatchSource):
        return None
    with hide_passwords(section.source), guarded("source", scheme):
        frames = source.batches(section.source, section.query, folder=Path(config.folder))
        return _hold_or_write(frames, config, folder, strings_hold_dates=source.strings_hold_dates)


def _hold_or_write(
    frames: Iterable[pl.DataFrame], config: Config, folder: Path, *, strings_hold_dates: bool
) -> TableScan | pl.DataFrame | None:
    """Return the table of some frames if it is small; else write it to files, and return a scan of these."""
    held: list[pl.DataFrame] = []
    written: list[Path] = []
    n_rows = 0
    for frame in frames:
        held.append(frame)
        n_rows += len(frame)
        if written or n_rows > _limit(config[DataSection].max_rows, frame.width):
            written += [_write(table, folder / f"rows-{len(written) + at}.arrow") for at, table in enumerate(held)]
            held = []
    if not written:
        table = concat_frames(held) if held else None
        return parse_dates(table) if table is not None and strings_hold_dates else table
    scans = {path.name: pl.scan_ipc(path, glob=False) for path in written}
    empty = [pl.DataFrame(schema=scan.collect_schema()) for scan in scans.values()]
    schema = concat_frames(empty).schema
    parts = {name: scan.cast(schema) for name, scan in scans.items()}
    if strings_hold_dates:
        dates = date_expressions(pl.concat(parts.values()))
        parts = {name: part.with_columns(dates) for name, part in parts.items()}
    return _scan(parts, config[DataSection].name, folder, config[DataSection].max_rows)


def _write(table: pl.DataFrame, path: Path) -> Path:
    try:
        table.write_ipc(path)
    except OSError as error:
        raise ConfigError(
            f"cannot write rows to a temporary file: {error.strerror}", where=str(path.parent), hint="TMPDIR=FOLDER"
        ) from error
    return path
