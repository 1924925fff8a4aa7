"""Files of the store that hold rows of callers, or counts of rows: log, labels, features, quarantine, Explore.

Quarantined rows are compressed parquet, so their keys are found by value, not by bytes.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import polars as pl

from headway.core.errors import StoreError
from headway.core.record import Record
from headway.evaluation import explore
from headway.features.online.sqlite import SqliteOnlineStore
from headway.features.online_rows import STATES, entity_values
from headway.monitoring.erasure.byte_search import count_bytes, map_file
from headway.storage import atomic, segments, traffic
from headway.storage.addresses import online_folder

if TYPE_CHECKING:
    from headway.core.contracts import OnlineStore
    from headway.storage.segments import Column

KEY, _TEXT = "key", "text."
_ARROW_FILE = b"ARROW1"


class AffectedFile(Record, frozen=True, kw_only=True):
    """A file with rows to erase: its path in the store, its location, the number of rows, and its SHA-256 before."""

    former_names: ClassVar[Mapping[str, str]] = {"place": "location"}

    path: str
    location: str
    rows: int
    before: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureTarget:
    """What to erase: the rows of these keys, or those of segments written before a time in ns since 1970."""

    keys: tuple[str, ...] = ()
    before_ns: int = 0


def affected_files(state: Path, target: ErasureTarget) -> Iterator[AffectedFile]:
    """Yield every file that holds rows to erase; a file that disappears during the scan has none.

    The tables of Explore count rows of the project's data by group and slice, without keys. Each may count rows of a
    key, so all of them go with it; the page makes them again from the rows that are left in the source.
    """
    for path in traffic.all_segments(state):
        rows, old = _count_segment_rows(path, target), is_expired(path, target)
        if rows or old:
            yield _affected(state, path, "/".join(path.relative_to(state).parts[:2]), rows)
    for path in traffic.aside_files(state):
        rows = count_occurrences(path, target.keys)
        if rows or is_expired(path, target):
            yield _affected(state, path, "/".join(path.relative_to(state).parts[:2]), rows)
    for path in traffic.quarantine_files(state):
        n_rows = count_quarantined(path, target.keys) if target.keys else count_if_expired(path, target.before_ns)
        if n_rows or (n_rows is not None and not target.keys):
            yield _affected(state, path, "/".join(path.relative_to(state).parts[:2]), n_rows)
    for path in explore.stored_tables(state):
        if target.keys or path.stat().st_mtime_ns < target.before_ns:
            yield _affected(state, path, explore.FOLDER, 0)
    for path in sorted(online_folder(state).glob("*.sqlite")) if target.keys else []:
        journal = path.with_name(f"{path.name}-wal")
        if count_occurrences(path, target.keys) or count_occurrences(journal, target.keys):
            yield _affected(state, path, f"online/{path.stem}", count_in_table(path, target.keys))


def erase_rows(state: Path, file: AffectedFile, target: ErasureTarget) -> None:
    """Erase the rows of a file, which is on disk without them, or gone, at return; idempotent."""
    path = state / file.path
    if file.location.startswith(f"{traffic.QUARANTINE}/"):
        erase_quarantined(path, target.keys)
    elif file.location.startswith("online/"):
        with closing(SqliteOnlineStore(path.parent)) as store:
            store.delete(path.stem, [*target.keys, *online_keys(store, path.stem, target.keys)])
    elif file.location == explore.FOLDER or path.parent.name == traffic.ASIDE or is_expired(path, target):
        path.unlink(missing_ok=True)
        atomic.sync(path.parent)
    elif (table := read_segment(path)) is not None:
        # an empty segment stays: a log writer that was killed recreates only what does not exist
        remaining = _key_once(table.filter(~_has_key(table, target.keys)))
        segments.save(path.parent, {column.name: _column(column) for column in remaining}, name=path.name)


def rows_of_keys(state: Path, file: AffectedFile, target: ErasureTarget) -> list[dict[str, Any]]:
    """Return the rows of a file that `erase_rows` would erase; tables of counts have none."""
    path = state / file.path
    if file.location.startswith(f"{traffic.QUARANTINE}/"):
        table = _read_quarantined(path)
        return [] if table is None else table.filter(_holds_key(table, target.keys)).to_dicts()
    if file.location.startswith("online/"):
        with closing(SqliteOnlineStore(path.parent)) as store:
            return list(read_online(store, path.stem, target.keys))
    if path.parent.name == traffic.ASIDE:
        return [{"put_aside": path.name, "times": file.rows}]
    table = None if file.location == explore.FOLDER else read_segment(path)
    return [] if table is None else table.filter(_has_key(table, target.keys)).to_dicts()


def read_online(store: OnlineStore, table: str, keys: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of an online table that `online_keys` finds: entity, values and event time in microseconds.

    A state of a window has no columns; its bytes are not decoded.
    """
    for is_staged in (False, True):
        for found, values, event_us in store.scan(table, staged=is_staged):
            chosen = set(_of_keys(found, keys, is_state=values.shape[1] == STATES))
            for index in [index for index, key in enumerate(found) if key in chosen]:
                yield {
                    "entity": found[index],
                    "values": [None if np.isnan(value) else float(value) for value in values[index]],
                    "event_us": int(event_us[index]),
                    "is_staged": is_staged,
                }


def _of_keys(found: Sequence[str], keys: Sequence[str], *, is_state: bool) -> list[str]:
    """Return the keys of rows that are one of these, or of an entity of several values with one of these."""
    wanted = set(keys)
    return [key for key in found if not wanted.isdisjoint(entity_values(key.partition("\x1f")[2] if is_state else key))]


def _key_once(table: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the log with null for the key of the row before, if it is of the same request."""
    if "request" not in table.columns:
        return table
    repeats = (pl.col("request") == pl.col("request").shift()) & (pl.col(KEY) == pl.col(KEY).shift())
    return table.with_columns(pl.when(repeats).then(None).otherwise(pl.col(KEY)).alias(KEY))


def is_expired(path: Path, target: ErasureTarget) -> bool:
    """Return whether all rows of a segment are older than the time."""
    return segments.written_ns(path) < target.before_ns


def read_segment(path: Path) -> pl.DataFrame | None:
    """Read a segment, None if it no longer exists; raises StoreError if it cannot be read."""
    try:
        table = pl.read_ipc_stream(path)
    except FileNotFoundError:
        return None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"a segment cannot be read: {error}", where=str(path)) from error
    return table.with_columns(pl.col(KEY).forward_fill()) if KEY in table.columns else table


def count_occurrences(path: Path, keys: Sequence[str], *, alone: bool = False) -> int:
    """Count the occurrences of the bytes of these keys in a file; `alone` excludes those within a longer word."""
    with map_file(path) as content:
        return count_in(content, keys, alone=alone)


def count_in(content: bytes | mmap.mmap, keys: Sequence[str], *, alone: bool = False) -> int:
    """Count the occurrences of these keys in bytes as `count_occurrences` does.

    An Arrow file, such as the sample of an assessment, is compressed: its texts are compared as well.
    """
    times = count_bytes(content, keys, alone=alone)
    return max(times, _count_texts(content[:], keys)) if content[: len(_ARROW_FILE)] == _ARROW_FILE else times


def _count_texts(content: bytes, keys: Sequence[str]) -> int:
    """Count the texts of an Arrow file that are one of these keys; 0 if it is none."""
    try:
        texts = pl.read_ipc(io.BytesIO(content)).select(pl.col(pl.String)).get_columns()
    except pl.exceptions.PolarsError:
        return 0
    return sum(int(column.is_in(list(keys)).sum()) for column in texts)


def count_in_table(path: Path, keys: Sequence[str]) -> int:
    """Count the rows of an online table whose entity is one of these keys, or has one of them among its values."""
    with closing(SqliteOnlineStore(path.parent)) as store:
        return len(online_keys(store, path.stem, keys))


def online_keys(store: OnlineStore, table: str, keys: Sequence[str]) -> list[str]:
    """Return the keys of a table that are one of these, or of an entity of several values with one of these.

    Rows that are staged, to be published later, are among them.
    """
    scans = (store.scan(table, staged=is_staged) for is_staged in (False, True))
    found = (_of_keys(names, keys, is_state=values.shape[1] == STATES) for scan in scans for names, values, _ in scan)
    return list(dict.fromkeys(key for part in found for key in part))


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, "" if there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def _affected(state: Path, path: Path, location: str, rows: int) -> AffectedFile:
    return AffectedFile(path=os.fspath(path.relative_to(state)), location=location, rows=rows, before=file_digest(path))


def _count_segment_rows(path: Path, target: ErasureTarget) -> int:
    """Count the rows of a segment to erase; a segment whose bytes contain no key is not decoded."""
    old = is_expired(path, target)
    table = read_segment(path) if old or count_occurrences(path, target.keys) else None
    if table is None or old:
        return 0 if table is None else len(table)
    return int(table.select(_has_key(table, target.keys)).to_series().sum()) if KEY in table.columns else 0


def _has_key(table: pl.DataFrame, keys: Sequence[str]) -> pl.Expr:
    """Return whether a row has one of these keys: that of its request, or an entity of its feature views."""
    names = [KEY, *(name for name in table.columns if name.startswith(_TEXT))]
    return pl.any_horizontal(pl.col(name).is_in(list(keys)).fill_null(value=False) for name in names)


def _column(values: pl.Series) -> Column:
    return values.to_list() if values.dtype == pl.String else values.to_numpy()


def count_quarantined(path: Path, keys: Sequence[str]) -> int:
    """Count the rows with one of these keys as a value of any column; 0 if the file disappeared.

    Raises StoreError for a file that cannot be read.
    """
    table = _read_quarantined(path)
    return 0 if table is None else int(table.select(_holds_key(table, keys)).to_series().sum())


def count_if_expired(path: Path, before_ns: int) -> int | None:
    """Count the rows of a file written before a time in ns since 1970; None if it is newer."""
    try:
        if path.stat().st_mtime_ns >= before_ns:
            return None
        return int(pl.scan_parquet(path).select(pl.len()).collect().item())
    except FileNotFoundError:
        return None


def erase_quarantined(path: Path, keys: Sequence[str]) -> None:
    """Erase the rows of these keys from a file in one step, or the file itself without keys; idempotent."""
    table = _read_quarantined(path) if keys else None
    if table is not None:
        remaining = table.filter(~_holds_key(table, keys))
        atomic.fill(path, lambda file: remaining.write_parquet(file))
    elif not keys:
        path.unlink(missing_ok=True)
        atomic.sync(path.parent)


def _read_quarantined(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path)
    except FileNotFoundError:
        return None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"a file in quarantine cannot be read: {error}", where=str(path)) from error


def _holds_key(table: pl.DataFrame, keys: Sequence[str]) -> pl.Expr:
    plain = [pl.col(name).cast(pl.String).is_in(list(keys)).fill_null(value=False)
             for name, kind in table.schema.items() if not kind.is_nested()]  # fmt: skip
    nested = [pl.col(name).list.eval(pl.element().cast(pl.String).is_in(list(keys))).list.any().fill_null(value=False)
              for name, kind in table.schema.items() if kind.base_type() == pl.List]  # fmt: skip
    return pl.any_horizontal(pl.lit(value=False), *plain, *nested).alias("holds")
