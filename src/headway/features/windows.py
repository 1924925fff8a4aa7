"""Windowed aggregations over the event rows of an entity, exact at any time.

A row is in the window of t if its event time is in (t - window, t] and its created time is not later than t. It is so
from max(event time, created time) until event time + window: a range of the requested times of its entity, in order.
Only the requests are sorted; events come in any order.
Counts and sums add a row where its range begins and subtract it where the range ends. The subtraction is exact:
integers are added in two halves of 32 bits, floats in parts that are multiples of one power of two, small enough that
no sum is rounded. Minimum, maximum and last cannot subtract: a range is two overlapping ranges of a power of two, and
these are handed down to the times level by level.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_SMALLEST = -1074
"""All floats are multiples of two to this power."""
Codes = NDArray[np.uint32]
_BLOCK = 1 << 15
_MAX_TABLE = 1 << 22
_NO_CODE = 2**32 - 1
_WHOLE = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)


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
    requests = at.select(*entities, _microseconds(at, time).alias("__at"))
    codes = requests.drop_nulls().select(entities).unique().with_row_index("__entity")
    requests = requests.select("__at", _entity_codes(requests.select(entities), codes))
    columns = sorted({one.column for one in aggregations.values() if one.column})
    _expect(rows, columns)
    event_us = _microseconds(rows, event_time)
    created_us = _microseconds(rows, created_time).fill_null(event_us) if created_time in rows.columns else event_us
    times = (event_us.alias("__event"), created_us.alias("__created"))
    table = rows.select(*times, *(pl.col(name).alias(f"value {name}") for name in columns)).with_columns(
        _entity_codes(rows.select(entities), codes)
    )
    if table["__entity"].null_count() or table["__event"].null_count():
        table = table.drop_nulls(["__entity", "__event"])
    return _aggregate(table, requests, aggregations)


def _entity_codes(rows: pl.DataFrame, codes: pl.DataFrame) -> pl.Series:
    """Return the code of the entity of each row, null if it has none; whole numbers that lie close are looked up."""
    name, *others = rows.columns
    known = codes[name]
    if not (others or rows[name].null_count() or known.is_empty()) and known.dtype == rows[name].dtype in _WHOLE:
        smallest, largest = int(known.min()), int(known.max())  # type: ignore[arg-type]
        if largest - smallest < _MAX_TABLE:
            table = np.full(largest - smallest + 1, _NO_CODE, dtype=np.uint32)
            table[_ints(known) - smallest] = codes["__entity"].to_numpy()
            keys, found = rows[name].to_numpy(), np.empty(len(rows), dtype=np.uint32)
            for block in _blocks(len(rows)):
                key = keys[block].astype(np.int64)
                inside = np.clip(key, smallest, largest)
                found[block] = np.where(inside == key, table[inside - smallest], _NO_CODE)
            column = pl.Series("__entity", found)
            return column.set(column == _NO_CODE, None) if (found == _NO_CODE).any() else column
    return rows.join(codes, on=rows.columns, how="left", maintain_order="left")["__entity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The events that some request sees in a window: each by the requests [begins, ends) of all `requests`."""

    requests: int
    table: pl.DataFrame
    row: Codes
    begins: Codes
    ends: Codes

    def of(self, keep: Bools) -> _Seen:
        """Return the events for which `keep` is true."""
        if keep.all():
            return self
        row, begins, ends = self.row[keep], self.begins[keep], self.ends[keep]
        return _Seen(requests=self.requests, table=self.table, row=row, begins=begins, ends=ends)

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of the events, of those of all rows of the table."""
        return values if len(self.row) == len(values) else values[self.row]


def _aggregate(table: pl.DataFrame, requests: pl.DataFrame, aggregations: Mapping[str, Aggregation]) -> pl.DataFrame:
    """Aggregate events at requests, both in any order: null at a request without entity or time."""
    valid = requests.select(pl.all_horizontal(pl.all().is_not_null())).to_series()
    known = requests.filter(valid)
    times = _RequestTimes(known)
    position = np.full(len(requests), len(known), dtype=np.int64)
    position[valid.to_numpy()] = times.positions(known)
    found: dict[str, pl.Series] = {}
    for window_s in {one.window_s for one in aggregations.values()}:
        seen = times.seen(table, window_us=window_s * 1_000_000)
        for name, one in aggregations.items():
            if one.window_s == window_s:
                values = _compute(seen, one)
                found[name] = values.extend_constant(None, 1).gather(position).alias(name)
    return pl.DataFrame([found[name] for name in aggregations])


class _RequestTimes:
    """The times of requests, in the order of entity and time.

    The time of each entity is cut into spans of equal length, about four for each request. A table has the first
    request of each span. Most spans have none or one, so that a search is a look at the table; the others are bisected.
    """

    def __init__(self, requests: pl.DataFrame) -> None:
        who, at_us = _ints(requests["__entity"]), _ints(requests["__at"])
        self._first_us = int(at_us.min()) if len(at_us) else 0
        since_us = at_us - self._first_us
        self._end_us = int(since_us.max(initial=0)) + 1  # later than all
        bits = self._end_us.bit_length()
        if bits + int(who.max(initial=0)).bit_length() < 64:
            keys = np.sort((who << bits) | since_us)  # much faster than an order of rows
            who, self._since_us = keys >> bits, keys & ((1 << bits) - 1)
        else:
            order = np.lexsort((since_us, who))
            who, self._since_us = who[order], since_us[order]
        span_bits = np.frexp(np.bincount(who).astype(np.float64))[1].astype(np.int64) + 2
        self._shift = np.maximum(bits - span_bits, 0)
        spans = (self._end_us >> self._shift) + 1
        self._base = np.cumsum(spans) - spans
        self._table = np.zeros(int(spans.sum()) + 1, dtype=np.uint32)
        for block in _blocks(len(who)):  # of equal indices the last one counts, here the largest
            self._table[self._span(who[block], self._since_us[block]) + 1] = np.arange(block.start + 1, block.stop + 1)
        np.maximum.accumulate(self._table, out=self._table)

    def _span(self, who: Ints, since_us: Ints) -> Ints:
        span: Ints = since_us >> self._shift.take(who)
        span += self._base.take(who)
        return span

    def positions(self, requests: pl.DataFrame) -> Ints:
        """Return where requests are in the order: of equal ones, the first."""
        who, at_us, found = (
            requests["__entity"].to_numpy(),
            requests["__at"].to_numpy(),
            np.empty(len(requests), np.int64),
        )
        for block in _blocks(len(requests)):
            found[block] = self._first_from(who[block].astype(np.int64), at_us[block], self._first_us)
        return found

    def seen(self, table: pl.DataFrame, *, window_us: int) -> _Seen:
        """Return the events that some request sees in a window of this length."""
        entity, event_us, created_us = (table[name].to_numpy() for name in ("__entity", "__event", "__created"))
        row, begins, ends = (np.empty(len(table), dtype=np.uint32) for _ in range(3))
        size = 0
        for block in _blocks(len(table)):
            who = entity[block].astype(np.int64)
            begin = self._first_from(who, np.maximum(event_us[block], created_us[block]), self._first_us)
            end = self._first_from(who, event_us[block], self._first_us - window_us)
            keep = np.flatnonzero(begin < end)
            part = slice(size, size + len(keep))
            row[part], begins[part], ends[part] = keep + block.start, begin.take(keep), end.take(keep)
            size = part.stop
        return _Seen(requests=len(self._since_us), table=table, row=row[:size], begins=begins[:size], ends=ends[:size])

    def _first_from(self, who: Ints, times_us: Ints, first_us: int) -> Codes:
        """Return the first request of each entity that is not before a time, where `first_us` is that of the first."""
        since_us = np.clip(times_us, first_us, first_us + self._end_us)
        since_us -= first_us
        span = self._span(who, since_us)
        first, past = self._table.take(span), self._table.take(span + 1)
        some = np.flatnonzero(first < past)
        low, high, wanted_us = first[some].astype(np.int64), past[some].astype(np.int64), since_us[some]
        while len(some):
            middle = (low + high) >> 1
            before = self._since_us[middle] < wanted_us
            low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
            first[some] = low
            more = low < high
            some, low, high, wanted_us = some[more], low[more], high[more], wanted_us[more]
        return first


def _blocks(length: int) -> Iterator[slice]:
    """Yield the parts of an array that are handled one after the other, so that temporary arrays stay in the cache."""
    return (slice(start, min(start + _BLOCK, length)) for start in range(0, length, _BLOCK))


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
    """Take the newest value, in the order of event time, created time and row of the caller."""
    empty, times = _counts(seen) == 0, [seen.table["__event"], seen.table["__created"]]
    if all(column.is_sorted() for column in times):
        return _gather(values, _extreme(seen, seen.row, np.maximum), empty)
    order = _ints(pl.DataFrame(times).select(pl.arg_sort_by("__event", "__created", maintain_order=True)).to_series())
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    newest = _extreme(seen, seen.take(rank), np.maximum)
    return _gather(values.gather(order), newest, empty)


def _extreme_value(seen: _Seen, values: pl.Series, ufunc: np.ufunc) -> pl.Series:
    """Take the largest or smallest value, of numbers directly, of other types by their order."""
    empty = _counts(seen) == 0
    if (values.dtype.is_integer() and values.dtype not in (pl.Int128, pl.UInt128)) or values.dtype.is_float():
        numbers = seen.take(values.fill_null(0).to_numpy())
        return _gather(pl.Series(_extreme(seen, numbers, ufunc)), np.arange(len(empty)), empty)
    ordered = values.unique().drop_nulls().sort()
    if ordered.is_empty():
        return values.clear(len(empty))
    ranks = _ints(ordered.search_sorted(values.fill_null(ordered[0])))
    return _gather(ordered, _extreme(seen, seen.take(ranks), ufunc), empty)


def _gather(values: pl.Series, positions: Ints, empty: Bools) -> pl.Series:
    """Gather values, null where `empty`."""
    return values.extend_constant(None, 1).gather(np.where(empty, len(values), positions))


def _counts(seen: _Seen) -> Ints:
    return _count(seen.begins, seen.ends, seen.requests)


def _count(begins: NDArray[Any], ends: NDArray[Any], requests: int) -> Ints:
    """Count the ranges [begins, ends) that each request is in."""
    return np.cumsum(np.bincount(begins, minlength=requests + 1) - np.bincount(ends, minlength=requests + 1))[:-1]


def _sums(seen: _Seen, values: NDArray[Any], split: Callable[[NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
    """Add a part of the values of the events of each request, exact as long as no partial sum is rounded.

    `split` returns that part of some values, and may leave the rest in them.
    """
    steps = np.zeros(seen.requests + 1, dtype=np.float64 if values.dtype.kind == "f" else np.int64)
    for block in _blocks(len(values)):
        part = split(values[block])
        np.add.at(steps, seen.begins[block].astype(np.int64), part)
        np.subtract.at(steps, seen.ends[block].astype(np.int64), part)
    return np.cumsum(steps)[:-1]


def _sum_or_mean(seen: _Seen, column: pl.Series, one: Aggregation) -> pl.Series:
    dtype = column.dtype
    if not (dtype.is_numeric() or dtype == pl.Boolean) or dtype in (pl.Int128, pl.UInt128):
        raise DataError(f"column '{one.column}' is {dtype}; {one.function} needs numbers of at most 64 bits")
    counts = _counts(seen)
    positions, divisor = np.arange(len(counts)), np.maximum(counts, 1)
    if dtype.is_float() or dtype.is_decimal():
        floats = _float_sums(seen, seen.take(column.cast(pl.Float64).to_numpy()), int(counts.max(initial=0)))
        return _gather(pl.Series(floats if one.function == "sum" else floats / divisor), positions, counts == 0)
    numbers = column.cast(pl.UInt64 if dtype == pl.UInt64 else pl.Int64).fill_null(0).to_numpy()
    numbers = seen.take(numbers)
    high = _sums(seen, numbers, lambda part: (part >> 32).astype(np.int64))
    low = _sums(seen, numbers, lambda part: (part & 0xFFFFFFFF).astype(np.int64))
    high, low = high + (low >> 32), low & 0xFFFFFFFF
    if one.function == "mean":
        return _gather(pl.Series((high * 2.0**32 + low) / divisor), positions, counts == 0)
    if np.any((high < -(2**31)) | (high >= 2**31)):
        hint = "cast the column to a float in the query of the view"
        raise DataError(f"a sum of '{one.column}' is beyond the integers of 64 bits", hint=hint)
    return _gather(pl.Series((high << 32) | low), positions, counts == 0)


def _float_sums(seen: _Seen, values: Floats, max_count: int) -> Floats:
    """Add floats, rounded once or twice: `max_count` is the largest number of events of a request."""
    largest = _largest(values)
    if largest == np.inf:
        infinite = np.isinf(values)
        up, down = _counts(seen.of(values == np.inf)), _counts(seen.of(values == -np.inf))
        finite = _float_sums(seen.of(~infinite), values[~infinite], max_count)
        return np.select([(up > 0) & (down > 0), up > 0, down > 0], [np.nan, np.inf, -np.inf], finite)
    if largest >= 2.0**_EXPONENT:
        huge = np.abs(values) >= 2.0**_EXPONENT
        with np.errstate(over="ignore"):
            large = _float_sums(seen.of(huge), values[huge] / _SCALE, max_count) * _SCALE
        return large + _float_sums(seen.of(~huge), values[~huge], max_count)
    total, error, rest = np.zeros(seen.requests), np.zeros(seen.requests), values.copy()
    while largest:
        sums = _sums(seen, rest, _splitter(largest, max_count))
        together = total + sums
        of_sums = together - total
        error += (total - (together - of_sums)) + (sums - of_sums)
        total, largest = together, _largest(rest)
    return total + error


def _largest(values: Floats) -> float:
    return max(float(values.max(initial=0.0)), -float(values.min(initial=0.0)))


def _splitter(largest: float, max_count: int) -> Callable[[Floats], Floats]:
    """Return a function that moves, without error, the first digits of some floats, of which it leaves the rest.

    As these parts are multiples of one power of two, `max_count` of them can be added and subtracted exactly in any
    order.
    """
    exponent = int(np.frexp(largest)[1]) + (2 * max_count + 1).bit_length()
    rounder = 1.5 * 2.0 ** (exponent - 1)

    def split(values: Floats) -> Floats:
        part = values.copy() if exponent - 53 <= _SMALLEST else (values + rounder) - rounder
        values -= part
        return part

    return split


def _extreme(seen: _Seen, values: NDArray[Any], ufunc: np.ufunc) -> NDArray[Any]:
    """Take the largest or smallest value of the events of each request; of no meaning without any."""
    low, high = _limits(values.dtype)
    worst = low if ufunc is np.maximum else high
    found = np.full(seen.requests, worst, dtype=values.dtype)
    levels = np.empty(len(values), dtype=np.int8)
    for block in _blocks(len(values)):
        levels[block] = np.frexp((seen.ends[block] - seen.begins[block]).astype(np.float64))[1] - 1
    for level in reversed(range(int(levels.max(initial=-1)) + 1)):
        width = 1 << level
        for block in _blocks(len(values)):
            now = np.flatnonzero(levels[block] == level)
            if len(now):
                some = values[block][now]
                ufunc.at(found, seen.begins[block][now].astype(np.int64), some)
                ufunc.at(found, seen.ends[block][now].astype(np.int64) - width, some)
        if level:  # what holds for a range of 2**level requests from here holds for two of half the length
            half = width // 2
            ufunc(found[half:], found[:-half].copy(), out=found[half:])
    return found


def _limits(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    if dtype.kind == "f":
        return -np.inf, np.inf
    return np.iinfo(dtype).min, np.iinfo(dtype).max


def _distinct(seen: _Seen, column: pl.Series) -> Ints:
    """Count the values that a request sees: one is seen until its newest event leaves the window."""
    code, size = seen.take(_ints(column.rank("dense").fill_null(0))), seen.requests + 1
    order = pl.Series(code * size + seen.begins).arg_sort().to_numpy()  # of one value, entities come one after another
    code, begins, ends = code[order], seen.begins[order].astype(np.int64), seen.ends[order]
    latest = np.maximum.accumulate(code * size + ends) - code * size  # so far of the same value
    again = np.append(np.where(code[1:] == code[:-1], begins[1:], size), size)
    return _count(begins, np.maximum(np.minimum(latest, again[: len(latest)]), begins), seen.requests)


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
