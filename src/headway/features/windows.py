"""Windowed aggregations over the event rows of an entity, exact at any time.

A row is in the window of t if its event time is in (t - window, t] and its created time is not later than t. It is so
from max(event time, created time) until event time + window: a range of the requested times of its entity, in order.
Counts and sums add a row where its range begins and subtract it where the range ends. The subtraction is exact:
integers are added in two halves of 32 bits, floats in parts that are multiples of one power of two, small enough that
no sum is rounded. Minimum, maximum and last cannot subtract: a range is two overlapping ranges of a power of two, and
these are handed down to the times level by level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import DAY_S, HOUR_S, WINDOW_S, Aggregation

_WINDOW = re.compile(
    r"\s*(?P<function>count|sum|mean|avg|min|max|last|distinct)\s*"
    r'\(\s*(?P<column>[A-Za-z_]\w*|"[^"]+"|\*|)\s*\)\s*over\s+(?P<number>\d{1,6})\s*(?P<unit>h|d|w)\s*',
    re.IGNORECASE,
)
_UNITS_S = {"h": HOUR_S, "d": DAY_S, "w": 7 * DAY_S}
_EXPONENT = 900
"""Floats of this exponent and larger are added apart, scaled down, so that no part overflows."""
_SCALE = 2.0**128


def parse_window(text: str) -> Aggregation:
    """Parse an aggregation, such as `sum(precip) over 1d` or `count() over 2h`.

    Raises
    ------
    ConfigError
        If the text has another form, the function needs a column, or the window is not between 1 h and 90 d.
    """
    hint = 'write it as "sum(precip) over 1d"; functions: count, sum, mean, min, max, last, distinct; units: h, d, w'
    match = _WINDOW.fullmatch(text)
    if not match:
        raise ConfigError(f"{text!r} is not a windowed aggregation", hint=hint)
    function: Any = {"avg": "mean"}.get(match["function"].lower(), match["function"].lower())
    column = match["column"].strip('"')
    if column == "*":
        column = "" if function == "count" else "*"
    if column in ("", "*") and function != "count":
        raise ConfigError(f"{text!r}: {function} needs a column", hint=hint)
    window_s = int(match["number"]) * _UNITS_S[match["unit"].lower()]
    if not WINDOW_S[0] <= window_s <= WINDOW_S[1]:
        raise ConfigError(f"{text!r}: a window is between 1h and 90d", hint=hint)
    return Aggregation(function=function, window_s=window_s, column=column)


def aggregate(
    rows: pl.DataFrame,
    at: pl.DataFrame,
    aggregations: Mapping[str, Aggregation],
    *,
    entities: Sequence[str],
    event_time: str = "event_time",
    created_time: str = "created_time",
    time: str = "event_time",
) -> pl.DataFrame:
    """Compute windowed aggregations at many (entity, time) rows, equal to filtering the events for each of them.

    Parameters
    ----------
    rows : DataFrame
        The events. `created_time` may be absent, or null where a row was known at its event time. A row without event
        time or entity is never seen.
    at : DataFrame
        The rows to compute values for: the columns `entities` and `time`.
    aggregations : mapping of str to Aggregation
        By the name of the feature.
    entities : sequence of str
        The columns that identify an entity, in both tables.

    Returns
    -------
    DataFrame
        A column per aggregation, as many rows as `at`, in its order. A window without values has count and distinct 0,
        and null else; a row of `at` without entity or time has null. NaN is a missing value. Of rows with one event
        time, `last` takes that with the latest created time, then the last in `rows`. A sum of floats is rounded once
        or twice, whatever else the window or the table holds. Memory is linear in `rows` and `at`.

    Raises
    ------
    DataError
        If a column is absent or of a type that the function does not take, or a sum of integers is beyond 64 bits.
    """
    for table, names in ((rows, (*entities, event_time)), (at, (*entities, time))):
        _expect(table, names)
    requests = at.select(*entities, _microseconds(at, time).alias("__at")).with_row_index("__index").drop_nulls()
    codes = requests.select(entities).unique().with_row_index("__entity")
    requests = requests.join(codes, on=entities, how="inner").sort("__entity", "__at")
    columns = sorted({one.column for one in aggregations.values() if one.column})
    _expect(rows, columns)
    event_us = _microseconds(rows, event_time)
    created_us = _microseconds(rows, created_time).fill_null(event_us) if created_time in rows.columns else event_us
    times = (event_us.alias("__event"), created_us.alias("__created"))
    table = (
        rows.select(*entities, *times, *(pl.col(name).alias(f"value {name}") for name in columns))
        .filter(pl.col("__event").is_not_null())
        .join(codes, on=entities, how="inner", maintain_order="left")
        .drop(entities)
    )
    in_order = table["__event"].is_sorted() and table["__created"].is_sorted()
    table = table.sort("__entity", *(() if in_order else ("__event", "__created")), maintain_order=True)
    return _aggregate(table, requests, aggregations, total=len(at), entities=len(codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The events that some request sees in a window: each by the requests [begins, ends) of all `requests`."""

    requests: int
    table: pl.DataFrame
    row: Ints
    begins: Ints
    ends: Ints

    def of(self, keep: Bools) -> _Seen:
        """Return the events for which `keep` is true."""
        if keep.all():
            return self
        row, begins, ends = self.row[keep], self.begins[keep], self.ends[keep]
        return _Seen(requests=self.requests, table=self.table, row=row, begins=begins, ends=ends)


def _aggregate(
    table: pl.DataFrame, requests: pl.DataFrame, aggregations: Mapping[str, Aggregation], *, total: int, entities: int
) -> pl.DataFrame:
    """Aggregate events, in the order of entity, event and created time, at requests, in the order of entity and time.

    The values come in the order of the caller's table of `total` rows: null for a row without a request.
    """
    entity, event_us = _ints(table["__entity"]), _ints(table["__event"])
    bounds = np.concatenate([[0], np.cumsum(np.bincount(entity, minlength=entities))])
    who, at_us = _ints(requests["__entity"]), _ints(requests["__at"])
    seen_us = np.maximum(event_us, _ints(table["__created"]))
    late = bool(np.any(seen_us > event_us))
    order = (
        _ints(pl.DataFrame({"e": entity, "s": seen_us}).select(pl.arg_sort_by("e", "s")).to_series()) if late else None
    )
    begins = _requests_until(_rows_until(seen_us if order is None else seen_us[order], bounds, who, at_us), len(table))
    if order is not None:
        in_order, begins = begins, np.empty_like(begins)
        begins[order] = in_order
    position = np.full(total, len(requests), dtype=np.int64)
    position[_ints(requests["__index"])] = np.arange(len(requests))
    found: dict[str, pl.Series] = {}
    for window_s in {one.window_s for one in aggregations.values()}:
        ends = _requests_until(_rows_until(event_us, bounds, who, at_us - window_s * 1_000_000), len(table))
        row = np.flatnonzero(begins < ends)
        seen = _Seen(requests=len(requests), table=table, row=row, begins=begins[row], ends=ends[row])
        for name, one in aggregations.items():
            if one.window_s == window_s:
                values = _compute(seen, one)
                found[name] = values.extend_constant(None, 1).gather(position).alias(name)
    return pl.DataFrame([found[name] for name in aggregations])


def _rows_until(times: Ints, bounds: Ints, entity: Ints, wanted: Ints) -> Ints:
    """Return the index of the first row of each entity that is later than the wanted time."""
    position, end = bounds[entity], bounds[entity + 1]
    longest = int(np.diff(bounds).max(initial=0))
    for step in (1 << level for level in reversed(range(longest.bit_length()))):
        further = np.minimum(position + step, end)
        earlier = (
            (further > position) & (times[further - 1] <= wanted) if len(times) else np.zeros(len(position), np.bool_)
        )
        position = np.where(earlier, further, position)
    return position


def _requests_until(positions: Ints, rows: int) -> Ints:
    """Return, for each row, the number of requests whose position is not after it."""
    return np.cumsum(np.bincount(positions, minlength=rows + 1))[:rows]


def _compute(seen: _Seen, one: Aggregation) -> pl.Series:
    """Compute an aggregation at each request, in the order of the requests."""
    if not one.column:
        return pl.Series(_counts(seen))
    values = seen.table[f"value {one.column}"]
    missing = values.is_null() | values.is_nan().fill_null(True) if values.dtype.is_float() else values.is_null()
    if missing.any():
        seen = seen.of(~missing.to_numpy()[seen.row])
    if one.function == "count":
        return pl.Series(_counts(seen))
    if one.function == "distinct":
        return pl.Series(_distinct(seen, values))
    if one.function in ("sum", "mean"):
        return _sum_or_mean(seen, values, one)
    if one.function == "last":
        return _last(seen, values)
    return _extreme_value(seen, values, np.maximum if one.function == "max" else np.minimum)


def _last(seen: _Seen, values: pl.Series) -> pl.Series:
    """Take the newest value: the rows are in the order of event time, created time and row of the caller."""
    newest = _extreme(seen, seen.row, np.maximum, none=-1)
    return _gather(values, newest, newest < 0)


def _extreme_value(seen: _Seen, values: pl.Series, ufunc: np.ufunc) -> pl.Series:
    """Take the largest or smallest value, of numbers directly, of other types by their order."""
    empty = _counts(seen) == 0
    if (values.dtype.is_integer() and values.dtype not in (pl.Int128, pl.UInt128)) or values.dtype.is_float():
        numbers = values.fill_null(0).to_numpy()[seen.row]
        return _gather(pl.Series(_extreme(seen, numbers, ufunc, none=0)), np.arange(len(empty)), empty)
    ordered = values.unique().drop_nulls().sort()
    if ordered.is_empty():
        return values.clear(len(empty))
    ranks = _ints(ordered.search_sorted(values.fill_null(ordered[0])))
    return _gather(ordered, _extreme(seen, ranks[seen.row], ufunc, none=0), empty)


def _gather(values: pl.Series, positions: Ints, empty: Bools) -> pl.Series:
    """Gather values, null where `empty`."""
    return values.extend_constant(None, 1).gather(np.where(empty, len(values), positions))


def _counts(seen: _Seen) -> Ints:
    size = seen.requests + 1
    steps = np.bincount(seen.begins, minlength=size) - np.bincount(seen.ends, minlength=size)
    return np.cumsum(steps)[:-1]


def _sums(seen: _Seen, values: NDArray[Any]) -> NDArray[Any]:
    """Add the values of the events of each request; the caller sees to it that no partial sum is rounded."""
    steps = np.zeros(seen.requests + 1, dtype=values.dtype)
    np.add.at(steps, seen.begins, values)
    np.subtract.at(steps, seen.ends, values)
    sums: NDArray[Any] = np.cumsum(steps)[:-1]
    return sums


def _sum_or_mean(seen: _Seen, column: pl.Series, one: Aggregation) -> pl.Series:
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype == pl.Boolean) or dtype in (pl.Int128, pl.UInt128):
        raise DataError(f"column '{one.column}' is {dtype}; {one.function} needs numbers of at most 64 bits")
    counts = _counts(seen)
    positions, divisor = np.arange(len(counts)), np.maximum(counts, 1)
    if dtype.is_float() or dtype.is_decimal():
        floats = _float_sums(seen, column.cast(pl.Float64).to_numpy()[seen.row], int(counts.max(initial=0)))
        return _gather(pl.Series(floats if one.function == "sum" else floats / divisor), positions, counts == 0)
    numbers = column.cast(pl.UInt64 if dtype == pl.UInt64 else pl.Int64).fill_null(0).to_numpy()[seen.row]
    high = _sums(seen, (numbers >> 32).astype(np.int64))
    low = _sums(seen, (numbers & 0xFFFFFFFF).astype(np.int64))
    high, low = high + (low >> 32), low & 0xFFFFFFFF
    if one.function == "mean":
        return _gather(pl.Series((high * 2.0**32 + low) / divisor), positions, counts == 0)
    if np.any((high < -(2**31)) | (high >= 2**31)):
        hint = "cast the column to a float in the query of the view"
        raise DataError(f"a sum of '{one.column}' is beyond the integers of 64 bits", hint=hint)
    return _gather(pl.Series((high << 32) | low), positions, counts == 0)


def _float_sums(seen: _Seen, values: Floats, max_count: int) -> Floats:
    """Add floats, rounded once or twice: `max_count` is the largest number of events of a request."""
    infinite = np.isinf(values)
    if infinite.any():
        up, down = _counts(seen.of(values == np.inf)), _counts(seen.of(values == -np.inf))
        finite = _float_sums(seen.of(~infinite), values[~infinite], max_count)
        return np.select([(up > 0) & (down > 0), up > 0, down > 0], [np.nan, np.inf, -np.inf], finite)
    huge = np.abs(values) >= 2.0**_EXPONENT
    if huge.any():
        with np.errstate(over="ignore"):
            large = _float_sums(seen.of(huge), values[huge] / _SCALE, max_count) * _SCALE
        return large + _float_sums(seen.of(~huge), values[~huge], max_count)
    total, error = np.zeros(seen.requests), np.zeros(seen.requests)
    for part in _parts(values, max_count):
        sums = _sums(seen, part)
        together = total + sums
        of_sums = together - total
        error += (total - (together - of_sums)) + (sums - of_sums)
        total = together
    return total + error


def _parts(values: Floats, max_count: int) -> Iterator[Floats]:
    """Split floats, without error, into parts of which `max_count` can be added and subtracted exactly in any order."""
    bits = (2 * max_count + 1).bit_length()
    rest = values
    while largest := float(np.abs(rest).max(initial=0.0)):
        exponent = int(np.frexp(largest)[1]) + bits
        if exponent - 53 <= -1022:
            yield rest
            return
        rounder = 1.5 * 2.0 ** (exponent - 1)
        part = (rest + rounder) - rounder
        yield part
        rest = rest - part


def _extreme(seen: _Seen, values: NDArray[Any], ufunc: np.ufunc, *, none: int) -> NDArray[Any]:
    """Take the largest or smallest value of the events of each request; `none` without any."""
    low, high = _limits(values.dtype)
    worst = low if ufunc is np.maximum else high
    found = np.full(seen.requests, worst, dtype=values.dtype)
    levels = np.frexp((seen.ends - seen.begins).astype(np.float64))[1].astype(np.int8) - 1
    for level in reversed(range(int(levels.max(initial=-1)) + 1)):
        width = 1 << level
        now = np.flatnonzero(levels == level)
        ufunc.at(found, seen.begins[now], values[now])
        ufunc.at(found, seen.ends[now] - width, values[now])
        if level:  # what holds for a range of 2**level requests from here holds for two of half the length
            half = width // 2
            ufunc(found[half:], found[:-half].copy(), out=found[half:])
    found[_counts(seen) == 0] = none
    return found


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _distinct(seen: _Seen, column: pl.Series) -> Ints:
    """Count the values that a request sees: one is seen until its newest event leaves the window."""
    code = _ints(column.rank("dense").fill_null(0))[seen.row]
    group = _ints(seen.table["__entity"])[seen.row] * (len(column) + 1) + code
    order = _ints(pl.DataFrame({"g": group, "b": seen.begins}).select(pl.arg_sort_by("g", "b")).to_series())
    group, begins, ends = group[order], seen.begins[order], seen.ends[order]
    new = np.concatenate([[True], group[1:] != group[:-1]])[: len(group)]
    size = seen.requests + 1
    ends = np.maximum.accumulate(np.cumsum(new) * size + ends) % size  # the largest so far of the same group
    ends = np.minimum(ends, np.where(np.append(new[1:], True), size, np.append(begins[1:], 0))[: len(ends)])
    now = begins < ends
    distinct = _Seen(requests=seen.requests, table=seen.table, row=order[now], begins=begins[now], ends=ends[now])
    return _counts(distinct)


def _ints(column: pl.Series) -> Ints:
    numbers: Ints = column.cast(pl.Int64).to_numpy()
    return numbers


def _expect(table: pl.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in table.columns:
            raise DataError(f"no column '{name}'", where=f"columns: {', '.join(table.columns)}")


def _microseconds(table: pl.DataFrame, name: str) -> pl.Expr:
    dtype = table.schema[name]
    if dtype not in (pl.Datetime, pl.Date):
        raise DataError(f"column '{name}' is {dtype}, not a time", hint="parse it, e.g. str.to_datetime()")
    as_time = pl.col(name).cast(pl.Datetime("us")) if dtype == pl.Date else pl.col(name).dt.cast_time_unit("us")
    return as_time.to_physical()
