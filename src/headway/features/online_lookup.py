"""Look features of entities up in an online store, as columns of plain values: for clients in Python.

A server does the same with the rows of requests, in `serving/routing/online_features.py`. Few entities are usual, and
for these a column of polars costs more than its look-up: only what needs an expression becomes one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from headway.core.arrays import Bools, Floats, Ints
from headway.core.contracts import OnlineStore
from headway.core.errors import RowRefused, StoreError
from headway.core.feature_view import Feature, FeatureView
from headway.features.compute import POLARS_TYPES, TIME, entity_column, entity_key_expr, typed_column
from headway.features.historical import compute_on_demand, expect_column, with_defaults
from headway.features.online_rows import NEVER_US, entity_key
from headway.features.window_state import WindowPlan
from headway.storage.addresses import no_table_error, views_without_table

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_INTEGER = 2**63


class EntityRows:
    """Rows of entities: mappings, of which a table is made only where one is needed, or a table."""

    def __init__(self, mappings: Sequence[Mapping[str, Any]] | None, make_table: Callable[[], pl.DataFrame]) -> None:
        self._mappings, self._make_table = mappings, make_table
        self._plain: dict[str, list[Any] | None] = {}

    def __len__(self) -> int:
        return len(self.table) if self._mappings is None else len(self._mappings)

    @cached_property
    def table(self) -> pl.DataFrame:
        """The rows as a table."""
        return self._make_table()

    def plain_column(self, name: str) -> list[Any] | None:
        """Return a column of strings or of integers, some of which may be None; None if it is another one."""
        if name not in self._plain:
            self._plain[name] = self._as_plain(name)
        return self._plain[name]

    def column(self, name: str) -> list[Any] | pl.Series:
        """Return a column as plain values if it is one of strings or of integers, else of the table."""
        plain = self.plain_column(name)
        return self.table[name] if plain is None else plain

    def _as_plain(self, name: str) -> list[Any] | None:
        if self._mappings is None:
            return None
        values = [row.get(name) for row in self._mappings]
        kinds = set(map(type, values)) - {type(None)}
        if kinds == {int} and not all(value is None or -_MAX_INTEGER <= value < _MAX_INTEGER for value in values):
            return None
        return values if kinds in ({str}, {int}) else None


class OnlineColumn(NamedTuple):
    """The values of a feature, None for a missing one; `times_us` has the event times of its view if it has a source.

    These are of the row, or of the newest event in the windows if only these are read; NEVER_US if there is none.
    """

    name: str
    values: list[Any]
    dtype: pl.DataType
    times_us: Ints | None

    def series(self) -> pl.Series:
        """Return the values as a column of polars."""
        return pl.Series(self.name, self.values, dtype=self.dtype)


def look_features_up(
    rows: EntityRows, views: Sequence[FeatureView], store: OnlineStore, *, now: datetime | None = None
) -> dict[tuple[str, str], OnlineColumn]:
    """Return the features that the online store has for entities, in one call of the store.

    A missing value, or one older than the TTL of its view, is null or the default of the feature. Views without a
    source are computed last, from the rows and the features of the other views.

    Parameters
    ----------
    rows : EntityRows of length n
        The entities of the views, and what views without a source read.
    views : sequence of FeatureView
        The views, with different names.
    store : OnlineStore
        The store.
    now : datetime, optional
        The time of the request, with a zone.

    Returns
    -------
    dict of (str, str) to OnlineColumn
        The features by the names of view and feature, n values each.

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
    columns = dict[tuple[str, str], OnlineColumn]()
    for view, of_view, found in zip(stored, keys, _read(store, stored, keys, now_us), strict=True):
        reader = _ViewValues(view, store, of_view, *found, now_us=now_us)
        columns |= {(view.name, name): reader.column(name) for name in view.feature_names}
    if len(stored) < len(views):
        inputs = [column.series() for column in columns.values()]
        for view in (view for view in views if view.is_on_demand):
            computed = compute_on_demand(view, rows.table, inputs)
            inputs += computed
            for column in with_defaults(view, computed):
                columns[view.name, column.name] = OnlineColumn(column.name, column.to_list(), column.dtype, None)
    return columns


def _keys(rows: EntityRows, view: FeatureView) -> Sequence[str | None]:
    """Return the key of each row in the table of a view; None for a missing entity."""
    plain = [rows.plain_column(name) for name in view.entities]
    if plain and None not in plain:
        if len(plain) == 1:
            return [None if value is None else str(value) for value in plain[0] or ()]
        parts = zip(*(column or () for column in plain), strict=True)
        return [None if None in values else entity_key(values) for values in parts]
    where = f"the entities of view '{view.reference}'"
    entities = [
        entity_column(expect_column(rows.table, name, f"entity of view '{view.reference}'"), where=where)
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
    has_rows = [view.has_rows for view in views]
    try:
        requests = [table for is_read, table in zip(has_rows, tables, strict=True) if is_read]
        found_rows, found_states = store.read_with_states(requests, states)
    except StoreError as error:
        absent = views_without_table(store, views)
        raise (no_table_error(absent[0], error.where) if absent else error) from error
    rows, answers = iter(found_rows), iter(found_states)
    found: list[_Found] = []
    for is_read, (_, entities), plan in zip(has_rows, tables, plans, strict=True):
        values, times = next(rows) if is_read else (None, None)
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
        *,
        now_us: int,
    ) -> None:
        self._view, self._store, self._keys = view, store, keys
        unknown: Bools | None = np.array([key is None for key in keys], dtype=np.bool_) if None in keys else None
        self._times_us: Ints = np.full(len(keys), NEVER_US) if times_us is None else times_us
        if unknown is not None:
            self._times_us = np.where(unknown, NEVER_US, self._times_us)
        stale = unknown
        if view.ttl_s and values is not None:
            is_old = (now_us - self._times_us > round(view.ttl_s * 1e6)) & (self._times_us != NEVER_US)
            stale = is_old if unknown is None else is_old | unknown
        self._values, self._answers = _without(values, stale), _without(answers, unknown)
        windows = [one.name for one in view.features if one.aggregation and one.name in view.feature_names]
        self._windows = {name: index for index, name in enumerate(windows)}
        self._rows = {feature.name: (index, feature) for index, feature in enumerate(view.features)}

    def column(self, name: str) -> OnlineColumn:
        """Return a feature with None for what is missing or stale; raises RowRefused if the feature refuses that."""
        index, feature = self._rows[name]
        if feature.aggregation is not None:
            assert self._answers is not None
            numbers, vocabulary = (
                self._answers[self._windows[name]],
                (self._view.states_table, feature.aggregation.column),
            )
        else:
            assert self._values is not None
            numbers, vocabulary = self._values[index], (self._view.online_table, name)
        values = self._decoded(feature, [None if one != one else one for one in numbers], vocabulary)
        if feature.when_missing == "refuse" and None in values:
            row = values.index(None)
            what = f"feature '{name}' of {self._view.reference} is missing or too old"
            where = f"row {row}, for {self._keys[row]!r}"
            raise RowRefused(what, where=where, hint=f"headway features materialize {self._view.name}")
        dtype = POLARS_TYPES[feature.dtype]
        if feature.when_missing == "default" and None in values:
            values = pl.Series(values, dtype=dtype).fill_null(feature.default).to_list()
        return OnlineColumn(name, values, dtype, self._times_us)

    def _decoded(self, feature: Feature, numbers: list[float | None], vocabulary: tuple[str, str]) -> list[Any]:
        """Return numbers of the store as values of a type: codes as strings, microseconds as times."""
        if feature.dtype == "number":
            return numbers
        if feature.dtype == "string":
            codes = [None if number is None else int(number) for number in numbers]
            distinct = list({code for code in codes if code is not None})
            strings = dict(zip(distinct, self._store.strings(*vocabulary, distinct), strict=True)) if distinct else {}
            return [None if code is None else strings[code] for code in codes]
        column = pl.Series(feature.name, numbers, dtype=pl.Float64)
        if feature.dtype == "datetime":
            return column.cast(pl.Int64).cast(TIME).to_list()
        return typed_column(column, feature.dtype, where=f"view '{self._view.reference}'").to_list()


def _without(values: Floats | None, stale: Bools | None) -> list[list[float]] | None:
    """Return the columns of values, NaN in the rows that are stale."""
    if values is None:
        return None
    if stale is not None and stale.any():
        values = values.copy()
        values[stale] = np.nan
    columns: list[list[float]] = values.T.tolist()
    return columns
