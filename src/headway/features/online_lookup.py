"""Look features of entities up in an online store, as columns of a table: for clients in Python.

A server does the same with the rows of requests, in `serving/routing/online_features.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import OnlineStore
from headway.core.errors import RowRefused, StoreError
from headway.core.feature_view import Feature, FeatureView
from headway.features.compute import EVENT_TIME, TIME, entity_column, entity_key_expr, typed_column
from headway.features.historical import compute_on_demand, expect_column, full_name, with_defaults
from headway.features.online_rows import NEVER_US
from headway.features.window_state import WindowPlan
from headway.storage.addresses import no_table_error, views_without_table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def look_features_up(
    rows: pl.DataFrame, views: Sequence[FeatureView], store: OnlineStore, *, now: datetime | None = None
) -> pl.DataFrame:
    """Return the features that the online store has for entities, in one call of the store.

    A missing value, or one older than the TTL of its view, is null or the default of the feature. Views without a
    source are computed last, from the rows and the features of the other views.

    Parameters
    ----------
    rows : DataFrame of shape (n, ...)
        The entities of the views, and what views without a source read.
    views : sequence of FeatureView
        The views, with different names.
    store : OnlineStore
        The store.
    now : datetime, optional
        The time of the request, with a zone.

    Returns
    -------
    DataFrame of shape (n, ...)
        A column `VIEW__FEATURE` for each feature, and for each view with a source `VIEW__event_time`: of the row, or
        of the newest event in the windows if only these are read; null if there is none.

    Raises
    ------
    StoreError
        If a view has no table.
    RowRefused
        If a value is missing of a feature that refuses such rows.
    """
    now_us = ((now or datetime.now(UTC)) - _EPOCH) // timedelta(microseconds=1)
    stored = [view for view in views if not view.is_on_demand]
    keys = [_keys(rows, view) for view in stored]
    columns, inputs = list[pl.Series](), list[pl.Series]()
    for view, of_view, found in zip(stored, keys, _read(store, stored, keys, now_us), strict=True):
        reader = _ViewValues(view, store, of_view, *found)
        values = with_defaults(view, [reader.column(name, now_us) for name in view.feature_names])
        inputs += values
        columns += [column.alias(full_name(view, column.name, full_names=True)) for column in values]
        columns.append(reader.seen.alias(f"{view.name}__{EVENT_TIME}"))
    for view in (view for view in views if view.is_on_demand):
        computed = compute_on_demand(view, rows, inputs)
        inputs += computed
        columns += [
            column.alias(full_name(view, column.name, full_names=True)) for column in with_defaults(view, computed)
        ]
    return pl.DataFrame(columns)


def _keys(rows: pl.DataFrame, view: FeatureView) -> list[str | None]:
    """Return the key of each row in the table of a view; None for a missing entity."""
    where = f"the entities of view '{view.reference}'"
    entities = [
        entity_column(expect_column(rows, name, f"entity of view '{view.reference}'"), where=where)
        for name in view.entities
    ]
    return pl.DataFrame(entities).select(entity_key_expr(view)).to_series().cast(pl.String).to_list()


_Found = tuple[Floats | None, Ints | None, Floats | None]
"""Rows, their event times, and answers of windows; None for what is not read."""


def _read(
    store: OnlineStore, views: Sequence[FeatureView], keys: Sequence[Sequence[str | None]], now_us: int
) -> list[_Found]:
    """Return what the store has for each view: the features that are read need rows, states of windows, or both."""
    tables = [(view.online_table, [key or "" for key in of]) for view, of in zip(views, keys, strict=True)]
    plans = [WindowPlan.of_view(view) if view.has_windows else None for view in views]
    states = [
        (view.states_table, [key for entity in entities for key in plan.keys_at(entity, now_us)])
        for view, plan, (_, entities) in zip(views, plans, tables, strict=True)
        if plan is not None
    ]
    try:
        requests = [table for view, table in zip(views, tables, strict=True) if view.has_rows]
        found_rows, found_states = store.read_with_states(requests, states)
    except StoreError as error:
        absent = views_without_table(store, views)
        raise (no_table_error(absent[0], error.where) if absent else error) from error
    rows, answers = iter(found_rows), iter(found_states)
    found: list[_Found] = []
    for view, (_, entities), plan in zip(views, tables, plans, strict=True):
        values, times = next(rows) if view.has_rows else (None, None)
        windows, newest = (None, None) if plan is None else plan.answers(entities, next(answers), now_us)
        found.append((values, newest if times is None else times, windows))
    return found


class _ViewValues:
    """Values of a view for some entities, as columns with the declared types."""

    def __init__(
        self,
        view: FeatureView,
        store: OnlineStore,
        keys: Sequence[str | None],
        values: Floats | None,
        times_us: Ints | None,
        answers: Floats | None,
    ) -> None:
        self._view, self._store, self._keys = view, store, keys
        self._values, self._answers = values, answers
        self._unknown: Bools = np.array([key is None for key in keys], dtype=np.bool_)
        times = np.full(len(keys), NEVER_US) if times_us is None else np.where(self._unknown, NEVER_US, times_us)
        self._times_us: Ints = times
        known = pl.Series(EVENT_TIME, times).set(pl.Series(times == NEVER_US), None)
        self.seen = known.cast(TIME)
        windows = [one.name for one in view.features if one.aggregation and one.name in view.feature_names]
        self._windows = {name: index for index, name in enumerate(windows)}
        self._rows = {feature.name: (index, feature) for index, feature in enumerate(view.features)}

    def column(self, name: str, now_us: int) -> pl.Series:
        """Return a feature with null for what is missing or stale; raises RowRefused if the feature refuses that."""
        index, feature = self._rows[name]
        if feature.aggregation is not None:
            assert self._answers is not None
            numbers = self._answers[:, self._windows[name]].copy()
            vocabulary = self._view.states_table, feature.aggregation.column
        else:
            assert self._values is not None
            numbers, vocabulary = self._values[:, index].copy(), (self._view.online_table, name)
            if self._view.ttl_s:
                age_us = now_us - self._times_us
                numbers[(age_us > round(self._view.ttl_s * 1e6)) & (self._times_us != NEVER_US)] = np.nan
        numbers[self._unknown] = np.nan
        column = self._decoded(feature, pl.Series(name, numbers, nan_to_null=True), vocabulary)
        if feature.when_missing == "refuse" and column.null_count():
            row = int(column.is_null().arg_max() or 0)
            what = f"feature '{name}' of {self._view.reference} is missing or too old"
            where = f"row {row}, for {self._keys[row]!r}"
            raise RowRefused(what, where=where, hint=f"headway features materialize {self._view.name}")
        return column

    def _decoded(self, feature: Feature, numbers: pl.Series, vocabulary: tuple[str, str]) -> pl.Series:
        """Return numbers of the store as values of a type: codes as strings, microseconds as times."""
        if feature.dtype == "number":
            return numbers  # each operation on a column costs more than its look-up
        if feature.dtype == "string":
            codes = numbers.cast(pl.Int64)
            distinct = codes.drop_nulls().unique()
            strings = self._store.strings(*vocabulary, distinct.to_list())
            return codes.replace_strict(
                distinct, pl.Series(strings, dtype=pl.String), default=None, return_dtype=pl.String
            )
        if feature.dtype == "datetime":
            return numbers.cast(pl.Int64).cast(TIME)
        return typed_column(numbers, feature.dtype, where=f"view '{self._view.reference}'")
