"""Readers of the prediction log and the label store while they grow.

Servers write segments independently, so that a segment with an earlier name may appear later: segments are remembered
by name, and a row whose counterpart has not appeared yet waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from headway.core.errors import DataError, StoreError
from headway.core.rollout import Rollout
from headway.core.sections import DataSection
from headway.data.roles import encode_target
from headway.storage import segments, traffic
from headway.storage.traffic import Label

LABEL_SCHEMA = {"key": pl.String, "label": pl.Float64, "at_us": pl.Int64, "who": pl.String}
LOG_COLUMNS = ("request", "key", "at_us", "stage", "paired", "answered", "status", "latency_us")
ARM_COLUMNS = {"status": pl.Int64, "latency_us": pl.Int64}


class SegmentReader:
    """Reader of a folder of segments; each is read once, starting with those named after `since_us`.

    Every segment must have the given columns.
    """

    def __init__(self, folder: Path, columns: Sequence[str], *, since_us: int = 0) -> None:
        self._folder = folder
        self._columns = columns
        self._after = f"{since_us * 1000:020}" if since_us else ""
        self._read: set[str] = set()

    def read(self) -> list[pl.DataFrame]:
        """Return the segments that are new; raises StoreError for one that cannot be read."""
        new = [path for path in segments.segments(self._folder, after=self._after) if path.name not in self._read]
        tables = [table for path in new if (table := _read_log_segment(path, self._columns)) is not None]
        self._read.update(path.name for path in new)
        return tables


class StageRequests:
    """Requests of a rollout's stage, each once: its key, and what both arms answered to its first row."""

    def __init__(self, state: Path, rollout: Rollout) -> None:
        self._since_us = _micros(rollout.stage_at)
        self._stage = rollout.stage
        folders = [traffic.log_folder(state, rollout.name, digest) for digest in (rollout.live, rollout.release)]
        self._tails = [SegmentReader(folder, LOG_COLUMNS, since_us=self._since_us) for folder in folders]
        self._halves = [pl.DataFrame(), pl.DataFrame()]

    def read(self) -> pl.DataFrame:
        """Return the new complete requests, oldest first.

        Columns are `request`, `key`, `at_us`, and `status`, `latency_us`, `out` (a list) of each arm, as `live.status`,
        `release.status`, ...; null if an arm got no request.
        """
        live, release = (
            pl.concat([half, *map(self._first_rows, tail.read())], how="diagonal_relaxed")
            for half, tail in zip(self._halves, self._tails, strict=True)
        )
        if live.is_empty() or release.is_empty():
            alone, live = _split_unpaired(live)
            self._halves = [live, release]
            return _of_arm(alone, "live")
        pairs = _of_arm(live, "live").join(_of_arm(release, "release"), on=["request", "key"], suffix=".release")
        alone, halves = _split_unpaired(live)
        self._halves = [_without(halves, pairs), _without(release, pairs)]
        return pl.concat([pairs, _of_arm(alone, "live")], how="diagonal_relaxed").sort("at_us", "request")

    def _first_rows(self, table: pl.DataFrame) -> pl.DataFrame:
        """Return the first row of each request of the stage, with all outputs in one list."""
        outputs = [name for name in table.columns if name.startswith("out.")]
        of_stage = table.filter((pl.col("stage") == self._stage) & (pl.col("at_us") >= self._since_us))
        rows = of_stage.unique("request", keep="first", maintain_order=True)
        columns = ["request", "key", "at_us", "paired", *ARM_COLUMNS]
        out = pl.concat_list(outputs) if outputs else pl.lit([], dtype=pl.List(pl.Float64))
        return rows.select(*columns, out=out)


class LabelReader:
    """Reader of the labels of a name; the later label of a key wins."""

    def __init__(self, state: Path, name: str) -> None:
        self._tail = SegmentReader(traffic.labels_folder(state, name), [*LABEL_SCHEMA])

    def read(self) -> pl.DataFrame:
        """Return the labels that are new: `key` and `label`, each key once."""
        tables = self._tail.read()
        found = pl.concat(tables) if tables else pl.DataFrame(schema=LABEL_SCHEMA)
        return found.sort("at_us", maintain_order=True).unique("key", keep="last", maintain_order=True)


def read_predictions(state: Path, name: str, digests: Sequence[str]) -> pl.DataFrame:
    """Return all logged rows of releases of a name, with their `release`, oldest first; see `storage.traffic`."""
    tables = [
        table.with_columns(release=pl.lit(digest))
        for digest in digests
        for table in SegmentReader(traffic.log_folder(state, name, digest), LOG_COLUMNS).read()
    ]
    return pl.concat(tables, how="diagonal_relaxed").sort("at_us", "request") if tables else pl.DataFrame()


def read_labeled_predictions(state: Path, name: str, digests: Sequence[str]) -> pl.DataFrame:
    """Return the answers that callers got from releases of a name, with the label of their key if it has arrived."""
    rows = read_predictions(state, name, digests)
    if rows.is_empty():
        return rows
    known = LabelReader(state, name).read().select("key", "label")
    return rows.filter(pl.col("answered") == 1).join(known, on="key", how="left", maintain_order="left")


def unlogged_keys(state: Path, name: str, keys: Sequence[str]) -> list[str] | None:
    """Return the keys, in their order, that no logged request of a name has; None if no request is logged.

    Servers write their log every `[serve] log_flush_s`, so the newest requests may be absent.
    """
    rest, logged = set(keys), False
    for folder in traffic.log_folders(state, name):
        for path in segments.segments(folder):
            table = _read_log_segment(path, ["key"])
            logged = logged or (table is not None and not table.is_empty())
            rest -= set() if table is None else set(table["key"])
    return [key for key in dict.fromkeys(keys) if key in rest] if logged else None


def last_request_at(state: Path, name: str, digest: str) -> datetime | None:
    """Return when the log of a release was last written, UTC; None if never."""
    paths = list(segments.segments(traffic.log_folder(state, name, digest)))
    return datetime.fromtimestamp(segments.written_ns(paths[-1]) / 1e9, UTC) if paths else None


def _read_log_segment(path: Path, columns: Sequence[str]) -> pl.DataFrame | None:
    """Read the rows of a segment; None if it was erased since it was listed."""
    try:
        table = pl.read_ipc_stream(path)
    except FileNotFoundError:
        return None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise StoreError(f"a segment of the log cannot be read: {error}", where=str(path)) from error
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise StoreError(f"a segment of the log has no column {absent[0]!r}", where=str(path))
    return table


def _split_unpaired(live: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split into rows that only live answers, and rows whose counterpart is still to come."""
    if live.is_empty():
        return live, live
    return live.filter(pl.col("paired") == 0), live.filter(pl.col("paired") == 1)


def _of_arm(rows: pl.DataFrame, arm: str) -> pl.DataFrame:
    own = {name: f"{arm}.{name}" for name in (*ARM_COLUMNS, "out")}
    return rows.drop("paired", strict=False).rename(own, strict=False)


def _without(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    return rows.join(pairs.select("request"), on="request", how="anti", maintain_order="left")


def _micros(stamp: str) -> int:
    return int(datetime.fromisoformat(stamp).timestamp() * 1_000_000)


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
