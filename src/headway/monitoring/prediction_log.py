"""Readers of the prediction log and the label store while they grow.

Servers write segments independently, so that a segment with an earlier name may appear later: segments are remembered
by name, and a row whose counterpart has not appeared yet waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Ints
from headway.core.errors import DataError, StoreError
from headway.core.rollout import Rollout, RolloutTraffic
from headway.core.variant import MULTILABEL
from headway.data.roles import encode_target
from headway.data.settings.data import DataSection
from headway.storage import segments, traffic
from headway.storage.traffic import Label

LABEL_SCHEMA = {"key": pl.String, "label": pl.Float64, "at_us": pl.Int64, "who": pl.String}
LOST_COLUMNS = ("since_us", "until_us", "rows", "release")
LOG_COLUMNS = ("request", "key", "at_us", "stage", "paired", "answered", "status", "latency_us")
_DAY_US = 86_400_000_000
ARM_COLUMNS = {"status": pl.Int64, "latency_us": pl.Int64}


class SegmentReader:
    """Reader of a folder of segments; each row is read once, starting with segments named after `since_us`.

    Every segment must have the given columns. A merged segment is read without the rows that were read before it was
    merged. With `until_us`, segments named after that time are not read.
    """

    def __init__(self, folder: Path, columns: Sequence[str], *, since_us: int = 0, until_us: int = 0) -> None:
        self._folder = folder
        self._columns = columns
        self._after = f"{since_us * 1000:020}" if since_us else ""
        self._until_ns = until_us * 1000
        self._read: set[str] = set()
        self._alone: set[int] = set()  # times in the names of the segments that were read, alone and merged
        self._merged: set[int] = set()

    def read(self) -> list[pl.DataFrame]:
        """Return the segments that are new; raises StoreError for one that cannot be read."""
        tables: list[pl.DataFrame] = []
        while new := [path for path in self._listed() if path.name not in self._read]:
            for path in new:
                self._read.add(path.name)
                table = _read_log_segment(path, self._columns)  # none: it was erased or merged since it was listed
                if table is not None:
                    tables.append(self._unread_rows(path, table))
        return tables

    def _listed(self) -> Iterator[Path]:
        listed = segments.segments(self._folder, after=self._after)
        return (path for path in listed if not self._until_ns or segments.written_ns(path) <= self._until_ns)

    def _unread_rows(self, path: Path, table: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that were not read from another segment, and remember those of this one."""
        if traffic.MERGED not in table.columns:
            written = segments.written_ns(path)
            self._alone.add(written)
            return table.clear() if written in self._merged else table
        new = table.filter(~pl.col(traffic.MERGED).is_in(self._alone | self._merged))
        self._merged.update(table[traffic.MERGED].unique())
        return new.drop(traffic.MERGED)


class LostSpan(NamedTuple):
    """A span of time, both ends included, in which the log lost rows of a release, in microseconds since 1970."""

    since_us: int
    until_us: int
    rows: int


class LostSpans:
    """Reader of the spans of time in which the log lost rows of releases of a name, which are not judged."""

    def __init__(self, state: Path, name: str, digests: Sequence[str], *, since_us: int = 0) -> None:
        self._digests = digests
        self._since_us = since_us
        self._tail = SegmentReader(traffic.lost_folder(state, name), LOST_COLUMNS, since_us=since_us)
        self._found: list[LostSpan] = []

    def read(self) -> list[LostSpan]:
        """Return all spans that are known by now, in order of time; those that overlap are one."""
        for table in self._tail.read():
            own = table.filter(pl.col("release").is_in(self._digests) & (pl.col("until_us") >= self._since_us))
            self._found += [LostSpan(*row) for row in own.select(LOST_COLUMNS[:3]).iter_rows()]
        spans: list[LostSpan] = []
        for span in sorted(self._found):
            if spans and span.since_us <= spans[-1].until_us:
                last = spans.pop()
                span = LostSpan(last.since_us, max(last.until_us, span.until_us), last.rows + span.rows)
            spans.append(span)
        self._found = spans
        return spans


def outside(spans: Sequence[LostSpan], at_us: Ints) -> Bools:
    """Return which times, int64 [n], lie in none of the spans, which do not overlap and are in order of time."""
    if not spans:
        return np.ones(len(at_us), dtype=np.bool_)
    index = np.searchsorted([span.since_us for span in spans], at_us, side="right") - 1
    ends = np.array([span.until_us for span in spans])[np.maximum(index, 0)]
    return np.asarray((index < 0) | (at_us > ends))


def at_one_rate(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a log that samples with equal rates within each day (UTC), that of its lowest.

    Requests that were kept with a higher rate are thinned at random, always the same ones, for methods that give each
    row the same weight.
    """
    if rows.is_empty() or rows["rate"].min() == 1:
        return rows
    lowest = pl.col("rate").min().over(pl.col("at_us") // _DAY_US)
    numbers = rows["request"].to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    drawn = pl.Series((numbers >> np.uint64(11)).astype(np.float64) / 2.0**53)
    return rows.filter(drawn < lowest / pl.col("rate")).with_columns(rate=lowest)


class StageRequests:
    """Requests of a rollout's stage, each once: its key, and what both arms answered to its first row.

    Requests in a span of time in which the log lost rows are left out; `n_lost` counts the lost rows. Those of a log
    that samples count once each, without a weight: it keeps a request for both arms or for none, and the sequential
    test of a rollout holds for bounded differences of single requests.
    """

    def __init__(self, state: Path, rollout: Rollout) -> None:
        self._since_us = _micros(rollout.stage_at)
        self._stage = rollout.stage
        folders = [traffic.log_folder(state, rollout.name, digest) for digest in (rollout.live, rollout.release)]
        self._tails = [SegmentReader(folder, LOG_COLUMNS, since_us=self._since_us) for folder in folders]
        self._halves = [pl.DataFrame(), pl.DataFrame()]
        self._lost = LostSpans(state, rollout.name, (rollout.live, rollout.release), since_us=self._since_us)
        self.n_lost = 0

    def read(self) -> pl.DataFrame:
        """Return the new complete requests that can be judged, oldest first.

        Columns are `request`, `key`, `at_us`, and `status`, `latency_us`, `out` (a list) of each arm, as `live.status`,
        `release.status`, ...; null if an arm got no request.
        """
        spans = self._lost.read()
        self.n_lost = sum(span.rows for span in spans)
        found = self._complete()
        return found.filter(pl.Series(outside(spans, found["at_us"].to_numpy()))) if spans and len(found) else found

    def _complete(self) -> pl.DataFrame:
        """Return the new requests for which all rows are known."""
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


_LATE_US = 7200 * 1_000_000
"""How much later than its requests a segment may be named: it was flushed, and merged with those of an hour."""


def count_rollout_traffic(state: Path, rollout: Rollout, *, until: str = "") -> RolloutTraffic:
    """Count the requests that the release of a rollout ran in all its stages, by the log.

    `until` is when the next rollout of the release started; servers may answer by it for a moment after the end of
    this one.
    """
    start_us, stop_us = _micros(rollout.started_at), _micros(until) if until else 0
    ended_us = 0 if rollout.status == "running" else _micros(rollout.stage_at) + _LATE_US
    folder, columns = traffic.log_folder(state, rollout.name, rollout.release), (*LOG_COLUMNS, "role")
    tables = SegmentReader(folder, columns, since_us=start_us, until_us=ended_us).read()
    if not tables:
        return RolloutTraffic(answered=0, logged_only=0)
    rows = pl.concat([table.select("request", "at_us", "role", "answered", "rate") for table in tables])
    ran = rows.filter((pl.col("role") == traffic.CANARY) & (pl.col("at_us") >= start_us))
    requests = (ran.filter(pl.col("at_us") < stop_us) if stop_us else ran).unique("request")
    counts = {
        answered: round(requests.filter(pl.col("answered") == answered).select((1 / pl.col("rate")).sum()).item())
        for answered in (0, 1)
    }
    return RolloutTraffic(answered=counts[1], logged_only=counts[0], is_sampled=bool((requests["rate"] < 1).any()))


class LabelReader:
    """Reader of the labels of a name that people gave; the later label of a key wins.

    Answers of the remote stage do not count, and are left out.
    """

    def __init__(self, state: Path, name: str) -> None:
        self._tail = SegmentReader(traffic.labels_folder(state, name), [*LABEL_SCHEMA])

    def read(self) -> pl.DataFrame:
        """Return the labels that are new: `key` and `label`, each key once."""
        tables = self._tail.read()
        found = without_remote(pl.concat(tables) if tables else pl.DataFrame(schema=LABEL_SCHEMA))
        return found.sort("at_us", maintain_order=True).unique("key", keep="last", maintain_order=True)


def without_remote(labels: pl.DataFrame) -> pl.DataFrame:
    """Return labels without the answers of the remote stage of selective answering."""
    return labels.filter(pl.col("who").ne_missing(traffic.REMOTE))


def read_predictions(state: Path, name: str, digests: Sequence[str]) -> pl.DataFrame:
    """Return all logged rows of releases of a name, with their `release`, oldest first; see `storage.traffic`."""
    tables = [
        table.with_columns(release=pl.lit(digest))
        for digest in digests
        for table in SegmentReader(traffic.log_folder(state, name, digest), LOG_COLUMNS).read()
    ]
    return pl.concat(tables, how="diagonal_relaxed").sort("at_us", "request") if tables else pl.DataFrame()


def answered_requests(state: Path, name: str, digest: str) -> pl.DataFrame:
    """Return the logged rows of a release with a key whose caller got this answer, without errors, oldest first."""
    rows = read_predictions(state, name, [digest])
    if rows.is_empty():
        return rows
    return rows.filter((pl.col("answered") == 1) & (pl.col("status") == 0) & (pl.col("key") != ""))


def device_requests(state: Path, name: str) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each release with the requests that devices logged of it, as `answered_requests` returns a server's."""
    tables = SegmentReader(traffic.devices_folder(state, name), (*LOG_COLUMNS, "device", "release")).read()
    if tables:
        rows = pl.concat(tables, how="diagonal_relaxed").sort("at_us", "request")
        answered = rows.filter((pl.col("answered") == 1) & (pl.col("status") == 0) & (pl.col("key") != ""))
        for (release,), of_release in answered.group_by("release", maintain_order=True):
            yield str(release), of_release


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
    if "request" in table.columns and "rate" not in table.columns:
        table = table.with_columns(rate=pl.lit(1.0))  # written by an earlier version
    return table.with_columns(pl.col("key").forward_fill()) if "key" in table.columns else table


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

    Raises DataError if the file cannot be read, lacks a column, or a label is missing, not a number, or, for a
    binary target, not 0 or 1.
    """
    if section.task == MULTILABEL:
        raise DataError(
            "a label of a request is one number, and rows have several labels here",
            where='[data] task = "multilabel"',
            hint="add the rows with their labels to the table of [data] source, then headway retrain",
        )
    try:
        table = (
            pl.read_parquet(file)
            if file.suffix == ".parquet"
            else pl.read_csv(file, schema_overrides={"key": pl.String})
        )
        labels_table = table.select(pl.col("key").cast(pl.String), "label")
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"labels cannot be read: {error}", where=str(file), hint=_HINT) from error
    if labels_table["label"].dtype.is_float():
        labels_table = labels_table.with_columns(pl.col("label").fill_nan(None))
    empty = labels_table.with_row_index().filter(pl.any_horizontal(pl.col("key", "label").is_null()))
    if len(empty):
        raise DataError("a key or a label is missing", where=f"{file}, row {empty['index'][0]}", hint=_HINT)
    try:
        labels = encode_target(labels_table["label"], section).cast(pl.Float64)
    except DataError as error:
        raise DataError(
            f"labels cannot be read: {error.what}", where=f"{file}; {error.where}", hint=error.hint
        ) from error
    wrong = labels_table.filter(~labels.is_in([0.0, 1.0]))["label"]
    if section.target and section.task == "binary" and len(wrong):
        raise DataError(f"the label is {wrong[0]}, expected 0 or 1 of a binary target", where=str(file), hint=_HINT)
    return [Label(key, label) for key, label in zip(labels_table["key"], labels, strict=True)]
