"""State of an entity for windowed aggregations in an online store: exact at any later time, merged event by event.

The state is a few byte strings, each under a key. Up to `MAX_INLINE` events are kept as they are in one string, the
head. Beyond, the events lie in segments of one tile of time each, 1/1,024 of the longest window, and the head holds a
summary of each tile: a window is the summaries of its whole tiles, and the events of the two tiles at its edges. All
keys follow from the entity and the time of the request, so that one read fetches them. Nothing here imports a dataframe
library.
"""

from __future__ import annotations

import hashlib
import math
import struct
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.core.contracts import OnlineStore
from headway.core.errors import DataError, StoreError
from headway.core.feature_view import Aggregation, FeatureView
from headway.features.online_rows import NEVER_US

MAX_INLINE = 512
"""Events of an entity that are kept in its head; with more it has segments."""
MAX_TILE_EVENTS = 16_384
"""Largest number of events of an entity in one tile."""
MAX_DISTINCT = 8_192
"""Different values of a column that the head of an entity with segments remembers, the newest."""
MAX_COLUMNS = 64
BATCH_KEYS = 500
"""Keys that are merged in one step, unless one entity has more."""
MAX_TRIES = 50
"""Times that a merge is tried again because another writer was faster."""
_TILES = 1_024
_HEAD = struct.Struct("<4s8sBxxxII")
_DISTINCT = struct.Struct("<Iq")
_FORM = b"HWS2"
_SLACK_US = 60_000_000
"""Time for which events are kept longer than the longest window: the clock of a server may be behind."""
_NEVER = -(2**63)
Number = int | float | None
Events = NDArray[np.void]


@dataclass(slots=True, kw_only=True)
class _Head:
    """What the head of an entity holds; `newest` and `forgotten` by the column of a distinct count.

    `newest` is the time of the newest event of each value, `forgotten` that of the newest value that was left out.
    """

    events: Events
    tiles: Events
    has_segments: bool = False
    newest: dict[str, dict[int | float, int]] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)


class WindowPlan:
    """The windowed aggregations of a view, and the form of the state of an entity for them.

    Parameters
    ----------
    aggregations : sequence of Aggregation
        All of the view, in its order: the form of the state depends on them.
    integers : collection of str
        The columns of integers of 64 bits; the others are floats. A string is stored as its code.
    answered : collection of int, optional
        The indices of the aggregations to answer; all by default.
    """

    def __init__(
        self,
        aggregations: Sequence[Aggregation],
        *,
        integers: Collection[str] = (),
        answered: Collection[int] | None = None,
    ) -> None:
        self.aggregations = tuple(
            one for index, one in enumerate(aggregations) if answered is None or index in answered
        )
        self.columns = tuple(sorted({one.column for one in aggregations if one.column}))
        if not self.aggregations or len(self.columns) > MAX_COLUMNS:
            raise DataError(f"a view has windows over 1 to {MAX_COLUMNS} columns, not {len(self.columns)}")
        self.integers = frozenset(integers) & frozenset(self.columns)
        self.longest_us = max(one.window_s for one in aggregations) * 1_000_000
        self.tile_us = -(-self.longest_us // _TILES)
        self._windows = tuple(sorted({one.window_s * 1_000_000 for one in self.aggregations}))
        self._distinct = tuple(sorted({one.column for one in aggregations if one.function == "distinct"}))
        types = {name: "<i8" if name in self.integers else "<f8" for name in self.columns}
        times = [("event", "<i8"), ("created", "<i8"), ("id", "<u8"), ("missing", "<u8")]
        self._event = np.dtype([*times, *((f"value {name}", types[name]) for name in self.columns)])
        parts = ("high", "low", "min", "max", "last")
        summaries = [(f"{part} {name}", types[name]) for name in self.columns for part in parts]
        counts = [
            ("tile", "<i8"),
            ("newest", "<i8"),
            ("rows", "<i8"),
            *((f"count {name}", "<i8") for name in self.columns),
        ]
        self._tile = np.dtype([*counts, *summaries])
        form = repr((self._event.descr, self.tile_us, self._distinct)).encode()
        self._digest = hashlib.sha256(form).digest()[:8]

    def events(
        self,
        event_us: Sequence[int] | Ints,
        values: Mapping[str, Sequence[Number] | NDArray[Any]],
        *,
        created_us: Sequence[int] | Ints | None = None,
        ids: Sequence[int] | Ints | None = None,
    ) -> Events:
        """Pack events of one entity.

        Two events are the same if all of event time, created time, id and values are: it counts once, however often it
        is pushed. Give an id (0 to 2**64 - 1) where equal events may be different ones, such as the number of a row
        among equal rows of a source.

        Parameters
        ----------
        event_us, created_us : sequence of int
            Microseconds since 1970; created with the event by default.
        values : mapping of str to sequence
            By column; None and NaN are missing values.
        """
        rows = np.zeros(len(event_us), dtype=self._event)
        rows["event"] = event_us
        rows["created"] = event_us if created_us is None else created_us
        if ids is not None:
            rows["id"] = ids
        for bit, name in enumerate(self.columns):
            if name not in values or len(values[name]) != len(rows):
                raise DataError(f"the events have no value of '{name}' each")
            column = [None if value is None or value != value else value for value in _plain(values[name])]
            if name in self.integers and any(isinstance(value, float) and not value.is_integer() for value in column):
                raise DataError(
                    f"'{name}' is an integer by the features of the view, and has a value that is not whole"
                )
            try:
                rows[f"value {name}"] = [0 if value is None else value for value in column]
            except (OverflowError, TypeError, ValueError) as error:
                raise DataError(f"a value of '{name}' is not a number of 64 bits: {error}") from error
            rows["missing"] |= np.array([value is None for value in column], dtype=np.uint64) << np.uint64(bit)
        return rows

    @classmethod
    def of_view(cls, view: FeatureView) -> WindowPlan:
        """Return the plan of the windowed features of a view, of which those that a model reads are answered, in order.

        A column is one of integers if the sum, minimum, maximum or last of it is not declared a `number`: strings are
        codes, booleans 0 and 1, times microseconds.
        """
        windows = [(feature.dtype, feature.aggregation) for feature in view.features if feature.aggregation]
        of_values = ("sum", "min", "max", "last")
        integers = {one.column for dtype, one in windows if one.function in of_values and dtype != "number"}
        names = [feature.name for feature in view.features if feature.aggregation]
        answered = [index for index, name in enumerate(names) if name in view.feature_names]
        return cls([one for _, one in windows], integers=integers, answered=answered)

    def keys_at(self, entity: str, at_us: int) -> tuple[str, ...]:
        """Return the keys to read for an answer at a time: the head, and the tiles at the edges of the windows."""
        tiles = dict.fromkeys((at_us // self.tile_us, *((at_us - one) // self.tile_us for one in self._windows)))
        return (head_key(entity), *(_segment_key(entity, tile) for tile in tiles))

    def keys_to_merge(self, entity: str, events: Events) -> tuple[str, ...]:
        """Return the keys to read before these events are merged."""
        tiles = np.unique(events["event"] // self.tile_us).tolist()
        return (head_key(entity), *(_segment_key(entity, tile) for tile in tiles))

    def keys_of(self, entity: str, head: bytes) -> tuple[str, ...]:
        """Return all keys of an entity, such as to erase it."""
        tiles = self._read_head(head).tiles["tile"].tolist()
        return (head_key(entity), *(_segment_key(entity, tile) for tile in tiles))

    def keys_after(self, entity: str, head: bytes, after_us: int) -> tuple[str, ...]:
        """Return the keys with the events of an entity that are later than a time."""
        tiles = self._read_head(head).tiles
        later = tiles["tile"][tiles["newest"] > after_us].tolist()
        return (head_key(entity), *(_segment_key(entity, tile) for tile in later))

    def events_after(self, entity: str, stored: Mapping[str, bytes | None], after_us: int) -> Events:
        """Return the events of an entity that are later than a time; `stored` is what `keys_after` names."""
        head = head_key(entity)
        parts = [self._read_events(content) for key, content in stored.items() if key != head]
        events = np.concatenate([self._read_head(stored.get(head)).events, *parts])
        return events[events["event"] > after_us]

    def merge(
        self, entity: str, stored: Mapping[str, bytes | None], events: Events, *, now_us: int
    ) -> dict[str, bytes | None]:
        """Merge events, of any order and lateness, and return what to write: None deletes a key. It is one transaction.

        Events older than the longest window before `now_us`, and a minute, are dropped. Events later than `now_us` are
        kept until their time has come.

        Parameters
        ----------
        stored : mapping of str to bytes or None
            What the store has under `keys_to_merge`.

        Raises
        ------
        DataError
            If more events lie in one tile, or after `now_us`, than an entity may have; nothing is to be written.
        StoreError
            If the stored bytes are damaged, or of another definition.
        """
        head = self._read_head(stored.get(head_key(entity)))
        oldest_us = now_us - self.longest_us - _SLACK_US
        joined = _joined(head.events, events)
        joined = joined[joined["event"] > oldest_us]
        if not head.has_segments and len(joined) <= MAX_INLINE:
            head.events = joined
            return {head_key(entity): self._write_head(head)}
        head.has_segments = True
        expired = head.tiles["tile"] < (oldest_us + 1) // self.tile_us
        changes: dict[str, bytes | None] = {_segment_key(entity, tile): None for tile in head.tiles["tile"][expired]}
        tiles = {int(tile["tile"]): tile for tile in head.tiles[~expired]}
        due = joined["event"] <= now_us
        for tile in np.unique(joined["event"][due] // self.tile_us).tolist():
            key = _segment_key(entity, tile)
            if tile in tiles and key not in stored:
                continue  # of an event that waited in the head: it goes on to wait until its segment is read
            now = due & (joined["event"] // self.tile_us == tile)
            segment = _joined(self._read_events(stored.get(key)), joined[now])
            if len(segment) > MAX_TILE_EVENTS:
                raise _too_many(entity, f"{self.tile_us / 1e6:.0f} s", MAX_TILE_EVENTS)
            changes[key], tiles[tile] = segment.tobytes(), self._summary(tile, segment)
            self._remember(head, joined[now], oldest_us)
            joined, due = joined[~now], due[~now]
        if len(joined) > MAX_INLINE:
            raise _too_many(entity, "the future", MAX_INLINE)
        head.events = joined
        head.tiles = np.array([tiles[tile] for tile in sorted(tiles)], dtype=self._tile)
        return {**changes, head_key(entity): self._write_head(head)}

    def answer(self, entity: str, stored: Mapping[str, bytes | None], at_us: int) -> list[Number]:
        """Aggregate at a time, not earlier than the last merge, in the order of the aggregations.

        Every merged event with an event time in (t - window, t] is seen. None is a missing value: of a window without
        values, and of a distinct count that exceeds what the state remembers.

        Parameters
        ----------
        stored : mapping of str to bytes or None
            What the store has under `keys_at`.
        """
        return self._answer(entity, stored, at_us)[0]

    def _answer(self, entity: str, stored: Mapping[str, bytes | None], at_us: int) -> tuple[list[Number], int]:
        """Return the answers, and the time of the newest event in the longest window, NEVER_US if there is none."""
        head = self._read_head(stored.get(head_key(entity)))
        if not head.has_segments:
            return self._answer_inline(head.events, at_us)
        newest_us = NEVER_US
        spans: dict[int, tuple[Events, Events]] = {}
        for window_us in self._windows:
            since_us = at_us - window_us
            parts = [_between(head.events, since_us, at_us)]
            first, last = since_us // self.tile_us, at_us // self.tile_us
            begin, end = np.searchsorted(head.tiles["tile"], [first + 1, last]).tolist()
            for tile in dict.fromkeys((first, last)):
                parts.append(_between(self._segment(entity, stored, head, tile), since_us, at_us))
            parts[1:] = [part for part in parts[1:] if len(part)]
            edges = parts[0] if len(parts) == 1 else _sorted(np.concatenate(parts))
            tiles = head.tiles[begin:end]
            spans[window_us] = (edges, tiles)
            newest_us = max([newest_us, *edges["event"][-1:].tolist(), *tiles["newest"][-1:].tolist()])
        return [self._value(one, head, *spans[one.window_s * 1_000_000], at_us) for one in self.aggregations], newest_us

    def _answer_inline(self, events: Events, at_us: int) -> tuple[list[Number], int]:
        """Return the answers over a few events in the order of time: lists are faster than arrays of this size."""
        times: list[int] = events["event"].tolist()
        end = bisect_right(times, at_us)
        begins = {one: bisect_right(times, at_us - one, 0, end) for one in self._windows}
        missing: list[int] = events["missing"].tolist()
        has_missing = any(missing)
        columns: dict[str, list[Any]] = {}
        found: list[Number] = []
        for one in self.aggregations:
            begin = begins[one.window_s * 1_000_000]
            if not one.column:
                found.append(end - begin)
                continue
            if one.column not in columns:
                columns[one.column] = events[f"value {one.column}"].tolist()
            values = columns[one.column][begin:end]
            if has_missing:
                bit = 1 << self.columns.index(one.column)
                values = [value for value, bits in zip(values, missing[begin:end], strict=True) if not bits & bit]
            found.append(self._of_values(one, values))
        return found, times[end - 1] if end > min(begins.values()) else NEVER_US

    def _of_values(self, one: Aggregation, values: list[Any]) -> Number:
        if one.function == "count":
            return len(values)
        if one.function == "distinct":
            return len(set(values))
        if not values:
            return None
        if one.function in ("sum", "mean"):
            total = sum(values) if one.column in self.integers else _exact_sum(values)
            return total if one.function == "sum" else total / len(values)
        newest: int | float = values[-1]
        return newest if one.function == "last" else min(values) if one.function == "min" else max(values)

    def answers(self, entities: Sequence[str], states: Sequence[bytes | None], at_us: int) -> tuple[Floats, Ints]:
        """Return the answers of several entities, (n, aggregations), and the times of their newest events, (n,).

        NaN is a missing value, and -1 the time of an entity without events in its longest window.

        Parameters
        ----------
        states : sequence of bytes or None
            What the store has under the keys of all entities, in the order of `keys_at` of each.
        """
        found = np.full((len(entities), len(self.aggregations)), np.nan)
        times = np.full(len(entities), NEVER_US, dtype=np.int64)
        start = 0
        for row, entity in enumerate(entities):
            keys = self.keys_at(entity, at_us)
            stored = dict(zip(keys, states[start : start + len(keys)], strict=True))
            start += len(keys)
            values, times[row] = self._answer(entity, stored, at_us)
            found[row] = [np.nan if value is None else value for value in values]
        return found, times

    def _value(self, one: Aggregation, head: _Head, edges: Events, tiles: Events, at_us: int) -> Number:
        if not one.column:
            return len(edges) + (int(tiles["rows"].sum()) if len(tiles) else 0)
        values, times = self._present(edges, one.column)
        if one.function == "distinct":
            since_us = at_us - one.window_s * 1_000_000
            known = head.newest.get(one.column, {})
            if head.forgotten.get(one.column, _NEVER) > since_us:
                return None
            return len(set(values).union(value for value, time_us in known.items() if since_us < time_us <= at_us))
        if len(tiles):
            tiles = tiles[tiles[f"count {one.column}"] > 0]
        count = len(values) + (int(tiles[f"count {one.column}"].sum()) if len(tiles) else 0)
        if one.function == "count" or not count:
            return count if one.function == "count" else None
        if one.function in ("sum", "mean"):
            total = self._total(one.column, values, tiles)
            return total if one.function == "sum" else total / count
        of_tiles = tiles[f"{one.function} {one.column}"] if len(tiles) else tiles
        if one.function == "last":
            # of one tile, an event of the edges waited in the head: it is newer than those that were summarised
            after = values and (not len(tiles) or times[-1] // self.tile_us >= tiles["tile"][-1])
            newest: int | float = values[-1] if after else of_tiles[-1].item()
            return newest
        found: list[int | float] = [*values, *of_tiles.tolist()]
        return min(found) if one.function == "min" else max(found)

    def _total(self, column: str, values: list[Any], tiles: Events) -> int | float:
        high, low = (tiles[f"{part} {column}"].tolist() if len(tiles) else [] for part in ("high", "low"))
        if column in self.integers:
            return int(sum(values) + (sum(high) << 32) + sum(low))
        return _exact_sum([*values, *high, *low])

    def _present(self, events: Events, column: str) -> tuple[list[Any], Ints]:
        """Return the values of a column that are not missing, in order, and their event times."""
        missing = events["missing"]
        if missing.any():
            events = events[(missing >> np.uint64(self.columns.index(column))) & np.uint64(1) == 0]
        return events[f"value {column}"].tolist(), events["event"]

    def _summary(self, tile: int, events: Events) -> Any:
        row = np.zeros(1, dtype=self._tile)[0]
        row["tile"], row["newest"], row["rows"] = tile, events["event"][-1], len(events)
        for name in self.columns:
            values, _ = self._present(events, name)
            row[f"count {name}"] = len(values)
            if not values:
                continue
            if name in self.integers:
                total = sum(values)
                row[f"high {name}"], row[f"low {name}"] = total >> 32, total & 0xFFFFFFFF
            else:
                total = _exact_sum(values)
                row[f"high {name}"] = total
                row[f"low {name}"] = _exact_sum([*values, -total]) if math.isfinite(total) else 0.0
            row[f"min {name}"], row[f"max {name}"], row[f"last {name}"] = min(values), max(values), values[-1]
        return row

    def _remember(self, head: _Head, events: Events, oldest_us: int) -> None:
        for name in self._distinct:
            values, times = self._present(events, name)
            newest = head.newest.get(name, {})
            for value, time_us in zip(values, times.tolist(), strict=True):
                newest[value] = max(time_us, newest.get(value, _NEVER))
            retained = sorted(((at, value) for value, at in newest.items() if at > oldest_us), reverse=True)
            if len(retained) > MAX_DISTINCT:
                head.forgotten[name] = max(retained[MAX_DISTINCT][0], head.forgotten.get(name, _NEVER))
            head.newest[name] = {value: at for at, value in retained[:MAX_DISTINCT]}

    def _segment(self, entity: str, stored: Mapping[str, bytes | None], head: _Head, tile: int) -> Events:
        content = stored.get(_segment_key(entity, tile))
        if content is None and np.any(head.tiles["tile"] == tile):
            raise StoreError(f"the events of tile {tile} are not in the online store", where=entity)
        return self._read_events(content)

    def _write_head(self, head: _Head) -> bytes:
        parts = [_HEAD.pack(_FORM, self._digest, head.has_segments, len(head.events), len(head.tiles))]
        parts += [head.events.tobytes(), head.tiles.tobytes()]
        for name in self._distinct if head.has_segments else ():
            newest = head.newest.get(name, {})
            parts.append(_DISTINCT.pack(len(newest), head.forgotten.get(name, _NEVER)))
            dtype = "<i8" if name in self.integers else "<f8"
            parts.append(np.array(list(newest), dtype=dtype).tobytes())
            parts.append(np.array(list(newest.values()), dtype="<i8").tobytes())
        return b"".join(parts)

    def _read_head(self, content: bytes | None) -> _Head:
        if content is None:
            return _Head(events=np.zeros(0, dtype=self._event), tiles=np.zeros(0, dtype=self._tile))
        try:
            form, digest, has_segments, events, tiles = _HEAD.unpack_from(content)
            if (form, digest) != (_FORM, self._digest):
                raise StoreError("the state in the online store is of another definition of the view")
            start = _HEAD.size
            head = _Head(
                events=np.frombuffer(content, self._event, events, start),
                tiles=np.frombuffer(content, self._tile, tiles, start + events * self._event.itemsize),
                has_segments=bool(has_segments),
            )
            start += events * self._event.itemsize + tiles * self._tile.itemsize
            for name in self._distinct if has_segments else ():
                count, head.forgotten[name] = _DISTINCT.unpack_from(content, start)
                start += _DISTINCT.size
                values = np.frombuffer(content, "<i8" if name in self.integers else "<f8", count, start)
                times = np.frombuffer(content, "<i8", count, start + 8 * count)
                head.newest[name] = dict(zip(values.tolist(), times.tolist(), strict=True))
                start += 16 * count
        except (ValueError, struct.error) as error:
            raise StoreError(f"the state in the online store is damaged: {error}") from error
        if start != len(content):
            raise StoreError(f"the state in the online store is damaged: {len(content)} bytes, not {start}")
        return head

    def _read_events(self, content: bytes | None) -> Events:
        try:
            return np.frombuffer(content or b"", self._event)
        except ValueError as error:
            raise StoreError(f"the events in the online store are damaged: {error}") from error


def merge_events(
    store: OnlineStore,
    view: FeatureView,
    events: Mapping[str, Events],
    *,
    now_us: int,
    staged: bool = False,
    progress: bytes | None = None,
) -> list[str]:
    """Merge events by the key of their entity into the states of a view; a repeated call changes nothing.

    Each entity changes in one step. Unless `staged`, they are merged into the staged table of a running
    materialisation too, which would lose them.

    Parameters
    ----------
    progress : bytes, optional
        How far the writer is when all are merged; saved with the last of them.

    Returns
    -------
    list of str
        The entities whose state changed.

    Raises
    ------
    StoreError
        If other writers change an entity again and again.
    DataError
        If an entity has more events than it may have; other entities may be merged.
    """
    plan, table, changed = WindowPlan.of_view(view), view.states_table, list[str]()
    parts = list(_batches(plan, events))
    if not staged:
        store.replace_states(table, {}, {})
    for number, part in enumerate(parts, 1):
        saved = progress if number == len(parts) else None
        changed += _merge_part(store, view, plan, part, events, now_us=now_us, staged=staged, progress=saved)
    if not parts and progress is not None:
        store.replace_states(table, {}, {}, staged=staged, progress=progress)
    if parts and not staged and store.progress(table, staged=True):
        merge_events(store, view, events, now_us=now_us, staged=True)
    return changed


def _merge_part(
    store: OnlineStore,
    view: FeatureView,
    plan: WindowPlan,
    part: Sequence[tuple[str, tuple[str, ...]]],
    events: Mapping[str, Events],
    *,
    now_us: int,
    staged: bool,
    progress: bytes | None,
) -> list[str]:
    """Merge the events of entities, given with their keys to read, in one step."""
    table, keys = view.states_table, [key for _, wanted in part for key in wanted]
    before: Mapping[str, bytes | None] = dict.fromkeys(keys)
    if not staged:
        before = dict(zip(keys, store.read_with_states([], [(table, keys)])[1][0], strict=True))
    for _ in range(MAX_TRIES):
        after, changed = dict[str, bytes | None](), list[str]()
        for entity, wanted in part:
            changes = plan.merge(entity, {key: before[key] for key in wanted}, events[entity], now_us=now_us)
            if any(key not in before or before[key] != content for key, content in changes.items()):
                after |= changes
                changed.append(entity)
        if not changed and progress is None:
            return []
        stored = store.replace_states(table, before, after, staged=staged, progress=progress)
        if stored is None:
            return changed
        before = stored
    of = ", ".join(repr(entity) for entity, _ in part[:3])
    raise StoreError(f"other writers changed an entity {MAX_TRIES} times", where=f"entity {of} of {table}")


def _batches(plan: WindowPlan, events: Mapping[str, Events]) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    """Yield entities with their keys to read, a few hundred keys at once."""
    part: list[tuple[str, tuple[str, ...]]] = []
    n_keys = 0
    for entity, rows in events.items():
        keys = plan.keys_to_merge(entity, rows)
        if part and n_keys + len(keys) > BATCH_KEYS:
            yield part
            part, n_keys = [], 0
        part.append((entity, keys))
        n_keys += len(keys)
    if part:
        yield part


def head_key(entity: str) -> str:
    """Return the key of the head of an entity; no segment of any entity has it."""
    return f"\x1f{entity}"


def _segment_key(entity: str, tile: int) -> str:
    return f"{tile}\x1f{entity}"


def _too_many(entity: str, span: str, limit: int) -> DataError:
    hint = "leave out events that no feature needs, or aggregate them before they are pushed"
    return DataError(f"more than {limit:,} events in {span}", where=f"entity {entity!r}", hint=hint)


def _plain(values: Sequence[Number] | NDArray[Any]) -> Iterable[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


def _sorted(events: Events) -> Events:
    return events[np.lexsort((events["created"], events["event"]))]


def _joined(stored: Events, new: Events) -> Events:
    """Join events without those that are stored, by event and created time; equal times in the order of arrival."""
    both = np.concatenate([stored, new])
    size = both.dtype.itemsize
    content = both.tobytes()
    first = {content[index * size : (index + 1) * size]: index for index in reversed(range(len(both)))}
    return _sorted(both[sorted(first.values())])


def _between(events: Events, since_us: int, until_us: int) -> Events:
    """Return the events with times in (since, until]; they are in the order of time."""
    begin, end = np.searchsorted(events["event"], [since_us, until_us], side="right")
    return events[begin:end]


def _exact_sum(values: list[float]) -> float:
    """Add without error but one rounding at the end; infinite beyond the floats, NaN for infinities of both signs."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        if not all(map(math.isfinite, values)):
            return sum(value for value in values if not math.isfinite(value))
    total = sum(map(Fraction, values), Fraction())
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf
