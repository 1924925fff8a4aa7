"""Push rows of the source of a feature view to the online store as they happen; each bad row is refused by its line.

A pushed row has the columns of the source that the view reads. Its features are computed as those of the source are,
and windows see it as an event, which counts once however often it is pushed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import polars as pl

from headway.core.contracts import OnlineStore
from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.core.record import Record
from headway.features.compute import EVENT_TIME, compute_rows, event_rows, needed_columns, time_us
from headway.features.materialize import encoded_rows, expect_rows
from headway.features.materialize_windows import events_by_entity
from headway.features.window_state import merge_events

BATCH_ROWS = 1_000
MAX_LINE_BYTES = 1 << 20
FUTURE_S = 300.0
"""How far a clock may be ahead: a row of the future would hide every other one until then."""


class RefusedLine(Record, frozen=True, kw_only=True):
    """A line that was not stored: its number, from 1, what is wrong, and the line itself."""

    number: int
    reason: str
    line: str


class PushedRows(Record, frozen=True, kw_only=True):
    """Rows that were read, and how many of them were stored; the others were older than the stored ones, or refused.

    Of a view with windows, the rows of entities that had no new event were stored before.
    """

    view: str
    table: str
    rows: int
    stored: int
    refused: int


class _Line:
    """A line with its number, and its row once it was decoded."""

    __slots__ = ("number", "row", "text")

    def __init__(self, number: int, text: bytes, row: Mapping[str, Any]) -> None:
        self.number = number
        self.text = text
        self.row = row


def push_lines(
    store: OnlineStore,
    view: FeatureView,
    lines: Iterable[bytes],
    *,
    refuse: Callable[[RefusedLine], object],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> PushedRows:
    """Store rows of JSON lines, a batch at a time; empty lines are left out.

    Parameters
    ----------
    store : OnlineStore
        The store.
    view : FeatureView
        The view, with its version and a source.
    lines : iterable of bytes
        One object per line, with a value for each column of the source that the view reads, and no other.
    refuse : callable
        Called with each line that is not stored.
    now : callable
        The time; a row that is more than five minutes later is refused.

    Raises
    ------
    DataError
        If the view has no rows of its own: one without a source, or with a query.
    StoreUnavailable
        If the store does not answer; lines before were stored, and may be pushed again.
    """
    expect_rows(view)
    columns = needed_columns(view)
    if columns is None:
        raise DataError(f"view '{view.reference}' has a query, which reads its whole source", hint="materialize it")
    rows = stored = refused = 0

    def count(line: RefusedLine) -> None:
        nonlocal refused
        refused += 1
        refuse(line)

    numbered = _numbered(lines)
    while part := list(islice(numbered, BATCH_ROWS)):
        rows += len(part)
        decoded = [line for number, text in part if (line := _decoded(number, text, view, columns, count))]
        stored += _store(store, view, decoded, now(), count) if decoded else 0
    return PushedRows(view=view.reference, table=view.online_table, rows=rows, stored=stored, refused=refused)


def lines_of(frame: pl.DataFrame) -> Iterator[bytes]:
    """Yield the rows of a table as JSON lines."""
    for row in frame.iter_rows(named=True):
        yield msgspec.json.encode(row)


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    return ((number, text) for number, text in enumerate(lines, 1) if text.strip())


def _decoded(
    number: int,
    text: bytes,
    view: FeatureView,
    columns: frozenset[str],
    refuse: Callable[[RefusedLine], None],
) -> _Line | None:
    """Return a line whose object has the columns of the view; refuse it otherwise."""
    try:
        if len(text) > MAX_LINE_BYTES:
            raise DataError(f"a line has at most {MAX_LINE_BYTES:,} bytes, not {len(text):,}")
        row = msgspec.json.decode(text)
        if not isinstance(row, dict):
            raise DataError("a line is not an object")
        if missing := sorted(columns - row.keys()):
            raise DataError(f"no value of {', '.join(missing)}")
        if unknown := sorted(row.keys() - columns):
            raise DataError(f"the view does not read {', '.join(unknown)}")
        if none := [name for name in (*view.entities, *_times(view)) if row[name] in (None, "")]:
            raise DataError(f"{none[0]} is missing")
        if nested := [name for name, value in row.items() if isinstance(value, dict | list)]:
            raise DataError(f"{nested[0]} is not one value")
        if large := [name for name, value in row.items() if type(value) is int and abs(value) >= 2**63]:
            raise DataError(f"{large[0]} is beyond 64 bits")
        return _Line(number, text, row)
    except (DataError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        refuse(_refusal(number, text, error))
        return None


def _store(
    store: OnlineStore, view: FeatureView, lines: list[_Line], now: datetime, refuse: Callable[[RefusedLine], None]
) -> int:
    """Store lines in their order, and return how many; of a part with a bad row, both halves are tried."""
    try:
        return _store_all(store, view, lines, now)
    except (DataError, pl.exceptions.PolarsError, TypeError, OverflowError) as error:
        if len(lines) == 1:
            refuse(_refusal(lines[0].number, lines[0].text, error))
            return 0
        middle = math.ceil(len(lines) / 2)
        halves = lines[:middle], lines[middle:]
        return sum(_store(store, view, half, now, refuse) for half in halves)


def _store_all(store: OnlineStore, view: FeatureView, lines: list[_Line], now: datetime) -> int:
    table = pl.DataFrame([_column(name, [line.row[name] for line in lines]) for name in lines[0].row])
    rows = compute_rows(view, table)
    if (rows[EVENT_TIME].cast(pl.Int64) > (now.timestamp() + FUTURE_S) * 1e6).any():
        raise DataError("its time is in the future")
    if len(rows) != len(lines):
        raise DataError("an entity or a time is missing")
    stored = 0
    if view.has_windows:
        events = events_by_entity(store, view, event_rows(view, table), are_numbered=False)
        changed = merge_events(store, view, events, now_us=time_us(now))
        stored = sum(len(events[entity]) for entity in changed)
    if view.has_rows:
        written = store.write(view.online_table, *encoded_rows(store, view, rows))
        stored = stored if view.has_windows else written
    return stored


def _column(name: str, values: list[Any]) -> pl.Series:
    """Return a column of values of one type; integers may be among floats. No value is changed to fit the others."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        return pl.Series(name, values, dtype=pl.Float64, strict=False)
    if len(kinds) > 1:
        raise DataError(f"{name} has values of different types")
    return pl.Series(name, values, strict=True)


def _times(view: FeatureView) -> list[str]:
    names = (view.source.event_time, view.source.created_time) if view.source else ()
    return [name for name in names if name]


def _refusal(number: int, text: bytes, error: Exception) -> RefusedLine:
    reason = error.what if isinstance(error, DataError) else str(error).partition("\n")[0]
    return RefusedLine(number=number, reason=reason, line=text.decode("utf-8", "replace").rstrip("\r\n"))
