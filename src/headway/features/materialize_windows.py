"""Materialise windowed features: merge the events of a source into the states of an online store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from headway.core.contracts import OnlineStore
from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.features.compute import CREATED_TIME, EVENT_TIME, entity_key_expr
from headway.features.window_state import Events, WindowPlan, merge_events, states_table

_ID, _KEY = "__id", "__key"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def materialize_windows(
    store: OnlineStore, view: FeatureView, rows: pl.DataFrame, *, full: bool = False, now: datetime | None = None
) -> int:
    """Merge events into the states of a view, and return the number of entities that have some.

    A merged event counts once, so the same rows may be given again: after an interruption, with newer ones, or with
    those that were pushed. The first run is staged and put in place in one step.

    Parameters
    ----------
    rows : DataFrame
        Rows as `compute.event_rows` returns them.
    full : bool
        Replace the states: events and entities that the source does not have are gone, also pushed ones.
    now : datetime, optional
        A time with a zone. Rows with a later event time or created time are left out, as no request may see them yet.
    """
    now_us = ((now or datetime.now(UTC)) - _EPOCH) // timedelta(microseconds=1)
    plan, table = WindowPlan.of_view(view), states_table(view)
    staged = full or table not in store.tables()
    if staged:
        store.discard_staged(table)
    seen = rows.filter(pl.max_horizontal(_microseconds(EVENT_TIME), _microseconds(CREATED_TIME)) <= now_us)
    seen = seen.filter(_microseconds(EVENT_TIME) > now_us - plan.longest_us)
    events = events_by_entity(store, view, seen)
    merge_events(store, view, events, now_us=now_us, staged=staged)
    if staged:
        store.publish(table)
    return len(events)


def events_by_entity(store: OnlineStore, view: FeatureView, rows: pl.DataFrame) -> dict[str, Events]:
    """Pack rows, as `compute.event_rows` returns them, by the key of their entity.

    Equal rows are different events, numbered, as the offline answer counts them: a source gives all of them at once.
    Strings are stored as codes of the vocabulary of their column.
    """
    plan = WindowPlan.of_view(view)
    numbers = [_numbers(store, view, rows[name]) for name in plan.columns]
    columns = [*view.entities, EVENT_TIME, CREATED_TIME, *plan.columns]
    ids = rows.select(pl.int_range(pl.len()).over(columns).alias(_ID)).to_series() if len(rows) else pl.Series(_ID, [])
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


def _numbers(store: OnlineStore, view: FeatureView, column: pl.Series) -> pl.Series:
    """Return a column as numbers: codes of strings, microseconds of times, 0 and 1 of booleans."""
    if column.dtype == pl.String:
        strings = column.drop_nulls().unique(maintain_order=True)
        codes = (
            store.codes(view.online_table, column.name, strings.to_list()) if len(strings) else np.empty(0, np.int64)
        )
        return column.replace_strict(strings, pl.Series(codes), default=None, return_dtype=pl.Int64)
    if column.dtype.is_numeric():
        return column
    if column.dtype in (pl.Date, pl.Datetime):
        column = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column.dt.cast_time_unit("us")
        return column.cast(pl.Int64)
    if column.dtype == pl.Boolean:
        return column.cast(pl.Int64)
    raise DataError(f"column '{column.name}' is {column.dtype}, which a window cannot aggregate", where=view.reference)


def _microseconds(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Int64)
