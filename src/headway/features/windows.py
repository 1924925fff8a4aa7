"""Windowed aggregations over the event rows of an entity, exact at any time.

A row is in the window of t if its event time is in (t - window, t] and its created time is not later than t. It is so
from max(event time, created time) until event time + window: a range of the requested times of its entity, in order.
Only the requests are sorted; events come in any order.
Counts and sums add a row where its range begins and subtract it where the range ends. The subtraction is exact:
integers are added in two halves of 32 bits, floats in parts that are multiples of one power of two, small enough that
no sum is rounded. Minimum, maximum and last cannot subtract: a range is two overlapping ranges of a power of two, and
these are handed down to the times level by level.
The passes over all events are compiled (`windows.c`). Without a compiler numpy takes them, and finds the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol

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


class _Kernel(Protocol):
    """The functions of `windows.c`."""

    def first(
        self, shift: Ints, base: Ints, starts: Ints, table: Codes, since: Ints, who: Codes, times: Ints,
        found: Codes, end: int, first: int, /,
    ) -> None: ...  # fmt: skip
    def ranges(
        self, shift: Ints, base: Ints, starts: Ints, table: Codes, since: Ints, keys: NDArray[Any], event: Ints,
        created: Ints, begins: Codes, ends: Codes, steps: Ints, codes: Codes, end: int, first: int, first_of_ends: int,
        smallest: int | None, /,
    ) -> int: ...  # fmt: skip
    def counts(self, begins: Codes, ends: Codes, steps: Ints, /) -> None: ...
    def largest(self, values: Floats, /) -> float: ...
    def add_floats(
        self, values: Floats, row: Codes, begins: Codes, ends: Codes, rounders: Floats, steps: Floats, /
    ) -> tuple[float, float]: ...
    def add_totals(self, steps: Floats, total: Floats, error: Floats, parts: int, /) -> None: ...
    def add_integers(
        self, values: Ints, row: Codes, begins: Codes, ends: Codes, steps: Ints, is_unsigned: bool, /
    ) -> None: ...


kernel: _Kernel | None = None
with suppress(ImportError):
    from headway.features import _windows as kernel  # type: ignore[attr-defined, no-redef, unused-ignore]
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
    at_us, of_requests = requests["__at"], _entity_codes(requests.select(entities), codes)
    columns = sorted({one.column for one in aggregations.values() if one.column})
    _expect(rows, columns)
    if rows[event_time].null_count():
        rows = rows.filter(pl.col(event_time).is_not_null())
    event_us = _microseconds(rows, event_time)
    created_us = _microseconds(rows, created_time).fill_null(event_us) if created_time in rows.columns else event_us
    times = (event_us.alias("__event"), created_us.alias("__created"))
    table = rows.select(*times, *(pl.col(name).alias(f"value {name}") for name in columns))
    events = _Events(table=table, entities=_entity_codes(rows.select(entities), codes))
    return _aggregate(events, pl.DataFrame({"__entity": of_requests.resolved(), "__at": at_us}), aggregations)


@dataclass(frozen=True, slots=True, kw_only=True)
class _EntityCodes:
    """Codes of the entities of rows, `_NO_CODE` for none: `keys`, or those of a table that begins with a key."""

    keys: NDArray[Any]
    table: Codes
    smallest: int | None

    def resolved(self) -> Codes:
        if self.smallest is None:
            return self.keys
        found = np.empty(len(self.keys), dtype=np.uint32)
        for block in _blocks(len(self.keys)):
            found[block] = self.block(block)
        return found

    def block(self, block: slice) -> Codes:
        if self.smallest is None:
            return self.keys[block]
        key = self.keys[block].astype(np.int64)
        inside = np.clip(key, self.smallest, self.smallest + len(self.table) - 1)
        return np.where(inside == key, self.table[inside - self.smallest], np.uint32(_NO_CODE))


def _entity_codes(rows: pl.DataFrame, codes: pl.DataFrame) -> _EntityCodes:
    """Return the codes of the entities of rows; whole numbers that lie close are looked up."""
    name, *others = rows.columns
    known = codes[name]
    if not (others or rows[name].null_count() or known.is_empty()) and known.dtype == rows[name].dtype in _WHOLE:
        smallest, largest = int(known.min()), int(known.max())  # type: ignore[arg-type]
        if largest - smallest < _MAX_TABLE:
            table = np.full(largest - smallest + 1, _NO_CODE, dtype=np.uint32)
            table[_ints(known) - smallest] = codes["__entity"].to_numpy()
            return _EntityCodes(keys=rows[name].to_numpy(), table=table, smallest=smallest)
    found = rows.join(codes, on=rows.columns, how="left", maintain_order="left")["__entity"]
    return _EntityCodes(keys=found.fill_null(_NO_CODE).to_numpy(), table=np.empty(0, np.uint32), smallest=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Events:
    """Events: `table` has their times and values, `entities` the codes of their entities."""

    table: pl.DataFrame
    entities: _EntityCodes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The events that some request sees in a window: each by the requests [begins, ends) of all `requests`.

    `row` has their rows in the table, none if these are all rows. Then some ranges may be empty. `counts` is None where
    the events of each request were not counted.
    """

    requests: int
    table: pl.DataFrame
    row: Codes
    begins: Codes
    ends: Codes
    counts: Ints | None = None

    def of(self, keep: Bools) -> _Seen:
        """Return the events for which `keep` is true."""
        if keep.all():
            return self
        row = self.row[keep] if len(self.row) else np.flatnonzero(keep).astype(np.uint32)
        begins, ends = self.begins[keep], self.ends[keep]
        return _Seen(requests=self.requests, table=self.table, row=row, begins=begins, ends=ends)

    def take(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the values of the events, of those of all rows of the table."""
        return values[self.row] if len(self.row) else values[: len(self.begins)]

    @property
    def ranges(self) -> tuple[Codes, Codes, Codes]:
        """The rows of the events, and the requests of each, as the kernel reads them."""
        return self.row, self.begins, self.ends


def _aggregate(events: _Events, requests: pl.DataFrame, aggregations: Mapping[str, Aggregation]) -> pl.DataFrame:
    """Aggregate events at requests, both in any order: null at a request without entity or time."""
    valid = (requests["__entity"] != _NO_CODE) & requests["__at"].is_not_null()
    known = requests.filter(valid)
    times = _RequestTimes(known)
    position = np.full(len(requests), len(known), dtype=np.int64)
    position[valid.to_numpy()] = times.positions(known)
    found: dict[str, pl.Series] = {}
    for window_s in {one.window_s for one in aggregations.values()}:
        seen = times.seen(events, window_us=window_s * 1_000_000)
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
        of_entity = np.bincount(who)
        self._starts = np.concatenate([[0], np.cumsum(of_entity)])
        span_bits = np.frexp(of_entity.astype(np.float64))[1].astype(np.int64) + 2
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
        who, at_us = requests["__entity"].to_numpy(), requests["__at"].to_numpy()
        if kernel:
            first = np.empty(len(requests), dtype=np.uint32)
            kernel.first(
                self._shift, self._base, self._starts, self._table, self._since_us, _aligned(who), _aligned(at_us),
                first, self._end_us, self._first_us,
            )  # fmt: skip
            return first.astype(np.int64)
        found = np.empty(len(requests), dtype=np.int64)
        for block in _blocks(len(requests)):
            found[block] = self._first_from(who[block].astype(np.int64), at_us[block], self._first_us)
        return found

    def seen(self, events: _Events, *, window_us: int) -> _Seen:
        """Return the events that some request sees in a window of this length."""
        event_us, created_us = (events.table[name].to_numpy() for name in ("__event", "__created"))
        if kernel:
            return self._seen_by_kernel(events, _aligned(event_us), _aligned(created_us), window_us)
        row, begins, ends = (np.empty(len(event_us), dtype=np.uint32) for _ in range(3))
        size = 0
        for block in _blocks(len(event_us)):
            codes = events.entities.block(block)
            known = np.flatnonzero(codes != _NO_CODE)
            who, event, created = codes[known].astype(np.int64), event_us[block][known], created_us[block][known]
            begin = self._first_from(who, np.maximum(event, created), self._first_us)
            end = self._first_from(who, event, self._first_us - window_us)
            keep = np.flatnonzero(begin < end)
            part = slice(size, size + len(keep))
            row[part], begins[part], ends[part] = known[keep] + block.start, begin.take(keep), end.take(keep)
            size = part.stop
        all_rows = size == len(row)
        return _Seen(
            requests=len(self._since_us), table=events.table, row=row[: 0 if all_rows else size], begins=begins[:size],
            ends=ends[:size],
        )  # fmt: skip

    def _seen_by_kernel(self, events: _Events, event_us: Ints, created_us: Ints, window_us: int) -> _Seen:
        """Return what `seen` returns; if requests see half of the rows or more, all rows."""
        assert kernel
        begins, ends = (np.empty(len(event_us), dtype=np.uint32) for _ in range(2))
        steps, codes = np.zeros(len(self._since_us) + 1, dtype=np.int64), events.entities
        if codes.smallest is not None and codes.keys.dtype != np.int64:
            codes = _EntityCodes(keys=codes.resolved(), table=codes.table, smallest=None)
        size = kernel.ranges(
            self._shift, self._base, self._starts, self._table, self._since_us, _aligned(codes.keys), event_us,
            created_us, begins, ends, steps, codes.table, self._end_us, self._first_us, self._first_us - window_us,
            codes.smallest,
        )  # fmt: skip
        counts, none = np.cumsum(steps[:-1]), np.empty(0, dtype=np.uint32)
        seen = _Seen(
            requests=len(self._since_us), table=events.table, row=none, begins=begins, ends=ends, counts=counts
        )
        return seen if 2 * size >= len(begins) else replace(seen.of(begins < ends), counts=counts)

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
    missing = values.is_nan() if values.dtype.is_float() else values.is_null()
    if values.null_count() or (values.dtype.is_float() and missing.any()):
        seen = seen.of(~seen.take(missing.fill_null(True).to_numpy()))
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
        return _gather(values, _extreme(seen, seen.take(np.arange(len(values))), np.maximum), empty)
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
    if seen.counts is not None:
        return seen.counts
    return _count(seen.begins, seen.ends, seen.requests)


def _count(begins: NDArray[Any], ends: NDArray[Any], requests: int) -> Ints:
    """Count the ranges [begins, ends) that each request is in."""
    if kernel and begins.dtype == ends.dtype == np.uint32:
        steps = np.zeros(requests + 1, dtype=np.int64)
        kernel.counts(begins, ends, steps)
        return np.cumsum(steps[:-1])
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
        floats = _float_sums(seen, column.cast(pl.Float64).to_numpy(), int(counts.max(initial=0)))
        return _gather(pl.Series(floats if one.function == "sum" else floats / divisor), positions, counts == 0)
    numbers = column.cast(pl.UInt64 if dtype == pl.UInt64 else pl.Int64).fill_null(0).to_numpy()
    if kernel:
        steps = np.zeros((seen.requests + 1, 2), dtype=np.int64)
        kernel.add_integers(_aligned(numbers), *seen.ranges, steps, dtype == pl.UInt64)
        high, low = np.cumsum(steps[:-1], axis=0).T
    else:
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
    """Add floats of all rows, rounded once or twice: `max_count` is the largest number of events of a request."""
    largest = kernel.largest(_aligned(values)) if kernel else _largest(values)
    if largest == np.inf:
        up, down = (_counts(seen.of(seen.take(values == infinity))) for infinity in (np.inf, -np.inf))
        finite = _float_sums(seen, np.where(np.isinf(values), 0.0, values), max_count)
        return np.select([(up > 0) & (down > 0), up > 0, down > 0], [np.nan, np.inf, -np.inf], finite)
    if largest >= 2.0**_EXPONENT:
        huge = np.abs(values) >= 2.0**_EXPONENT
        with np.errstate(over="ignore"):
            large = _float_sums(seen, np.where(huge, values / _SCALE, 0.0), max_count) * _SCALE
        return large + _float_sums(seen, np.where(huge, 0.0, values), max_count)
    total, error = np.zeros(seen.requests), np.zeros(seen.requests)
    (_add_by_kernel if kernel else _add_by_arrays)(seen, values, largest, max_count, total, error)
    return total + error


def _largest(values: Floats) -> float:
    return max(float(np.fmax.reduce(values, initial=0.0)), -float(np.fmin.reduce(values, initial=0.0)))


def _rounder(exponent: int, max_count: int) -> float:
    """Return a number that, added to floats below 2**exponent and subtracted again, leaves the first digits of them.

    As these parts are multiples of one power of two, `max_count` of them can be added and subtracted exactly in any
    order. Zero leaves all digits, where the floats have no more.
    """
    exponent += (2 * max_count + 1).bit_length()
    return 0.0 if exponent - 53 <= _SMALLEST else 1.5 * 2.0 ** (exponent - 1)


def _exponent_of_rest(largest: float, rounder: float) -> int:
    """Return the exponent for what a rounder left: mostly the bound that follows from it, as for what comes next."""
    exponent, bound = int(np.frexp(largest)[1]), int(np.frexp(rounder)[1]) - 53
    return bound if exponent == bound - 1 else exponent


def _add_by_arrays(seen: _Seen, values: Floats, largest: float, max_count: int, total: Floats, error: Floats) -> None:
    """Add the sums of the first digits of floats, then of the rest of them, until nothing is left."""
    rest, rounder = seen.take(values).copy(), np.inf
    while largest:
        rounder = _rounder(_exponent_of_rest(largest, rounder), max_count)

        def split(values: Floats, rounder: float = rounder) -> Floats:
            part: Floats = (values + rounder) - rounder
            values -= part
            return part

        sums = _sums(seen, rest, split)
        together = total + sums
        of_sums = together - total
        error += (total - (together - of_sums)) + (sums - of_sums)
        total[:] = together
        largest = _largest(rest)


def _add_by_kernel(seen: _Seen, values: Floats, largest: float, max_count: int, total: Floats, error: Floats) -> None:
    """Add what `_add_by_arrays` adds: two parts in one pass, if the first leaves a rest of the expected size."""
    assert kernel
    values, rounders = _aligned(values), [np.inf]
    while largest:
        rounders.append(_rounder(_exponent_of_rest(largest, rounders[-1]), max_count))
        expected = int(np.frexp(rounders[-1])[1]) - 53
        both = np.array([*rounders[1:], _rounder(expected, max_count)])
        steps = np.zeros((seen.requests + 1, 2))
        largest, rest = kernel.add_floats(values, *seen.ranges, both, steps)
        are_two = largest > 0 and _exponent_of_rest(largest, rounders[-1]) == expected
        kernel.add_totals(steps, total, error, 2 if are_two else 1)
        if are_two:
            rounders.append(float(both[-1]))
            largest = rest


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


def _aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array as the kernel reads it: of the same array, if its items come one after another."""
    return np.require(values, requirements=("C", "A"))


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
