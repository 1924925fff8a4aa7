"""Point-in-time joins of tables larger than memory: by partitions of entities, on this machine or on workers.

What a row sees depends on the observations of its own entity alone. So rows and observations are split by a hash of the
entity, each partition is joined like a table in memory, and the results are put back in the order of the rows.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from msgspec.structs import replace as changed

from headway.core.errors import DataError, Refused
from headway.core.feature_view import FeatureView
from headway.core.record import digest_of
from headway.core.workers import HERE, Workers
from headway.data.read import read_file
from headway.data.scan import TableScan, scan_path, scan_source
from headway.data.settings.data import DataSection
from headway.features.compute import (
    EVENT_TIME,
    entity_column,
    narrowed,
    needed_columns,
    query_source,
    read_view_source,
    source_config,
    source_keys,
    utc_times,
)
from headway.features.historical import (
    compute_on_demand,
    expect_column,
    expect_unique,
    full_name,
    join_view,
    row_keys,
    with_defaults,
)

ROW, AT, PART = "__row", "__at", "__part"
_COPIES = 6
"""How often the tables of a partition are in memory while they are joined: as read, sorted, hashed and gathered."""
_BATCH_VALUES = 1 << 21
_MAX_ROWS = 1 << 20
"""Rows of a partition that are joined at once; one entity can have more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionTask:
    """One partition of one view: the files of its rows and of its observations, and the folder for its results."""

    rows: tuple[str, ...]
    source: tuple[str, ...]
    folder: str
    block_rows: int


def write_historical_features(
    rows: Path | pl.DataFrame,
    views: Sequence[FeatureView],
    out: Path,
    *,
    time: str,
    folder: Path = Path(),
    sources: Mapping[str, TableScan | pl.DataFrame | None] | None = None,
    time_zone: str = "UTC",
    with_times: bool = False,
    full_names: bool = False,
    memory_bytes: int = 1 << 30,
    workers: Workers = HERE,
) -> int:
    """Join rows with views as `get_historical_features` does, and write them to a parquet file.

    Parameters
    ----------
    rows : Path or DataFrame
        A table, or a parquet, Arrow or csv file, or a folder or pattern of them.
    out : Path
        The parquet file to write; it is there completely or not at all. Temporary files lie next to it, so that
        workers on other machines need the folder under the same path.
    sources : mapping of str to TableScan, DataFrame or None, optional
        Sources that were opened already, by the name of the view.
    memory_bytes : int
        About what the tables of a partition may take, besides the program itself. All observations of one entity are
        in one partition, and the result of a query that a view has is one table in memory.
    workers : Workers
        Where partitions are joined.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    DataError
        As `get_historical_features`. Rows are counted from the first one of a batch, which the message names.
    """
    sourced = [narrowed(view) for view in views if not view.is_on_demand]
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as name:
        scratch = Path(name)
        if isinstance(rows, Path):
            table = _RowFile(scan_path(rows, scratch, max_rows=1) or read_file(rows))
        else:
            table = _RowFile(rows)
        expect_column(table.empty, time, "time")
        for number, view in enumerate(sourced):
            part = scratch / f"view-{number}"
            part.mkdir()
            source, view = _open_source(view, folder, part, (sources or {}).get(view.name))
            count = max(
                1, math.ceil((source.n_bytes + table.n_bytes_of([*view.entities, time])) * _COPIES / memory_bytes)
            )
            tasks = _split(table, source, view, part, count, time=time, time_zone=time_zone)
            _join(view, source.empty, tasks, workers)
        written = list[Path]()
        for start, batch in table.batches():
            columns, inputs = list[pl.Series](), list[pl.Series]()
            for number, view in enumerate(sourced):
                joined = _read_block(scratch / f"view-{number}", start // table.batch_rows)
                inputs += with_defaults(view, [joined[one] for one in view.feature_names])
                columns += [joined[one].alias(full_name(view, one, full_names)) for one in view.feature_names]
                columns += [joined[AT].alias(f"{view.name}__{EVENT_TIME}")] if with_times else []
            for view in (view for view in views if view.is_on_demand):
                found = compute_on_demand(view, batch, inputs)
                inputs += found
                columns += [column.alias(full_name(view, column.name, full_names)) for column in found]
            expect_unique([*batch.columns, *(column.name for column in columns)])
            written.append(scratch / f"rows-{start:012}.parquet")
            batch.hstack(columns).write_parquet(written[-1])
        if not written:
            name = rows.name if isinstance(rows, Path) else "the table"
            raise DataError(f"'{name}' has no rows", where=str(rows) if isinstance(rows, Path) else "")
        pl.scan_parquet(written, glob=False, hive_partitioning=False).sink_parquet(scratch / "complete")
        os.replace(scratch / "complete", out)
    return table.n_rows


class _RowFile:
    """A table in batches of equal length, whether it is a scan or in memory."""

    def __init__(self, table: TableScan | pl.DataFrame) -> None:
        self._table = table
        self.n_rows = table.n_rows if isinstance(table, TableScan) else len(table)
        self.empty = pl.DataFrame(schema=table.schema)
        self.batch_rows = max(1, _BATCH_VALUES // max(1, self.empty.width))

    @property
    def n_bytes(self) -> int:
        """Estimated size in memory, by the first batch."""
        return self.n_bytes_of(self.empty.columns)

    def n_bytes_of(self, columns: Sequence[str]) -> int:
        """Return the estimated size of some columns in memory, by the first batch."""
        for _, batch in self.batches():
            size = sum(batch[name].estimated_size() for name in columns if name in batch.columns)
            return math.ceil((size / len(batch) + 8) * self.n_rows)
        return 0

    def batches(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield the number of the first row of each batch, and the batch."""
        start, held = 0, list[pl.DataFrame]()
        for part in self._table.batches() if isinstance(self._table, TableScan) else [self._table]:
            held.append(part)
            while sum(map(len, held)) >= self.batch_rows:
                complete = pl.concat(held)
                yield start, complete[: self.batch_rows]
                start, held = start + self.batch_rows, [complete[self.batch_rows :]]
        if sum(map(len, held)):
            yield start, pl.concat(held)


def _open_source(
    view: FeatureView, folder: Path, scratch: Path, found: TableScan | pl.DataFrame | None
) -> tuple[_RowFile, FeatureView]:
    """Return the source of a view, and the view over it; the query of a view is run here, over the whole source."""
    if view.sql:
        source = found if isinstance(found, pl.DataFrame) else read_view_source(view, folder=folder)
        return _RowFile(query_source(view, source)), changed(view, sql="")
    if found is None:
        config = source_config(view, folder)
        found = scan_source(config.having(changed(config[DataSection], max_rows=1)), scratch)
    if isinstance(found, TableScan):
        needed = needed_columns(view)
        parts = {
            name: frame.select(column for column in frame.collect_schema() if needed is None or column in needed)
            for name, frame in found.parts.items()
        }
        return _RowFile(replace(found, parts=parts)), view
    return _RowFile(read_view_source(view, folder=folder) if found is None else found), view


def _split(
    table: _RowFile,
    source: _RowFile,
    view: FeatureView,
    scratch: Path,
    count: int,
    *,
    time: str,
    time_zone: str,
) -> list[PartitionTask]:
    """Write the rows and the observations of each partition to files; return the tasks of those that have rows."""
    where = f"view '{view.reference}'"
    for start, batch in source.batches():
        with _counted_from(start):
            keys = source_keys(view, batch)[: len(view.entities)]
        _write(batch, _partitions(keys, count), scratch / "source", start)
    dtypes = {
        name: entity_column(expect_column(source.empty, name, where), where=where).dtype for name in view.entities
    }
    for start, batch in table.batches():
        with _counted_from(start):
            at = utc_times(batch[time], time_zone, where="the rows").alias(AT)
            keys = row_keys(batch, view, dtypes)
        times = pl.DataFrame([*keys, at]).with_row_index(ROW, offset=start)
        parts = _partitions(keys, count) if keys else start // table.batch_rows % count
        _write(times, parts, scratch / "rows", start)
    return [
        PartitionTask(
            rows=tuple(sorted(map(str, part.iterdir()))),
            source=tuple(sorted(map(str, (scratch / "source" / (part.name if view.entities else "0")).glob("*")))),
            folder=str(scratch / "joined"),
            block_rows=table.batch_rows,
        )
        for part in sorted((scratch / "rows").glob("*"))
    ]


def _partitions(keys: Sequence[pl.Series], count: int) -> pl.Series | int:
    """Return the partition of each row by the hash of its entity; 0 for a view without entities."""
    return pl.DataFrame(keys).hash_rows(seed=0) % count if keys and count > 1 else 0


def _write(table: pl.DataFrame, parts: pl.Series | int, folder: Path, start: int) -> None:
    """Write a file for each partition that a batch has rows of."""
    number = parts if isinstance(parts, pl.Series) else pl.lit(parts)
    for (part,), rows in (
        table.with_columns(number.alias(PART)).partition_by(PART, as_dict=True, include_key=False).items()
    ):
        file = folder / str(part) / f"{start:015}.arrow"
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.write_ipc(file)


def _join(view: FeatureView, empty: pl.DataFrame, tasks: Sequence[PartitionTask], workers: Workers) -> None:
    """Join all partitions; raise Refused if a file is not the one that its worker reported."""
    for number, digests in workers.map(join_partition, (view, empty), tasks):
        for file, digest in digests.items():
            if digest_of(Path(file).read_bytes()) != digest:
                raise Refused(f"the result of partition {number} is not the one that its worker reported", where=file)


def join_partition(shared: tuple[FeatureView, pl.DataFrame], task: PartitionTask) -> dict[str, str]:
    """Join the rows of one partition, write them by blocks of row numbers, and return the digest of each file."""
    view, empty = shared
    source = pl.concat([empty, *(pl.read_ipc(file) for file in task.source)])
    rows = pl.concat([pl.read_ipc(file) for file in task.rows])
    digests = dict[str, str]()
    for start in range(0, len(rows), _MAX_ROWS):
        some = rows[start : start + _MAX_ROWS]
        columns, seen = join_view(some.drop(ROW, AT), some[AT], view, source)
        joined = pl.DataFrame([some[ROW], *columns, seen.alias(AT)])
        blocks = joined.with_columns((pl.col(ROW) // task.block_rows).alias(PART))
        for (block,), found in blocks.partition_by(PART, as_dict=True, include_key=False).items():
            part = Path(task.rows[0]).parent.name
            file = Path(task.folder) / f"{block}" / f"{part}-{start}.arrow"
            file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = file.with_suffix(f".{os.getpid()}")
            found.write_ipc(unfinished)
            os.replace(unfinished, file)
            digests[str(file)] = digest_of(file.read_bytes())
    return digests


def _read_block(scratch: Path, block: int) -> pl.DataFrame:
    """Return the joined rows of one block in their order."""
    files = sorted((scratch / "joined" / str(block)).glob("*.arrow"))
    return pl.concat([pl.read_ipc(file) for file in files]).sort(ROW)


@contextmanager
def _counted_from(start: int) -> Iterator[None]:
    """Say in errors where the batch begins whose rows they count."""
    try:
        yield
    except DataError as error:
        where = f"{error.where}, counted from row {start:,}" if start else error.where
        raise DataError(error.what, where=where, hint=error.hint) from error
