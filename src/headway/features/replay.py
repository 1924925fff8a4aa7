"""Value replay: what each logged request should have seen at its time, compared value by value with what it saw.

A distribution can stay the same while every value is wrong. Here each logged value is recomputed from the source of its
view, at the time of its request. Values that differ are explained, each once, by the cause that explains most of them:
an order of columns, a time zone, another version, a unit, another entity, a null, a value from the future, or a stale
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.core.value_replay import KINDS, SkewExample, SkewKind, ValueSkew, ViewReplay
from headway.core.variant import Signature
from headway.data.matrix import matrix
from headway.features.compute import (
    CREATED_TIME,
    EVENT_TIME,
    TIME,
    compute_rows,
    event_rows,
    seen_us,
    typed_column,
)
from headway.features.historical import compute_on_demand, join_view, with_defaults
from headway.features.online_rows import NEVER_US
from headway.features.windows import aggregate

N_EXAMPLES = 3
_RELATIVE = 1e-9
_UNIT_ROWS, _UNIT_VALUES = 8, 3
_SHIFTED_ROWS = 400
_ALMOST_ALL = 0.9
_LATE_EVENTS = 64
"""Events of an entity that an online store may lack at a time, for a window to be recognised as lagging."""
_FEW_EVENTS = 5
"""Of so many newest events, any may have come late."""
_JOINED_EVENTS = 1_000_000
"""Events of windows that are compared at once."""
_HOUR_US = 3_600_000_000
_ZONES_US = [hours * _HOUR_US // 2 for hours in range(-28, 29) if hours]  # every half hour, up to 14 hours
_CLOCKS = {24.0: 1.0, 1440.0: 60.0, 86400.0: 3600.0}
"""Length of a day in hours, minutes and seconds, and an hour in each."""


class _Cause(NamedTuple):
    """A possible cause, and the values (n, d) that it explains."""

    kind: SkewKind
    detail: str
    explained: Bools


def replay_view(
    logged: pl.DataFrame,
    view: FeatureView,
    source: pl.DataFrame,
    *,
    signature: Signature,
    max_lag_s: float = 0.0,
    versions: Sequence[FeatureView] = (),
) -> ViewReplay:
    """Compare the values of a view that requests saw with those that they should have seen.

    Parameters
    ----------
    logged : DataFrame of n rows
        The rows of the log: `request`, `at_us`, at which windows are aggregated too, the entities of the view (strings
        of integers are integers), its features as the model read them (numbers, and categories by rank), and `seen_us`,
        the event time of the values; negative or null if none were found.
    view : FeatureView
        The version that the release used.
    source : DataFrame
        The table of its source.
    signature : Signature
        Inputs of the model.
    max_lag_s : float
        Time for which a value may be known before the online store has it, seconds.
    versions : sequence of FeatureView
        Other versions of the view, to recognise their values.

    Returns
    -------
    ViewReplay
        Without skews if every value is as it should be; floats may differ by 1e-9 of their size, for sums of windows.

    Raises
    ------
    DataError
        If a column is missing, or the source cannot be read as the view says.
    """
    missing = {"request", "at_us", "seen_us", *view.entities, *view.feature_names} - set(logged.columns)
    if missing:
        raise DataError(f"the log lacks {', '.join(sorted(missing))}", where=f"view '{view.reference}'")
    if logged.is_empty():
        return ViewReplay(view=view.reference, n_rows=0)
    compared = _Compared(logged, view, source, signature, max_lag_s)
    causes = (cause for find in _FINDERS for cause in find(compared, versions))
    skews = [*_explain(compared, causes)] if compared.wrong.any() else []
    return ViewReplay(
        view=view.reference, n_rows=len(logged), n_lagging=int(compared.lagging.sum()), skews=tuple(skews)
    )


def replay_on_demand(
    logged: pl.DataFrame,
    view: FeatureView,
    rows: pl.DataFrame,
    inputs: Sequence[pl.Series],
    *,
    signature: Signature,
    may_defer: bool = False,
    versions: Sequence[FeatureView] = (),
) -> tuple[ViewReplay, list[pl.Series]]:
    """Compute the features of a view without a source again from what was logged, and compare value by value.

    Parameters
    ----------
    logged : DataFrame of n rows
        `request`, `at_us`, and the features of the view that the model reads, as it read them.
    view : FeatureView
        The version that the release used.
    rows : DataFrame of n rows
        What the requests brought.
    inputs : sequence of Series
        Features of other views as the requests saw them.
    signature : Signature
        Inputs of the model.
    may_defer : bool
        Whether a missing value may not have been computed, since the first model of a cascade decided the row.
    versions : sequence of FeatureView
        Other versions of the view, to recognise their values.

    Returns
    -------
    ViewReplay
        A feature of another view that was wrong is a skew of that view alone.
    list of Series
        The features that were computed, for later views.
    """
    computed = compute_on_demand(view, rows, inputs)
    compared = _Computed(logged, view, signature, computed)
    if may_defer:
        compared.wrong &= ~np.isnan(compared.values)
    if not compared.wrong.any():
        return ViewReplay(view=view.reference, n_rows=len(logged)), computed
    causes = [cause for find in _FINDERS_OF_VALUES for cause in find(compared, ())]
    for other in versions:
        if other.is_on_demand:
            values = compared.as_read(compute_on_demand(replace(other, columns=()), rows, inputs))
            explained = compared.wrong & _equal(compared.values, values) & ~np.isnan(values)
            causes += [_Cause("version", f"values of {other.reference}", explained)] if explained.any() else []
    skews = tuple(_explain(compared, causes))
    return ViewReplay(view=view.reference, n_rows=len(logged), skews=skews), computed


class _ComparedValues:
    """Logged and expected values, (n, d), and where they differ."""

    view: FeatureView
    names: list[str]
    at_us: Ints
    requests: Ints
    values: Floats
    expected: Floats
    wrong: Bools


class _Computed(_ComparedValues):
    """Features on demand."""

    def __init__(
        self, logged: pl.DataFrame, view: FeatureView, signature: Signature, computed: Sequence[pl.Series]
    ) -> None:
        self.view = view
        self.names = [name for name in signature.names if name in view.feature_names]
        fields = {field.name: field for field in signature.inputs}
        self._signature = Signature(inputs=tuple(fields[name] for name in self.names))
        self.at_us, self.requests = (logged[name].to_numpy().astype(np.int64) for name in ("at_us", "request"))
        self.values = _logged_values(logged, self.names)
        self.expected = self.as_read(computed)
        self.wrong = ~_equal(self.values, self.expected)

    def as_read(self, computed: Sequence[pl.Series]) -> Floats:
        """Return computed features as the model reads them, (n, d), with NaN for a feature that is not among them."""
        if not self.names:  # other features on demand read it
            return np.empty((len(self.at_us), 0))
        columns = {column.name: column for column in with_defaults(self.view, computed)}
        missing = pl.Series([None], dtype=pl.Float64).new_from_index(0, len(self.at_us))
        return matrix(pl.DataFrame([columns.get(name, missing).alias(name) for name in self.names]), self._signature)


class _Compared(_ComparedValues):
    """Values of a view with a source."""

    def __init__(
        self, logged: pl.DataFrame, view: FeatureView, source: pl.DataFrame, signature: Signature, max_lag_s: float
    ) -> None:
        self.view, self.source = view, source
        self.names = [name for name in signature.names if name in view.feature_names]
        self.windows = {
            feature.name: feature.aggregation
            for feature in view.features
            if feature.aggregation is not None and feature.name in self.names
        }
        self.of_window = np.array([name in self.windows for name in self.names])
        fields = {field.name: field for field in signature.inputs}
        self._signature = Signature(inputs=tuple(fields[name] for name in self.names))
        kinds = compute_rows(view, source).schema
        self.rows = logged.select(pl.col(name).cast(kinds[name], strict=False) for name in view.entities)
        self.at_us, self.requests = (logged[name].to_numpy().astype(np.int64) for name in ("at_us", "request"))
        self.seen_us: Ints = logged["seen_us"].fill_null(NEVER_US).to_numpy().astype(np.int64)
        self.values = _logged_values(logged, self.names)
        self.expected, self.newest_us = self.recompute(self.at_us)
        self.wrong = ~_equal(self.values, self.expected)
        self.lagging: Bools = self._within_lag(max_lag_s) if max_lag_s else np.zeros(len(logged), dtype=np.bool_)
        self.wrong &= ~self.lagging[:, None]

    def recompute(
        self, at_us: Ints, *, rows: pl.DataFrame | None = None, view: FeatureView | None = None
    ) -> tuple[Floats, Ints]:
        """Return the values (n, d) at other times, of another version or for other rows, and their event times (n,)."""
        view = view or self.view
        rows = self.rows if rows is None else rows
        at = pl.Series("at", at_us).cast(pl.Datetime("us", "UTC"))
        columns, seen = join_view(rows, at, view, self.source)
        filled = pl.DataFrame([self._filled(column, view) for column in columns])
        filled = filled.with_columns(
            pl.lit(None, pl.Float64).alias(name) for name in set(self.names) - {*filled.columns}
        )
        return matrix(filled, self._signature), seen.to_physical().fill_null(NEVER_US).to_numpy().astype(np.int64)

    def _filled(self, column: pl.Series, view: FeatureView) -> pl.Series:
        """Return a feature as a server passes it on: a missing value is the default, if the view says so."""
        feature = next(feature for feature in view.features if feature.name == column.name)
        return column.fill_null(feature.default) if feature.when_missing == "default" else column

    def history(self) -> pl.DataFrame:
        """Return the rows of the view as the model reads them, and when each begins and ends to hold."""
        rows = compute_rows(self.view, self.source)
        names = [name for name in self.names if name in rows.columns]
        inputs = tuple(field for field in self._signature.inputs if field.name in names)
        values = matrix(rows.select(self._filled(rows[name], self.view) for name in names), Signature(inputs=inputs))
        begins = pl.max_horizontal(EVENT_TIME, CREATED_TIME).to_physical().fill_null(0)
        table = rows.select(
            *self.view.entities, event_us=pl.col(EVENT_TIME).to_physical().fill_null(0), begins_us=begins
        )
        table = table.hstack(pl.DataFrame(values, schema=names, orient="row"))
        order = table.sort("event_us", maintain_order=True)
        return order.with_columns(ends_us=pl.col("event_us").shift(-1).over(self.view.entities).fill_null(2**62))

    def windows_until(self, rows: Ints, until_us: Ints) -> Floats:
        """Return the windows (rows, windows) of rows, over the events up to other event times than theirs."""
        found = np.full((len(rows), len(self.windows)), np.nan)
        for part, events, at in self._events_of(rows, until_us):
            found[part] = self._of_windows(aggregate(events, at, self.windows, entities=["__row"]))
        return found

    def _events_of(self, rows: Ints, until_us: Ints) -> Iterator[tuple[slice, pl.DataFrame, pl.DataFrame]]:
        """Yield parts of rows, with the events that each may see up to a time, in order, and the times of the rows.

        The number of the row stands in place of the entity. `__seen` is the time since when an event was known; it has
        no created time, so that all are seen.
        """
        if not self.windows or not len(rows):
            return
        events = event_rows(self.view, self.source).sort(EVENT_TIME, CREATED_TIME, maintain_order=True)
        largest = events.group_by(*self.view.entities).len()["len"].max() if len(events) else 1
        step = max(1, _JOINED_EVENTS // largest) if isinstance(largest, int) else len(rows)
        for start in range(0, len(rows), step):
            part = slice(start, start + step)
            wanted = self.rows[rows[part]].with_columns(
                pl.Series("__row", rows[part]),
                pl.Series("__at", self.at_us[rows[part]]).cast(TIME),
                pl.Series("__until", until_us[part]).cast(TIME),
            )
            joined = events.join(wanted, on=self.view.entities, how="inner", maintain_order="left")
            joined = joined.with_columns(seen_us().cast(TIME).alias("__seen")).filter(
                pl.col(EVENT_TIME) <= pl.col("__until"), pl.col("__seen") <= pl.max_horizontal("__at", "__until")
            )
            joined = joined.with_columns(pl.min_horizontal(EVENT_TIME, "__at").alias(EVENT_TIME)).drop(CREATED_TIME)
            yield part, joined, wanted.select("__row", pl.col("__at").alias(EVENT_TIME))

    def _of_windows(self, answers: pl.DataFrame) -> Floats:
        """Return answers as the model reads them, (n, windows)."""
        features = [feature for feature in self.view.features if feature.name in self.windows]
        columns = [
            self._filled(typed_column(answers[one.name], one.dtype, where=self.view.reference), self.view)
            for one in features
        ]
        fields = {field.name: field for field in self._signature.inputs}
        inputs = tuple(fields[name] for name in self.names if name in self.windows)
        return matrix(pl.DataFrame(columns), Signature(inputs=inputs))

    def _within_lag(self, max_lag_s: float) -> Bools:
        """Return which rows have values of an earlier time, since when nothing was known for longer than the lag."""
        lagging: Bools = self._rows_within_lag(max_lag_s) | ~self.wrong[:, ~self.of_window].any(axis=1)
        windows = np.flatnonzero(self.wrong[:, self.of_window].any(axis=1))
        if len(windows):
            lagging[windows] &= self._windows_within_lag(windows, max_lag_s)
        return lagging & self.wrong.any(axis=1)

    def _windows_within_lag(self, rows: Ints, max_lag_s: float) -> Bools:
        """Return which rows have windows that lack only events which were known for no longer than the lag.

        These are the newest ones of a store that lags, or any few of them: late events arrive in any order.
        """
        found = np.zeros(len(rows), dtype=np.bool_)
        values = self.values[rows][:, self.of_window]
        for part, events, at in self._events_of(rows, self.at_us[rows]):
            since = pl.col("__at") - pl.duration(microseconds=round(max_lag_s * 1e6))
            newest = pl.col("__seen").rank("ordinal", descending=True).over("__row").alias("__rank")
            ranked = events.with_columns(newest, (pl.col("__seen") > since).alias("__recent"))
            recent = at.join(ranked.group_by("__row").agg(pl.col("__recent").sum()), on="__row", how="left")
            counts = recent["__recent"].fill_null(0).to_numpy()
            equal = found[part]
            for lacking in _lacking(int(counts.max(initial=0))):
                due = np.flatnonzero(~equal & (counts >= lacking[-1]))
                if len(due):
                    some = ranked.filter(~pl.col("__rank").is_in(lacking))
                    answers = self._of_windows(aggregate(some, at[due], self.windows, entities=["__row"]))
                    equal[due] = _equal(values[part][due], answers).all(axis=1)
        return found

    def _rows_within_lag(self, max_lag_s: float) -> Bools:
        """Return which rows have the values of an earlier row, whose successor was known for no longer than the lag."""
        plain = ~self.of_window
        recent = (self.seen_us >= 0) & (self.seen_us < self.newest_us) & self.wrong[:, plain].any(axis=1)
        recent &= self._known_since_us() > self.at_us - round(max_lag_s * 1e6)
        before = self.recompute(np.where(recent, self.seen_us, self.at_us))[0]
        return recent & _equal(self.values, before)[:, plain].all(axis=1)

    def _known_since_us(self) -> Ints:
        """Return since when the expected values were known, (n,)."""
        source = self.view.source
        if source is None or not source.created_time:
            return self.newest_us
        rows = compute_rows(self.view, self.source)
        known = rows.group_by(*self.view.entities, EVENT_TIME).agg(pl.col(CREATED_TIME).min())
        newest = self.rows.with_columns(pl.Series(EVENT_TIME, self.newest_us).cast(pl.Datetime("us", "UTC")))
        found = newest.join(known, on=[*self.view.entities, EVENT_TIME], how="left", maintain_order="left")
        return found[CREATED_TIME].to_physical().fill_null(NEVER_US).to_numpy().astype(np.int64)


def _lacking(n_events: int) -> Iterator[list[int]]:
    """Yield which of the newest events may be lacking, by ranks from 1: all up to one, or any of the first few."""
    yield from (list(range(1, number + 1)) for number in range(1, min(n_events, _LATE_EVENTS) + 1))
    few = range(1, min(n_events, _FEW_EVENTS) + 1)
    for number in range(1, len(few)):
        yield from (list(chosen) for chosen in combinations(few, number))


def _logged_values(logged: pl.DataFrame, names: Sequence[str]) -> Floats:
    values = logged.select(pl.col(names).cast(pl.Float64).fill_null(np.nan)).to_numpy()
    return values.reshape(len(logged), len(names))  # also without names: other features read them


def _explain(compared: _ComparedValues, found: Iterable[_Cause]) -> Iterator[ValueSkew]:
    """Yield the skews: again and again the cause that explains most of the values that are left."""
    remaining = compared.wrong.copy()
    causes = list(found)
    order = list(KINDS)
    while remaining.any():
        counts = [int((cause.explained & remaining).sum()) for cause in causes]
        largest = max(counts, default=0)
        if not largest:
            yield _skew(compared, _Cause("unexplained", "", remaining), remaining)
            return
        # A cause that explains almost as much counts as much: a chance agreement must not hide the real one.
        near = [cause for cause, count in zip(causes, counts, strict=True) if count >= _ALMOST_ALL * largest]
        best = min(near, key=lambda cause: order.index(cause.kind))
        yield _skew(compared, best, best.explained & remaining)
        remaining &= ~best.explained


def _skew(compared: _ComparedValues, cause: _Cause, cells: Bools) -> ValueSkew:
    rows = np.flatnonzero(cells.any(axis=1))
    rows = rows[np.argsort(compared.at_us[rows], kind="stable")]
    shown = [(int(row), int(np.argmax(cells[row]))) for row in rows[:N_EXAMPLES]]
    return ValueSkew(
        view=compared.view.reference,
        kind=cause.kind,
        features=tuple(compared.names[column] for column in np.flatnonzero(cells.any(axis=0))),
        n_rows=len(rows),
        since_us=int(compared.at_us[rows[0]]),
        until_us=int(compared.at_us[rows[-1]]),
        detail=cause.detail,
        examples=tuple(
            SkewExample(
                request=int(compared.requests[row]),
                at_us=int(compared.at_us[row]),
                feature=compared.names[column],
                logged=_number(compared.values[row, column]),
                expected=_number(compared.expected[row, column]),
            )
            for row, column in shown
        ),
    )


def _order(compared: _ComparedValues, _: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find features that have the values of one another."""
    wrong, names = compared.wrong, compared.names
    takes: dict[int, int] = {}
    for column in np.flatnonzero(wrong.any(axis=0)).tolist():
        rows = wrong[:, column]
        shares = [
            0.0 if other == column else _equal(compared.values[rows, column], compared.expected[rows, other]).mean()
            for other in range(len(names))
        ]
        best = int(np.argmax(shares))
        if shares[best] >= _ALMOST_ALL and len(np.unique(compared.values[rows, column])) > 1:
            takes[column] = best
    if len(takes) < 2 or len(set(takes.values())) < 2:
        return
    explained = np.zeros_like(wrong)
    for column, other in takes.items():
        explained[:, column] = wrong[:, column] & _equal(compared.values[:, column], compared.expected[:, other])
    detail = ", ".join(f"{names[column]} has the values of {names[other]}" for column, other in takes.items())
    yield _Cause("order", detail, explained)


def _clock(compared: _ComparedValues, _: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find times of day that are a number of hours away, around midnight."""
    for column, name in enumerate(compared.names):
        rows = compared.wrong[:, column]
        logged, expected = compared.values[rows, column], compared.expected[rows, column]
        if len(logged) < _UNIT_ROWS or np.isnan(logged).any() or np.isnan(expected).any():
            continue
        for day, hour in _CLOCKS.items():
            if min(logged.min(), expected.min()) < 0 or max(logged.max(), expected.max()) >= day:
                continue
            shift = (logged - expected) % day
            offsets, counts = np.unique(shift, return_counts=True)
            few = offsets[np.argsort(-counts)[:2]]  # two in a year with summer time
            if (few * 4 % hour != 0).any() or counts[np.argsort(-counts)[:2]].sum() < _ALMOST_ALL * len(shift):
                continue
            if len(np.unique(logged - expected)) == 1 and day != max(_CLOCKS):
                continue  # no time passed midnight: a constant difference is rather one of units
            explained = np.zeros_like(compared.wrong)
            explained[rows, column] = np.isin(shift, few)
            hours = " or ".join(
                f"{(offset / hour if offset <= day / 2 else (offset - day) / hour):+g} h" for offset in few
            )
            yield _Cause("time zone", f"{name} is {hours} away", explained)
            break


def _zone(compared: _Compared, _: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find values of a time that is the same number of hours away for every request."""
    rows = np.flatnonzero(compared.wrong.any(axis=1))
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), _SHIFTED_ROWS)).astype(np.int64)]
    part = compared.rows[sample]
    wrong = compared.wrong[sample]
    shifted = compared.at_us[sample] + np.array(_ZONES_US)[:, None]  # one join for all shifts
    by_zone = compared.recompute(shifted.ravel(), rows=pl.concat([part] * len(_ZONES_US)))[0]
    hits = _equal(compared.values[sample], by_zone.reshape(len(_ZONES_US), *wrong.shape)) & wrong
    shares = hits.sum(axis=(1, 2)) / wrong.sum()
    largest = float(shares.max())
    best = min((zone for zone, share in zip(_ZONES_US, shares, strict=True) if share >= largest - 1e-9), key=abs)
    if largest < _ALMOST_ALL or abs(best) < 2 * _HOUR_US or len(sample) < _UNIT_ROWS:
        return  # an hour or less is rather a late update
    values = compared.recompute(compared.at_us + best)[0]
    yield _Cause("time zone", f"values of {best / _HOUR_US:+g} h", compared.wrong & _equal(compared.values, values))


def _version(compared: _Compared, versions: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find the values of another version of the view."""
    for other in versions:
        if other.entities != compared.view.entities or other.source is None:
            continue
        values = compared.recompute(compared.at_us, view=other)[0]
        explained = compared.wrong & _equal(compared.values, values) & ~np.isnan(values)
        if explained.any():
            yield _Cause("version", f"values of {other.reference}", explained)


def _unit(compared: _ComparedValues, _: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find features that are a linear function of what they should be."""
    for column, name in enumerate(compared.names):
        both = compared.wrong[:, column] & np.isfinite(compared.values[:, column] + compared.expected[:, column])
        logged, expected = compared.values[both, column], compared.expected[both, column]
        if both.sum() < _UNIT_ROWS or len(np.unique(expected)) < _UNIT_VALUES:
            continue
        factor, offset = _line(expected, logged)
        fits = np.abs(logged - (factor * expected + offset)) <= 1e-6 * max(1.0, float(np.abs(logged).max()))
        if fits.mean() < _ALMOST_ALL or abs(factor) < 1e-12:
            continue
        explained = np.zeros_like(compared.wrong)
        explained[both, column] = fits
        yield _Cause(
            "unit",
            f"{name} is {factor:.6g} times the value{f', {_signed(offset)}' if abs(offset) > 1e-9 else ''}",
            explained,
        )


def _signed(offset: float) -> str:
    return f"{'plus' if offset > 0 else 'minus'} {abs(offset):.6g}"


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Return factor and offset of the line through most points: the median of slopes between far points."""
    order = np.argsort(x, kind="stable")
    half = len(x) // 2
    first, second = order[:half], order[-half:]
    apart = x[second] > x[first]
    factor = float(np.median((y[second] - y[first])[apart] / (x[second] - x[first])[apart])) if apart.any() else 0.0
    offset = float(np.median(y - factor * x))
    return factor, 0.0 if abs(offset) < 1e-9 * max(1.0, float(np.abs(y).max())) else offset


def _null(compared: _ComparedValues, _: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find values that are missing and should not be, and the reverse."""
    logged, expected = np.isnan(compared.values), np.isnan(compared.expected)
    if (compared.wrong & logged).any():
        yield _Cause("null", "missing, but known", compared.wrong & logged)
    if (compared.wrong & expected).any():
        yield _Cause("null", "a value where none is known", compared.wrong & expected)


def _rows_of_history(compared: _Compared, _: Sequence[FeatureView]) -> Iterator[_Cause]:
    """Find the values in other rows of the view: of another entity, or of a later or an earlier time."""
    names = [name for name in compared.names if name not in compared.windows]
    rows = np.flatnonzero(compared.wrong.any(axis=1))
    if not names:
        yield from _at_seen_time(compared)
        return
    history = compared.history()
    entities = list(compared.view.entities)
    requested = compared.rows[rows].select(pl.col(name).alias(f"of.{name}") for name in entities)
    requested = requested.with_columns(
        pl.Series("row", rows),
        pl.Series("at_us", compared.at_us[rows]),
        pl.Series("seen_us", compared.seen_us[rows]),
        pl.Series("newest_us", compared.newest_us[rows]),
    ).hstack(
        pl.DataFrame(
            compared.values[rows][:, [compared.names.index(name) for name in names]], schema=names, orient="row"
        )
    )
    known = [name for name in names if not requested[name].is_nan().all()]
    if not known:
        return
    matches = requested.fill_nan(None).join(history.fill_nan(None), on=names, nulls_equal=True)
    own = pl.all_horizontal(pl.col(f"of.{name}").cast(pl.String) == pl.col(name).cast(pl.String) for name in entities)
    later = (pl.col("event_us") > pl.col("at_us")) | (pl.col("begins_us") > pl.col("at_us"))
    earlier = (pl.col("event_us") < pl.col("newest_us")) & ~later
    holds = (pl.col("begins_us") <= pl.col("at_us")) & (pl.col("ends_us") > pl.col("at_us"))
    holds &= (pl.col("seen_us") < 0) | (pl.col("event_us") == pl.col("seen_us"))
    is_own = own if entities else pl.lit(True)
    for kind, condition in (("future", is_own & later), ("stale", is_own & earlier), ("entity", ~is_own & holds)):
        found = matches.filter(condition)["row"].unique().to_numpy()
        if len(found):
            explained = np.zeros_like(compared.wrong)
            explained[found] = compared.wrong[found]
            yield _Cause(kind, _about(kind, compared, found), explained)  # type: ignore[arg-type]
    yield from _at_seen_time(compared)


def _at_seen_time(compared: _Compared) -> Iterator[_Cause]:
    """Find the values that were right at the event time in the log."""
    has_time = compared.seen_us >= 0
    until_us = np.where(has_time, compared.seen_us, compared.at_us)
    values = compared.recompute(until_us)[0]
    some = np.flatnonzero(has_time & compared.wrong[:, compared.of_window].any(axis=1))
    values[np.ix_(some, compared.of_window)] = compared.windows_until(some, until_us[some])
    explained = compared.wrong & _equal(compared.values, values)
    is_future = compared.seen_us > compared.at_us
    for kind, rows in (("future", is_future), ("stale", has_time & (compared.seen_us < compared.newest_us))):
        if (explained & rows[:, None]).any():
            found = np.flatnonzero((explained & rows[:, None]).any(axis=1))
            yield _Cause(kind, _about(kind, compared, found), explained & rows[:, None])  # type: ignore[arg-type]


def _about(kind: str, compared: _Compared, rows: Ints) -> str:
    """Return how far the event times in the log are from those that were due."""
    away = (compared.seen_us[rows] - compared.newest_us[rows])[compared.seen_us[rows] >= 0] / 1e6
    if kind == "entity" or not len(away):
        return ""
    return f"median {_duration(abs(float(np.median(away))))} {'later' if np.median(away) > 0 else 'older'}"


def _duration(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"


def _equal(values: Floats, others: Floats) -> Bools:
    """Return where values are equal, both are missing, or they differ by rounding alone."""
    with np.errstate(invalid="ignore"):
        near = np.abs(values - others) <= _RELATIVE * np.maximum(np.abs(values), np.abs(others))
    return np.asarray((values == others) | near | (np.isnan(values) & np.isnan(others)))


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


_FINDERS: tuple[Callable[[_Compared, Sequence[FeatureView]], Iterator[_Cause]], ...] = (
    _order,
    _clock,
    _zone,
    _version,
    _unit,
    _null,
    _rows_of_history,
)
_FINDERS_OF_VALUES: tuple[Callable[[_ComparedValues, Sequence[FeatureView]], Iterator[_Cause]], ...] = (
    _order,
    _clock,
    _unit,
    _null,
)
