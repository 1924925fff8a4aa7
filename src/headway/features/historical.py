"""Point-in-time join: the features that were known at the time of each row; rows keep their number and order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.features.compute import (
    CREATED_TIME,
    EVENT_TIME,
    compute_features,
    compute_rows,
    entity_column,
    event_rows,
    input_columns,
    narrowed,
    read_view_source,
    typed_column,
    utc_times,
)
from headway.features.windows import aggregate

_ROW, _SEEN, _INDEX, _EVERYONE = "__row", "__seen", "__index", "__everyone"
_LONG_AGO = -(2**62)


def get_historical_features(
    rows: pl.DataFrame,
    views: Sequence[FeatureView],
    *,
    time: str,
    folder: Path = Path(),
    sources: Mapping[str, pl.DataFrame] | None = None,
    time_zone: str = "UTC",
    with_times: bool = False,
    full_names: bool = False,
) -> pl.DataFrame:
    """Join rows with the features of views as they were known at the time of each row.

    A row at time t sees the observations of its entity with event_time <= t and created_time <= t, and takes the newest
    by event time; of several at one time that which was created last, and then the last of the source. If it is older
    than the TTL of the view, its features are null. A missing entity or time sees nothing. A view without times is
    always true. Views without a source are computed last, from the rows and the features of the other views.

    Parameters
    ----------
    rows : DataFrame
        The rows, with the entities of the views.
    views : sequence of FeatureView
        The views, each once.
    time : str
        Column of `rows` with their times.
    folder : Path
        Folder where the sources of the views begin.
    sources : mapping of str to DataFrame, optional
        Tables to use for the sources of views, by the name of the view.
    time_zone : str
        Zone of the times of `rows` if they have none.
    with_times : bool
        Whether to add `VIEW__event_time`, the time of the observation that a row took, even if it was older than the
        TTL.
    full_names : bool
        Whether to name features `VIEW__FEATURE`.

    Returns
    -------
    DataFrame
        As many rows as `rows`, in their order, with their columns and one for each feature.

    Raises
    ------
    DataError
        If a column is absent, the type of an entity differs, two columns would have one name, or a time is ambiguous.
    """
    at = utc_times(expect_column(rows, time, "time"), time_zone, where="the rows")
    columns, inputs = list[pl.Series](), list[pl.Series]()
    by_view = sources or {}
    for view in (narrowed(view) for view in views if not view.is_on_demand):
        source = by_view[view.name] if view.name in by_view else read_view_source(view, folder=folder)
        joined, seen = join_view(rows, at, view, source)
        inputs += with_defaults(view, joined)
        columns += [column.alias(full_name(view, column.name, full_names)) for column in joined]
        columns += [seen.alias(f"{view.name}__{EVENT_TIME}")] if with_times else []
    for view in (view for view in views if view.is_on_demand):
        found = compute_on_demand(view, rows, inputs)
        inputs += found
        columns += [column.alias(full_name(view, column.name, full_names)) for column in found]
    expect_unique([*rows.columns, *(column.name for column in columns)])
    return rows.hstack(columns)


def with_defaults(view: FeatureView, columns: Sequence[pl.Series]) -> list[pl.Series]:
    """Return features of a view with the default in place of a missing value, if the view has one."""
    defaults = {feature.name: feature.default for feature in view.features if feature.when_missing == "default"}
    return [column.fill_null(defaults[column.name]) if column.name in defaults else column for column in columns]


def compute_on_demand(view: FeatureView, rows: pl.DataFrame, inputs: Sequence[pl.Series]) -> list[pl.Series]:
    """Compute the features of a view without a source, from rows and the features of other views.

    Raises
    ------
    DataError
        If a feature is read that two other views have.
    """
    names = [column.name for column in inputs]
    read = input_columns(view.features)
    if twice := sorted(name for name in read if names.count(name) > 1):
        what = f"two views have a feature '{twice[0]}', which view '{view.reference}' reads"
        raise DataError(what, hint="leave one of the two out, or rename it")
    wanted = [feature for feature in view.features if feature.name in view.feature_names]
    return compute_features(view, rows.with_columns(column for column in inputs if column.name in read), wanted)


def join_view(
    rows: pl.DataFrame, at: pl.Series, view: FeatureView, source: pl.DataFrame
) -> tuple[list[pl.Series], pl.Series]:
    """Return the features of one view for each row, and the event time of the observation that it took.

    Parameters
    ----------
    rows : DataFrame of shape (n, ...)
        Rows with the entities of the view.
    at : Series of shape (n,)
        Their times, as `utc_times` returns them.
    view : FeatureView
        A view with a source.
    source : DataFrame
        The table of its source.
    """
    observed = compute_rows(view, source)
    keys = row_keys(rows, view, observed.schema)
    times = pl.DataFrame([*keys, at.alias(EVENT_TIME)])
    found = _newest(times, observed, view)
    seen = observed[EVENT_TIME].gather(found)
    stale = (at - seen).dt.total_microseconds() > round(view.ttl_s * 1e6) if view.ttl_s else None
    chosen = found if stale is None else found.set(stale.fill_null(False), None)
    values = {name: observed[name].gather(chosen) for name in view.feature_names if name in observed.columns}
    windows = {feature.name: feature.aggregation for feature in view.features if feature.aggregation is not None}
    if windows:
        everyone = pl.lit(0).alias(_EVERYONE)  # a view without entities has one, of which all rows are
        events, requests = (table.with_columns(everyone) for table in (event_rows(view, source), times))
        answers = aggregate(events, requests, windows, entities=view.entities or (_EVERYONE,))
        dtypes = {feature.name: feature.dtype for feature in view.features}
        values |= {
            name: typed_column(answers[name], dtypes[name], where=f"view '{view.reference}'") for name in windows
        }
    return [values[name] for name in view.feature_names], seen


def _newest(rows: pl.DataFrame, observed: pl.DataFrame, view: FeatureView) -> pl.Series:
    """Return the index of the observation that each row takes, null if there is none.

    An observation can be seen from the later of its two times on. In that order, an observation that is older than one
    which could be seen before it is never taken: without those, the newest that can be seen is the one to take.
    """
    event, created = observed[EVENT_TIME].to_physical(), observed[CREATED_TIME].to_physical()
    entities = list(view.entities)
    table = observed.select(
        *entities,
        event.fill_null(_LONG_AGO).alias(EVENT_TIME),
        created.fill_null(_LONG_AGO).alias(CREATED_TIME),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(_INDEX),
    ).with_columns(pl.max_horizontal(EVENT_TIME, CREATED_TIME).alias(_SEEN))
    if view.source is not None and view.source.created_time:
        table = table.sort(EVENT_TIME, CREATED_TIME, _INDEX).with_row_index(_ROW)
        table = table.sort(_SEEN, _ROW)
        best = pl.col(_ROW).cum_max()
        table = table.filter(pl.col(_ROW) == (best.over(entities) if entities else best))
    else:
        table = table.sort(_SEEN, _INDEX)
    at_us = pl.col(EVENT_TIME).to_physical()
    if view.source is not None and not (view.source.event_time or view.source.created_time):
        at_us = at_us.fill_null(0)  # what is always true needs no time
    times = rows.with_columns(at_us).with_row_index(_ROW).drop_nulls()
    joined = times.sort(EVENT_TIME).join_asof(
        table.select(*entities, _SEEN, _INDEX),
        left_on=EVENT_TIME,
        right_on=_SEEN,
        by=entities or None,
        check_sortedness=False,
    )
    found = pl.Series(_INDEX, [None], dtype=pl.UInt32).new_from_index(0, len(rows))
    return found.scatter(joined[_ROW], joined[_INDEX])


def row_keys(rows: pl.DataFrame, view: FeatureView, dtypes: Mapping[str, pl.DataType]) -> list[pl.Series]:
    """Return the entities of rows in the types that a view has for them; raise DataError if these differ."""
    keys = list[pl.Series]()
    for name in view.entities:
        role = f"entity of view '{view.reference}'"
        column, known = entity_column(expect_column(rows, name, role), where="the rows"), dtypes[name]
        if known == pl.Null or column.dtype == pl.Null:
            column = (
                column.cast(pl.Null) if known == pl.Null and not column.count() else column.cast(known, strict=False)
            )
        if column.dtype != known:
            what = f"entity '{name}' is {column.dtype} in the rows, and {known} in view '{view.reference}'"
            raise DataError(what, hint=f"cast one of them: pl.col('{name}').cast(pl.{known})")
        keys.append(column)
    return keys


def expect_column(rows: pl.DataFrame, name: str, role: str) -> pl.Series:
    """Return a column of the rows; raise DataError, which names its role, if there is none."""
    if name not in rows.columns:
        raise DataError(f"no column '{name}' ({role})", where="the rows", hint=f"they have {', '.join(rows.columns)}")
    return rows[name]


def full_name(view: FeatureView, name: str, full_names: bool) -> str:
    """Return the name of the column of a feature: `VIEW__FEATURE`, or the feature alone."""
    return f"{view.name}__{name}" if full_names else name


def expect_unique(names: Sequence[str]) -> None:
    """Raise DataError if two columns have one name."""
    if len(set(names)) == len(names):
        return
    if twice := sorted({name for name in names if names.count(name) > 1}):
        what = f"two columns would be named {', '.join(map(repr, twice))}"
        raise DataError(what, where="the features of the views, and the rows", hint="full_names=True, or rename one")
