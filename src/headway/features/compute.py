"""Rows of a feature view: read its source, compute its features, and bring entities and times to one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import polars as pl
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import Feature, FeatureSource, FeatureType, FeatureView
from headway.data.parsing import parse_date_column
from headway.data.read import read_table
from headway.data.settings.data import DataSection
from headway.features.expressions import columns_of
from headway.features.polars_expressions import expression_to_polars
from headway.features.sql import run_query

EVENT_TIME, CREATED_TIME = "event_time", "created_time"
TIME = pl.Datetime("us", "UTC")
MAX_SHOWN = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_WHOLE = 2**53
_SECONDS = (-62_135_596_800, 253_402_300_800)
"""Years 1 to 9999, in seconds since 1970."""
_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}
POLARS_TYPES: dict[FeatureType, pl.DataType] = {
    "number": pl.Float64(),
    "integer": pl.Int64(),
    "boolean": pl.Boolean(),
    "string": pl.String(),
    "datetime": TIME,
}


def read_view_source(view: FeatureView, *, folder: Path) -> pl.DataFrame:
    """Read the source of a view: of files only the columns that the view needs.

    Parameters
    ----------
    view : FeatureView
        A view with a source.
    folder : Path
        Folder of `features.toml`, where relative paths begin.

    Raises
    ------
    DataError, ConfigError
        If the source cannot be read, or is a Python function: a view that a release brings never runs code.
    """
    return read_table(source_config(view, folder), columns=needed_columns(view))


def source_config(view: FeatureView, folder: Path) -> Config:
    """Return the settings that read the source of a view; raise ConfigError if it is a Python function."""
    source = _source_of(view)
    if "://" not in source.location and ":" in Path(source.location).name:
        hint = "a file, a folder, a pattern, s3://BUCKET/PREFIX or the URL of a database"
        raise ConfigError(f"'{source.location}' is not a table", where=_where(view), hint=hint)
    return Config(DataSection(source=source.location, query=source.query), folder=str(folder))


def _source_of(view: FeatureView) -> FeatureSource:
    """Return the source of a view; raise DataError if its features are computed from the request."""
    if view.source is None:
        raise DataError("the view has no source: its features are computed from the request", where=_where(view))
    return view.source


def needed_columns(view: FeatureView) -> frozenset[str] | None:
    """Return the columns of the source that a view can read; None for all, which its query may name."""
    if view.sql:
        return None
    source = _source_of(view)
    times = {source.event_time, source.created_time} - {""}
    return frozenset({*view.entities, *times, *input_columns(view.features)})


def input_columns(features: Sequence[Feature]) -> set[str]:
    """Return the names that features read, of columns or of each other."""
    names = set[str]()
    for feature in features:
        if feature.aggregation is not None:
            names |= {feature.aggregation.column} - {""}
        else:
            names |= {feature.name} if feature.expression is None else columns_of(feature.expression)
    return names


def narrowed(view: FeatureView) -> FeatureView:
    """Return the view with only the features that a model reads, and those which they read."""
    known = {feature.name: feature for feature in view.features}
    wanted, due = set[str](), list(view.feature_names)
    while due:
        name = due.pop()
        if name in known and name not in wanted:
            wanted.add(name)
            due += input_columns([known[name]])
    return replace(view, features=tuple(feature for feature in view.features if feature.name in wanted))


def compute_rows(view: FeatureView, source: pl.DataFrame) -> pl.DataFrame:
    """Compute the features of a view, but for aggregations, for each row of its source.

    Rows with a missing entity or time are left out, as no join can see them; the others keep their order.

    Parameters
    ----------
    view : FeatureView
        A view with a source.
    source : DataFrame
        The table of its source.

    Returns
    -------
    DataFrame
        The entities (Int64, String, Boolean or Date), `event_time` and `created_time` (Datetime in microseconds, UTC;
        both null if the view has no times, equal if it has no created time), and the features with their declared
        types. A number is never NaN: a missing value is null.

    Raises
    ------
    DataError
        If a column is absent, a value does not have the declared type, or a time is ambiguous; rows are named.
    """
    rows = query_source(view, source)
    features = [feature for feature in view.features if feature.aggregation is None]
    return _usable(view, [*source_keys(view, rows), *compute_features(view, rows, features)])


def event_rows(view: FeatureView, source: pl.DataFrame) -> pl.DataFrame:
    """Return entities and times as `compute_rows`, and then the columns that the aggregations of the view read.

    Such a column is a feature of the view if one has that name, else a column of the source.
    """
    rows = query_source(view, source)
    features = {feature.name: feature for feature in view.features if feature.aggregation is None}
    names = [feature.aggregation.column for feature in view.features if feature.aggregation is not None]
    wanted = [name for name in dict.fromkeys(names) if name]
    computed = compute_features(view, rows, [features[name] for name in wanted if name in features])
    columns = {column.name: column for column in computed}
    return _usable(view, [*source_keys(view, rows), *(columns.get(name, _column(view, rows, name)) for name in wanted)])


def visible_rows(rows: pl.DataFrame, now_us: int) -> pl.DataFrame:
    """Return the rows that a request may see at a time; a row without a time is always true."""
    return rows.filter(*((microseconds(name) <= now_us).fill_null(value=True) for name in (EVENT_TIME, CREATED_TIME)))


def rows_between(rows: pl.DataFrame, since: datetime | None, until: datetime | None) -> pl.DataFrame:
    """Return the rows with event times from `since` to before `until`."""
    if since is not None:
        rows = rows.filter(microseconds(EVENT_TIME) >= time_us(since))
    return rows if until is None else rows.filter(microseconds(EVENT_TIME) < time_us(until))


def seen_us() -> pl.Expr:
    """Return the time from which a request sees a row, which was out of the future at an earlier run."""
    return pl.max_horizontal(microseconds(EVENT_TIME), microseconds(CREATED_TIME))


def microseconds(name: str) -> pl.Expr:
    """Return a column of times in microseconds since 1970."""
    return pl.col(name).cast(pl.Int64)


def time_us(time: datetime) -> int:
    """Return a time in microseconds since 1970; without a zone it is UTC."""
    zoned = time if time.tzinfo else time.replace(tzinfo=UTC)
    return (zoned - _EPOCH) // timedelta(microseconds=1)


def query_source(view: FeatureView, source: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a source, after the query that the view has."""
    _source_of(view)
    return run_query(view.sql, source) if view.sql else source


def source_keys(view: FeatureView, rows: pl.DataFrame) -> list[pl.Series]:
    """Return the entities and the two times of the rows of a source, as `compute_rows`."""
    source = _source_of(view)
    where = _where(view)
    entities = [entity_column(_column(view, rows, name), where=where) for name in view.entities]
    unknown = pl.Series(EVENT_TIME, [None], dtype=TIME).new_from_index(0, len(rows))

    def times(name: str) -> pl.Series:
        return utc_times(_column(view, rows, name), source.time_zone, where=where) if name else unknown

    event = times(source.event_time)
    created = times(source.created_time) if source.created_time else event
    return [*entities, event.alias(EVENT_TIME), created.alias(CREATED_TIME)]


def _usable(view: FeatureView, columns: Sequence[pl.Series]) -> pl.DataFrame:
    """Return the rows without those that have a missing entity or time."""
    names = [column.name for column in columns]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        what = f"the view has two columns '{twice[0]}'"
        raise DataError(what, where=_where(view), hint="no two of them, and none event_time or created_time")
    source = _source_of(view)
    times = [name for name, own in ((EVENT_TIME, source.event_time), (CREATED_TIME, source.created_time)) if own]
    return pl.DataFrame(columns).drop_nulls([*view.entities, *times])


def compute_features(view: FeatureView, rows: pl.DataFrame, features: Sequence[Feature]) -> list[pl.Series]:
    """Compute features of a view from the columns of a table, and from other features of the view.

    A name in an expression is another feature of the view, or else a column of the table.

    Returns
    -------
    list of Series
        One column per feature, with its declared type.
    """
    known = {feature.name: feature for feature in view.features if feature.aggregation is None}
    found = dict[str, pl.Series]()
    for name in _order(view, features, known):
        feature = known[name]
        where = f"feature '{name}' of {_where(view)}"
        if feature.expression is None:
            column = _column(view, rows, name)
        else:
            table = rows.with_columns(found.values())
            column = table.select(
                expression_to_polars(feature.expression, table.schema, where=where).alias(name)
            ).to_series()
            column = column.new_from_index(0, len(rows)) if len(column) == 1 != len(rows) else column
        zone = view.source.time_zone if view.source and feature.expression is None else "UTC"
        found[name] = typed_column(column, feature.dtype, zone=zone, where=where)
    return [found[feature.name] for feature in features]


def _order(view: FeatureView, features: Sequence[Feature], known: Mapping[str, Feature]) -> list[str]:
    """Return the names of features and of those that they read, each after the ones that it reads."""
    graph = dict[str, set[str]]()
    due = [feature.name for feature in features]
    while due:
        name = due.pop()
        if name not in graph:
            expression = known[name].expression
            read = columns_of(expression) if expression is not None else frozenset[str]()
            graph[name] = {other for other in read if other in known and other != name}
            due += graph[name]
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise DataError(f"features of the view read each other: {circle}", where=_where(view)) from error


def _where(view: FeatureView) -> str:
    return f"view '{view.reference}'"


def _column(view: FeatureView, rows: pl.DataFrame, name: str) -> pl.Series:
    if name not in rows.columns:
        raise DataError(f"no column '{name}'", where=_where(view), hint=f"its source has {', '.join(rows.columns)}")
    return rows[name]


def typed_column(column: pl.Series, dtype: FeatureType, *, zone: str = "UTC", where: str) -> pl.Series:
    """Return a column with the declared type of a feature; raise DataError if a value does not have it."""
    if dtype == "datetime":
        return utc_times(column, zone, where=where)
    if dtype == "string" and column.dtype not in (pl.String, pl.Categorical, pl.Enum, pl.Null):
        raise DataError(f"a string is declared, and the column is {column.dtype}", where=where, hint="correct `dtype`")
    if column.dtype.is_temporal() or column.dtype.is_nested():
        raise DataError(f"a {dtype} is declared, and the column is {column.dtype}", where=where, hint="correct `dtype`")
    if column.dtype.is_float():
        column = column.fill_nan(None)
    typed = column.cast(POLARS_TYPES[dtype], strict=False)
    lost = typed.is_null() & column.is_not_null()
    if dtype in ("integer", "boolean") and column.dtype.is_numeric():
        lost |= (typed.cast(column.dtype, strict=False) != column).fill_null(False)
    expect_none(column, lost, f"a value is not a{'n' if dtype == 'integer' else ''} {dtype}", where=where)
    return typed.fill_nan(None) if dtype == "number" else typed


def entity_column(column: pl.Series, *, where: str) -> pl.Series:
    """Return a column of entities as Int64, String, Boolean or Date; NaN is missing, 7.0 is the integer 7.

    Raises
    ------
    DataError
        If it has another type, or a number that is not whole or beyond 2^53.
    """
    dtype = column.dtype
    if dtype in (pl.String, pl.Boolean, pl.Date, pl.Null):
        return column
    if dtype in (pl.Categorical, pl.Enum):
        return column.cast(pl.String)
    if not (dtype.is_integer() or dtype.is_float()):
        what = f"entity '{column.name}' is {dtype}"
        raise DataError(what, where=where, hint="an entity is an integer, a string, a boolean or a date")
    if dtype.is_float():
        column = column.fill_nan(None)
        uneven = (column != column.floor()) | (column.abs() > _MAX_WHOLE)
        expect_none(column, uneven.fill_null(False), f"entity '{column.name}' is not a whole number", where=where)
    integers = column.cast(pl.Int64, strict=False)
    expect_none(column, integers.is_null() & column.is_not_null(), f"entity '{column.name}' is too large", where=where)
    return integers


def entity_key_expr(view: FeatureView) -> pl.Expr:
    """Return an expression of the key of computed rows in an online store, equal to `online_rows.entity_key`."""
    texts = [pl.col(name).cast(pl.String) for name in view.entities]
    if len(texts) == 1:
        return texts[0]
    return pl.concat_str([part for text in texts for part in (text.str.len_chars(), pl.lit(":"), text)])


def utc_times(times: pl.Series, zone: str, *, where: str) -> pl.Series:
    """Return times in UTC, in microseconds.

    Parameters
    ----------
    times : Series
        Dates, which are midnights, or times, or ISO 8601 strings of these.
    zone : str
        Time zone of times without one, such as `America/New_York`.
    where : str
        Where the column stands, for messages.

    Raises
    ------
    DataError
        If the column holds no times, or a time that the clocks of the zone show twice or never; rows are named.
    ConfigError
        If the zone is unknown.
    """
    times = parse_date_column(times)
    if times.dtype == pl.Null:
        return times.cast(TIME)
    if times.dtype not in (pl.Date, pl.Datetime):
        what = f"column '{times.name}' is {times.dtype}, not a time"
        raise DataError(what, where=where, hint="ISO 8601, such as 2024-01-31T12:00:00Z, or pl.from_epoch(...) first")
    _expect_years(times, where)
    times = times.cast(pl.Datetime("us", getattr(times.dtype, "time_zone", None)))
    if times.dtype == TIME:
        return times
    if getattr(times.dtype, "time_zone", None):
        return times.dt.convert_time_zone("UTC")
    if zone == "UTC":
        return times.dt.replace_time_zone("UTC")
    try:
        local = times.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    except pl.exceptions.PolarsError as error:
        raise ConfigError(f"unknown time zone '{zone}'", where=where, hint='time_zone = "America/New_York"') from error
    lost = local.is_null() & times.is_not_null()
    if lost.any():
        first = times.filter(lost).head(1)
        exists = first.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").count()
        what = f"the clocks of {zone} show this time {'twice' if exists else 'never'}"
        expect_none(times, lost, what, where=where, hint="store times in UTC, or with their offset")
    return local.dt.convert_time_zone("UTC")


def _expect_years(times: pl.Series, where: str) -> None:
    """Raise DataError for times that are not of the years 1 to 9999: microseconds would overflow."""
    unit = getattr(times.dtype, "time_unit", None)
    low, high = (second * _PER_SECOND[unit] if unit else second // 86_400 for second in _SECONDS)
    numbers = times.to_physical().cast(pl.Int64)
    lowest, highest = numbers.min(), numbers.max()
    if lowest is not None and (lowest < low or highest >= high):  # type: ignore[operator]
        wrong = ((numbers < low) | (numbers >= high)).fill_null(False)
        expect_none(numbers, wrong, f"column '{times.name}' has a time beyond the years 1 to 9999", where=where)


def expect_none(column: pl.Series, wrong: pl.Series, what: str, *, where: str, hint: str = "") -> None:
    """Raise DataError with a value and the numbers of the rows, if some rows are wrong."""
    if not wrong.any():
        return
    rows = wrong.arg_true().to_list()
    more = f" and {len(rows) - MAX_SHOWN:,} more" if len(rows) > MAX_SHOWN else ""
    shown = f"row{'s' if len(rows) > 1 else ''} {', '.join(f'{row:,}' for row in rows[:MAX_SHOWN])}{more}"
    raise DataError(f"{what}: {column[rows[0]]}", where=f"{shown} (from 0) of '{column.name}', {where}", hint=hint)
