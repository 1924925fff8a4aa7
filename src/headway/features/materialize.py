"""Materialise feature views: write the newest row of each entity from the source to an online store.

A full run is staged and put in place in one step, so a killed one changes nothing that is served. An incremental run
and a backfill write rows as a push does: each is one observation of one entity, and an older one never replaces it.
Each batch is saved with the progress of its run, from which the same run goes on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.contracts import OnlineStore, State
from headway.core.errors import DataError, StoreError
from headway.core.feature_view import FeatureView
from headway.features import catalog
from headway.features.compute import (
    CREATED_TIME,
    EVENT_TIME,
    compute_rows,
    entity_key_expr,
    event_rows,
    microseconds,
    read_view_source,
    rows_between,
    seen_us,
    time_us,
    visible_rows,
)
from headway.features.materialize_windows import materialize_windows
from headway.features.online_rows import MaterializedView, MaterializeMode, MaterializeProgress, read_progress

BATCH_ROWS = 1_000
"""Rows of a batch: a server of Redis answers no other call while it stores one, which takes a millisecond or two."""
ALWAYS_US = 0
"""Event time of the rows of a view without times."""
_ROW = "__row"
_KEY = "__key"


def materialize(
    store: OnlineStore,
    view: FeatureView,
    rows: pl.DataFrame,
    *,
    full: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    now: datetime | None = None,
    callback: Callable[[int, int], object] = lambda done, total: None,
) -> MaterializedView:
    """Write the newest row of each entity to the table of a view.

    Without `full` and `since` only rows created since the last run are written; the first run is a full one. A view
    without a created time has rows that may arrive late, so all are compared. One process at a time may do this for a
    view; rows may be pushed during the run.

    Parameters
    ----------
    store : OnlineStore
        The store.
    view : FeatureView
        The view, with its version.
    rows : DataFrame
        Rows as `compute_rows` returns them.
    full : bool
        Replace the table: entities that the source no longer has are gone, but rows that were pushed and are newer than
        the whole source stay.
    since, until : datetime, optional
        Range of event times to write (backfill), from `since` to before `until`.
    now : datetime, optional
        Rows with a later event time or created time are left out, as no request may see them yet.
    callback : callable
        Called with the number of entities that are stored, and of all.

    Raises
    ------
    StoreError
        If another process stages the same table.
    DataError
        If the view has no source.
    """
    expect_rows(view)
    now_us, table = time_us(now or datetime.now(UTC)), view.online_table
    exists = table in store.tables()
    progress = read_progress(store, table)
    mode: MaterializeMode = "incremental"
    if since is not None or until is not None:
        mode = "backfill"
    elif full or progress.watermark_us is None or progress.digest != view.digest:
        mode = "full"
    chosen = visible_rows(rows, now_us)
    if mode == "backfill":
        chosen = rows_between(chosen, since, until)
    elif mode == "incremental" and view.source is not None and view.source.created_time:
        chosen = chosen.filter(seen_us() >= progress.watermark_us)
    newest = _newest(view, chosen)
    staged = mode == "full" or not exists
    watermark = None if mode == "backfill" else _watermark(chosen, default=progress.watermark_us)
    keep = progress.watermark_us if mode == "incremental" or (mode == "backfill" and exists) else None
    run = MaterializeProgress(digest=view.digest, watermark_us=keep, run=_digest(view, newest, mode))
    stored, resumed = _write(store, view, newest, run, staged=staged, callback=callback)
    ended = MaterializeProgress(digest=view.digest, watermark_us=keep if mode == "backfill" else watermark)
    if staged:
        if len(newest):
            _expect_staged(store, table, run.run, len(newest))
        if progress.digest in ("", view.digest):
            _keep_pushed(store, table, max(_newest_us(chosen), progress.watermark_us or ALWAYS_US))
    empty = np.empty((0, len(view.features))), np.empty(0, dtype=np.int64)
    store.write(table, [], *empty, staged=staged, progress=msgspec.json.encode(ended))
    if staged:
        store.publish(table)
    return MaterializedView(
        view=view.reference,
        table=table,
        mode=mode,
        rows=len(chosen),
        entities=len(newest),
        stored=stored,
        resumed=resumed,
        watermark="" if ended.watermark_us is None else _time(ended.watermark_us),
    )


def materialize_views(
    state: State,
    store: OnlineStore,
    references: Sequence[str] = (),
    *,
    folder: Path,
    full: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    callback: Callable[[str], object] = lambda _: None,
) -> list[MaterializedView]:
    """Read the sources of views, and materialise each.

    Without references, these are the newest version of each view that has rows, and older versions that have a table,
    since a release may read them.

    Raises
    ------
    LeaseHeld
        If another process materialises one of the views.
    """
    views = [catalog.resolve_view(state, reference) for reference in references] or _views_with_rows(state, store)
    done = []
    for view in views:
        expect_rows(view)
        with state.lease(f"materialize {view.reference}"):
            source = read_view_source(view, folder=folder)
            callback(f"{view.reference}: {len(source):,} rows")
            runs = []
            if view.has_windows:
                runs.append(
                    materialize_windows(store, view, event_rows(view, source), full=full, since=since, until=until)
                )
            if view.has_rows:
                rows = materialize(store, view, compute_rows(view, source), full=full, since=since, until=until)
                runs.append(replace(rows, windows=runs[0].windows) if runs else rows)
            done.append(runs[-1])
    return done


def expect_rows(view: FeatureView) -> None:
    """Raise DataError for a view that has nothing in an online store."""
    if view.source is None:
        what = f"view '{view.reference}' is computed from the request"
        raise DataError(what, where=f"online table {view.online_table}")


def _views_with_rows(state: State, store: OnlineStore) -> list[FeatureView]:
    tables, found = store.tables(), []
    for newest in catalog.newest_views(state):
        versions = [version.view for version in catalog.versions(state, newest.name)]
        found += [
            view
            for view in versions
            if view.version == newest.version or not tables.keys().isdisjoint(view.online_tables)
        ]
    return [view for view in found if view.source is not None]


def encoded_rows(store: OnlineStore, view: FeatureView, rows: pl.DataFrame) -> tuple[list[str], Floats, Ints]:
    """Return keys, values and event times of rows as an online store has them.

    Booleans are 0 and 1, times microseconds since 1970, and strings codes of the vocabulary, to which new ones are
    appended. A missing value is NaN, and so is a windowed feature, which a server answers from states.
    """
    values = np.full((len(rows), len(view.features)), np.nan)
    for index, feature in enumerate(view.features):
        if feature.aggregation is not None:
            continue
        column = rows[feature.name]
        if feature.dtype == "string":
            strings = column.drop_nulls().unique(maintain_order=True)
            codes = store.codes(view.online_table, feature.name, strings.to_list())
            coded = pl.DataFrame({feature.name: strings, _KEY: codes.astype(np.float64)})
            column = rows.select(feature.name).join(coded, on=feature.name, how="left", maintain_order="left")[_KEY]
        elif feature.dtype == "datetime":
            column = column.cast(pl.Int64)
        values[:, index] = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    times = rows[EVENT_TIME].cast(pl.Int64).fill_null(ALWAYS_US).to_numpy()
    return rows.select(entity_key_expr(view)).to_series().to_list(), values, times.astype(np.int64)


def _write(
    store: OnlineStore,
    view: FeatureView,
    newest: pl.DataFrame,
    run: MaterializeProgress,
    *,
    staged: bool,
    callback: Callable[[int, int], object],
) -> tuple[int, int]:
    """Write the rows in batches, after those that an interrupted run of the same rows has written."""
    table, stored = view.online_table, 0
    before = read_progress(store, table, staged=staged)
    done = resumed = before.done if before.run == run.run else 0
    if staged and not done:
        store.discard_staged(table)
    for part in newest.slice(done).iter_slices(BATCH_ROWS):
        keys, values, times = encoded_rows(store, view, part)
        if staged and done:
            _expect_staged(store, table, run.run, done)
        done += len(part)
        saved = msgspec.json.encode(replace(run, done=done))
        stored += store.write(table, keys, values, times, staged=staged, progress=saved)
        callback(done, len(newest))
    return stored, resumed


def _keep_pushed(store: OnlineStore, table: str, after_us: int) -> None:
    """Add the rows of a table that are newer than its source, and were pushed, to the staged one."""
    for keys, values, times in store.scan(table):
        pushed = times > after_us
        if pushed.any():
            names = [key for key, is_pushed in zip(keys, pushed, strict=True) if is_pushed]
            store.write(table, names, values[pushed], times[pushed], staged=True)


def _newest_us(rows: pl.DataFrame) -> int:
    newest = rows.select(microseconds(EVENT_TIME).max()).item() if len(rows) else None
    return newest if isinstance(newest, int) else ALWAYS_US


def _expect_staged(store: OnlineStore, table: str, run: str, done: int) -> None:
    found = read_progress(store, table, staged=True)
    if (found.run, found.done) != (run, done):
        hint = "run the command again when the other one has ended"
        raise StoreError("another process materialises the same view", where=f"online table {table}", hint=hint)


def _newest(view: FeatureView, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the newest row of each entity, in the order of keys; of equal times the latest created, then the last."""
    return (
        rows.with_row_index(_ROW)
        .with_columns(entity_key_expr(view).alias(_KEY))
        .sort(_KEY, EVENT_TIME, CREATED_TIME, _ROW, nulls_last=False)
        .unique(_KEY, keep="last", maintain_order=True)
        .drop(_ROW, _KEY)
    )


def _digest(view: FeatureView, newest: pl.DataFrame, mode: str) -> str:
    """Return a digest of the rows of a run, by which the same run is recognised after it was killed."""
    found = hashlib.sha256(f"{view.digest} {mode} {len(newest)}".encode())
    found.update(newest.hash_rows(seed=0).to_numpy().tobytes())
    return found.hexdigest()


def _watermark(rows: pl.DataFrame, *, default: int | None) -> int:
    """Return when the newest row was seen; a row of the same microsecond that is stored later is compared again."""
    newest = rows.select(seen_us().max()).item() if len(rows) else None
    return newest if isinstance(newest, int) else default or ALWAYS_US


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat()
