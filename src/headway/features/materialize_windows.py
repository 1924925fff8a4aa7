"""Materialise windowed features: merge the events of a source into the states of an online store.

A merged event counts once, so the same events may be given again: after an interruption, with newer ones, or with those
that were pushed. A full run is staged and put in place in one step; events that are pushed during it go to both tables.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec
import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.contracts import OnlineStore
from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.features.compute import (
    CREATED_TIME,
    EVENT_TIME,
    entity_key_expr,
    microseconds,
    rows_between,
    seen_us,
    time_us,
    typed_column,
    visible_rows,
)
from headway.features.online_rows import MaterializedView, MaterializeMode, MaterializeProgress, read_progress
from headway.features.window_state import Events, WindowPlan, head_key, merge_events

BATCH_ENTITIES = 500
"""Entities whose events are packed, and merged, before the progress is saved."""
_ID, _KEY = "__id", "__key"
_NEVER_US = -(2**62)


def materialize_windows(
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
    """Merge events into the states of a view.

    Without `full` and `since` only events that became visible since the last run are merged; the first run is a full
    one. A view without a created time has events that may arrive late, so all are merged again.

    Parameters
    ----------
    rows : DataFrame
        Rows as `compute.event_rows` returns them.
    full : bool
        Replace the states: events and entities that the source does not have are gone, but events that were pushed and
        are newer than the whole source stay.
    since, until : datetime, optional
        Range of event times to merge (backfill), from `since` to before `until`.
    now : datetime, optional
        Rows with a later event time or created time are left out, as no request may see them yet.
    callback : callable
        Called with the number of entities that are merged, and of all.

    Raises
    ------
    DataError
        If a column cannot be aggregated, or an entity has more events than it may have.
    """
    now_us, table = time_us(now or datetime.now(UTC)), view.states_table
    exists, progress = table in store.tables(), read_progress(store, table)
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
    staged = mode == "full" or not exists
    keep = progress.watermark_us if mode == "incremental" or (mode == "backfill" and exists) else None
    run = MaterializeProgress(digest=view.digest, watermark_us=keep, run=_digest(view, chosen, mode))
    entities, stored, resumed = _merge(store, view, chosen, run, now_us=now_us, staged=staged, callback=callback)
    newest = chosen.select(seen_us().max()).item() if len(chosen) else None
    watermark = keep if mode == "backfill" else newest or progress.watermark_us or 0
    if staged and progress.digest in ("", view.digest):
        newest_us = chosen.select(microseconds(EVENT_TIME).max()).item() if len(chosen) else None
        for pushed in _pushed_events(store, view, max(newest_us or _NEVER_US, progress.watermark_us or _NEVER_US)):
            merge_events(store, view, pushed, now_us=now_us, staged=True)
    ended = MaterializeProgress(digest=view.digest, watermark_us=watermark)
    store.replace_states(table, {}, {}, staged=staged, progress=msgspec.json.encode(ended))
    if staged:
        store.publish(table)
    return MaterializedView(
        view=view.reference,
        table=table,
        mode=mode,
        rows=len(chosen),
        entities=entities,
        stored=stored,
        resumed=resumed,
        windows=entities,
        watermark="" if watermark is None else datetime.fromtimestamp(watermark / 1e6, UTC).isoformat(),
    )


def _merge(
    store: OnlineStore,
    view: FeatureView,
    rows: pl.DataFrame,
    run: MaterializeProgress,
    *,
    now_us: int,
    staged: bool,
    callback: Callable[[int, int], object],
) -> tuple[int, int, int]:
    """Merge the events of one entity after the other, from where an interrupted run of the same rows has ended.

    Returns the number of entities with events in the longest window, of those with new events, and of those that were
    merged before.
    """
    table = view.states_table
    before = read_progress(store, table, staged=staged)
    done = resumed = before.done if before.run == run.run else 0
    if staged and not done:
        store.discard_staged(table)
    keyed = rows.with_columns(entity_key_expr(view).alias(_KEY))
    entities = keyed.select(pl.col(_KEY).unique().sort()).to_series()
    recent = keyed.filter(microseconds(EVENT_TIME) > now_us - WindowPlan.of_view(view).longest_us)
    store.replace_states(table, {}, {}, staged=staged, progress=msgspec.json.encode(replace(run, done=done)))
    stored = 0
    for part in entities.slice(done).to_frame().iter_slices(BATCH_ENTITIES):
        events = events_by_entity(store, view, recent.join(part, on=_KEY, how="semi", maintain_order="left"))
        done += len(part)
        saved = msgspec.json.encode(replace(run, done=done))
        stored += len(merge_events(store, view, events, now_us=now_us, staged=staged, progress=saved))
        callback(done, len(entities))
    return recent[_KEY].n_unique(), stored, resumed


def events_by_entity(
    store: OnlineStore, view: FeatureView, rows: pl.DataFrame, *, are_numbered: bool = True
) -> dict[str, Events]:
    """Pack rows, as `compute.event_rows` returns them, by the key of their entity.

    Strings are stored as codes of the vocabulary of their column.

    Parameters
    ----------
    are_numbered : bool
        Whether equal rows are different events, numbered, as the offline answer counts them: a source gives all of them
        at once. Pushed rows are not: the same row is the same event.
    """
    plan = WindowPlan.of_view(view)
    _expect_numbers(view, rows)
    of_times = {
        feature.aggregation.column for feature in view.features if feature.aggregation and feature.dtype == "datetime"
    }
    numbers = [_numbers(store, view, rows[name], is_time=name in of_times) for name in plan.columns]
    columns = [*view.entities, EVENT_TIME, CREATED_TIME, *plan.columns]
    number = pl.int_range(pl.len()).over(columns) if are_numbered else pl.lit(0)
    ids = rows.select(number.alias(_ID)).to_series() if len(rows) else pl.Series(_ID, [], dtype=pl.Int64)
    ids = ids if are_numbered else ids.new_from_index(0, len(rows))
    times = [rows[name].cast(pl.Int64).alias(name) for name in (EVENT_TIME, CREATED_TIME)]
    keys = rows.select(entity_key_expr(view).alias(_KEY)).to_series()
    table = pl.DataFrame([keys, *times, ids, *numbers])
    found: dict[str, Events] = {}
    for (key,), part in table.group_by(_KEY, maintain_order=True):
        packed = plan.events(
            part[EVENT_TIME].to_list(),
            {name: part[name].to_list() for name in plan.columns},
            created_us=part[CREATED_TIME].to_list(),
            ids=part[_ID].to_list(),
        )
        found[str(key)] = packed
    return found


def _pushed_events(store: OnlineStore, view: FeatureView, after_us: int) -> Iterator[dict[str, Events]]:
    """Yield the events in the states of a view that are newer than its source, by entity."""
    plan, table = WindowPlan.of_view(view), view.states_table
    for names, *_ in store.scan(table):
        entities = [key[1:] for key in names if key == head_key(key[1:])]
        [heads] = store.read_with_states([], [(table, [head_key(entity) for entity in entities])])[1]
        of_entity = {
            entity: plan.keys_after(entity, head, after_us)
            for entity, head in zip(entities, heads, strict=True)
            if head is not None
        }
        for start in range(0, len(of_entity), BATCH_ENTITIES):
            part = list(of_entity.items())[start : start + BATCH_ENTITIES]
            keys = [key for _, wanted in part for key in wanted]
            stored = dict(zip(keys, store.read_with_states([], [(table, keys)])[1][0], strict=True))
            events = {
                entity: plan.events_after(entity, {key: stored[key] for key in wanted}, after_us)
                for entity, wanted in part
            }
            yield {entity: rows for entity, rows in events.items() if len(rows)}


def _digest(view: FeatureView, rows: pl.DataFrame, mode: str) -> str:
    """Return a digest of the rows of a run, by which the same run is recognised after it was killed."""
    found = hashlib.sha256(f"windows {view.digest} {mode} {len(rows)}".encode())
    found.update(rows.hash_rows(seed=0).to_numpy().tobytes())
    return found.hexdigest()


def _numbers(store: OnlineStore, view: FeatureView, column: pl.Series, *, is_time: bool) -> pl.Series:
    """Return a column as numbers: codes of strings, microseconds of times, 0 and 1 of booleans."""
    if is_time:
        column = typed_column(column, "datetime", where=view.reference)
    if column.dtype in (pl.String, pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
        strings = column.drop_nulls().unique(maintain_order=True)
        codes = (
            store.codes(view.states_table, column.name, strings.to_list()) if len(strings) else np.empty(0, np.int64)
        )
        return column.replace_strict(strings, pl.Series(codes), default=None, return_dtype=pl.Int64)
    if column.dtype in (pl.Date, pl.Datetime):
        column = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column.dt.cast_time_unit("us")
        return column.cast(pl.Int64)
    return column.cast(pl.Int64) if column.dtype == pl.Boolean else column


def _expect_numbers(view: FeatureView, rows: pl.DataFrame) -> None:
    """Raise DataError for a column that no window can aggregate, or whose strings would have to be ordered or added."""
    for feature in view.features:
        if feature.aggregation is None or not feature.aggregation.column or feature.dtype == "datetime":
            continue
        column = rows[feature.aggregation.column]
        kinds = (pl.Date, pl.Datetime, pl.Boolean, pl.Null)
        function = feature.aggregation.function
        if column.dtype in (pl.String, pl.Categorical, pl.Enum):
            if function not in ("count", "last", "distinct") or (function == "last" and feature.dtype != "string"):
                what = f"'{feature.name}' is the {function}, a {feature.dtype}, of '{column.name}', which has strings"
                raise DataError(what, where=view.reference, hint="of strings: count, last, distinct")
        elif not column.dtype.is_numeric() and column.dtype not in kinds:
            what = f"column '{column.name}' is {column.dtype}, which a window cannot aggregate"
            raise DataError(what, where=view.reference)
        elif function == "last" and feature.dtype == "string" and column.dtype != pl.Null:
            raise DataError(
                f"'{feature.name}' is a string, and '{column.name}' is {column.dtype}", where=view.reference
            )
