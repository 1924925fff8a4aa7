"""Online features of a release: which columns a request brings, and which are looked up or computed in the server.

A request brings the entities of feature views (`origin`), as strings or integers, next to the model's own columns. All
views of a batch are read in one call of the online store: rows, and the states of windows, which are aggregated at the
time of the call. A value that is missing, or older than the view allows, is handled as its feature declares: null, a
default, or the row is refused; all are counted. While the store is away, every value is missing, and the store is tried
again after a moment.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.errors import Refused, RowRefused, StoreError, StoreUnavailable
from headway.core.feature_view import (
    Feature,
    FeatureType,
    FeatureView,
)
from headway.core.texts import entity_codes, text_codes
from headway.core.variant import Field, Signature
from headway.features.expressions import column_kinds, columns_of, compile_expression, type_of
from headway.features.online_rows import NEVER_US, entity_key
from headway.features.window_state import WindowPlan
from headway.serving.protocol.tensors import BYTES, UNSEEN_CATEGORY, Codes, string_codes
from headway.storage.addresses import no_table_error, views_without_table

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headway.core.contracts import Bools, Floats, Ints, OnlineStore

    Column = NDArray[np.generic]
    Counts = dict[tuple[str, str, str], int]
    Compute = Callable[[Mapping[str, Column]], Column]

RETRY_S = 1.0
"""Time for which a store that did not answer is not asked, seconds: requests are answered without it at once."""
ROWS, MISSING, STALE, LOOKUPS, LOOKUP_NS, AWAY = "rows", "missing", "stale", "lookups", "lookup_ns", "away"
"""What is counted: by view and feature, by view, and for all views of a release."""
WINDOWS = "windows"
"""Name of the time at which windows were aggregated, after those of the views."""
_log = logging.getLogger(__name__)
T = TypeVar("T")
V = TypeVar("V")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRows:
    """Rows of a batch as the model reads them, float64 [n, d], and what was looked up for them.

    `seen` has the event times of each view, int64 [n] in microseconds since 1970: of the row, or of the newest event if
    only windows are read. If windows are read, the time at which they were aggregated follows; then the bits of the
    float64 `logged_inputs`. `texts` are the first of `logged_texts`, without the texts that the model reads. `refused`
    has the error of each row that a feature refuses.
    """

    rows: Floats
    seen: tuple[Ints, ...] = ()
    texts: tuple[list[str | None], ...] = ()
    refused: Mapping[int, RowRefused] = field(default_factory=dict)


class OnlineFeatures:
    """Completes the rows of requests with features of views.

    Attributes
    ----------
    names : tuple of str
        The views with a table in the online store.
    seen_names : tuple of str
        What `FeatureRows.seen` has a column for.
    versions : tuple of int
        Their versions, 0 for a view of an earlier headway.
    columns : frozenset of str
        The columns of the model that views bring.
    request : Signature
        What a request brings itself: without views, the whole signature of the model.
    texts : tuple of str
        Columns of the request that are read as strings: entities, and what features of the request need.
    read_strings : tuple of str
        Looked-up strings that features of the request are computed from.
    logged_inputs : tuple of str
        Numbers that features of the request are computed from, and that the model does not read itself.
    keyed : str
        The only entity, for which the key of a request stands too; empty if there are several.
    has_windows : bool
        Whether the model reads windows.
    logged_texts : tuple of str
        Columns whose strings the log has: `texts`, `read_strings`, and the texts that the model reads.
    is_needed : bool
        Whether requests are to be completed at all.
    blocks : bool
        Whether a look-up may wait for another machine.
    counts : deque
        What was counted of each batch, by kind, view and feature: to be taken by who adds it up.
    """

    def __init__(
        self,
        signature: Signature,
        views: Sequence[FeatureView],
        store: OnlineStore | None,
        *,
        texts: Sequence[str] = (),
    ) -> None:
        """Take the online store, and expect the tables of the views in it; `texts` are read as strings besides.

        Raises
        ------
        Refused
            If a view has a column that the model does not read, or that another view has too, or a table of another
            width.
        StoreError
            If a table is missing.
        """
        names = list(signature.names)
        _require_valid_columns(views, names)
        stored = [view for view in views if not view.is_on_demand]
        on_demand = [feature for view in views if view.is_on_demand for feature in _read_features(view)]
        self.names = tuple(view.name for view in stored)
        self.versions = tuple(view.version for view in stored)
        brought = frozenset(name for view in views for name in view.feature_names)
        self.columns = brought & frozenset(names)
        self._fields = {column.name: column for column in signature.inputs}
        self._width = len(names)
        entities = list(dict.fromkeys(entity for view in stored for entity in view.entities))
        needed = _request_columns(on_demand) - brought
        kinds = {name: kind for feature in on_demand for name, kind in column_kinds(feature.expression).items()}
        categories = {name for name in needed if name in self._fields and self._fields[name].datatype == BYTES}
        self._times = frozenset(name for name in needed if kinds.get(name) == "time")
        strings = {name for name in needed if kinds.get(name) in ("text", "time")} | categories
        self.texts = tuple(dict.fromkeys([*entities, *sorted(strings - set(entities)), *texts]))
        looked_up = {feature.name: feature.dtype for view in stored for feature in _read_features(view)}
        read = {name: looked_up.get(name) for name in sorted(needed | (_request_columns(on_demand) & looked_up.keys()))}
        of_model = {column.name for column in signature.inputs if column.is_text}
        self.read_strings = tuple(
            name for name, dtype in read.items() if dtype == "string" and name not in {*self.texts, *of_model}
        )
        self.logged_inputs = tuple(
            name for name in read if name not in {*self._fields, *self.texts, *self.read_strings}
        )
        own = [column for column in signature.inputs if column.name not in self.columns]
        extra = [name for name in (*self.texts, *sorted(needed)) if name not in self._fields]
        inputs = [
            Field(name=name, datatype=BYTES if name in self.texts else "FP64")
            if name in self.texts or name not in self._fields
            else self._fields[name]
            for name in dict.fromkeys([*(column.name for column in own), *extra])
        ]
        self._text_columns = [
            index for index, column in enumerate(signature.inputs) if column.is_text and column.name not in self.texts
        ]
        self.logged_texts = (*self.texts, *self.read_strings, *(names[index] for index in self._text_columns))
        self.request = replace(signature, inputs=tuple(inputs)) if views or texts else signature
        self.keyed = entities[0] if len(entities) == 1 else ""
        self.blocks = store is not None and store.is_remote and bool(stored)
        self.is_needed = bool(views)
        self.counts: deque[Counts] = deque()
        self._positions = {name: index for index, name in enumerate(self.request.names)}
        numbers = [column.name for column in own if column.name not in self.texts]
        self._own = [names.index(name) for name in numbers], [self._positions[name] for name in numbers]
        self._is_plain = not (views or texts) or self._own[1] == list(range(len(self.request.names)))
        self._own_texts = [
            (names.index(column.name), self.texts.index(column.name), _text_reader(column))
            for column in own
            if column.name in self.texts
        ]
        self._store = store
        self._away_until = 0.0
        self._views = [
            _ViewReader(view, self._fields, names, self.texts, store, is_computed_from=bool(on_demand))
            for view in stored
        ]
        self.has_windows = any(view.plan is not None for view in self._views)
        inputs_of_log = (f"input.{name}" for name in self.logged_inputs)
        self.seen_names = (*self.names, *([WINDOWS] if self.has_windows else []), *inputs_of_log)
        self._on_demand = [
            (feature, names.index(feature.name)) for feature in on_demand if feature.name in self._fields
        ]
        types = looked_up
        types |= {name: "datetime" if name in self._times else "string" for name in self.texts}
        types |= {name: "number" for name in needed if name not in types}
        self._computed = _compiled(on_demand, types)
        if stored:
            self._require_tables(stored)

    def _require_tables(self, stored: Sequence[FeatureView]) -> None:
        if self._store is None:
            name = stored[0].name
            raise StoreError(f"view '{name}' needs an online store", hint="serve the release with headway serve")
        try:
            rows = [(view.table, ()) for view in self._views if view.has_rows]
            found, _ = self._store.read_with_states(
                rows, [(view.states_table, ()) for view in self._views if view.plan is not None]
            )
        except StoreUnavailable as error:
            _log.error("features are missing until the online store answers: %s", error)
            return
        except StoreError as error:
            absent = views_without_table(self._store, stored)
            raise (no_table_error(absent[0], error.where) if absent else error) from error
        with_rows = [reader.view for reader in self._views if reader.has_rows]
        for view, (values, _) in zip(with_rows, found, strict=True):
            expected = len(view.features or view.columns)
            if values.shape[1] != expected:
                what = f"view '{view.reference}' has {expected} columns, its table '{view.online_table}' has "
                raise Refused(f"{what}{values.shape[1]}", hint=f"headway features materialize {view.name}")

    def get_online_features(self, rows: Floats, keys: Sequence[str]) -> FeatureRows:
        """Look up and compute the features of requests.

        Parameters
        ----------
        rows : float64 [n, width of `request`]
            Rows as the requests brought them.
        keys
            Key of the request of each row.

        Returns
        -------
        FeatureRows
        """
        texts = tuple(entity_codes.texts(rows[:, self._positions[name]]) for name in self.texts)
        complete = np.empty((len(rows), self._width))
        if self._is_plain:
            complete[:, self._own[0]] = rows
        else:
            complete[:, self._own[0]] = rows[:, self._own[1]]
        counts: Counts = {}
        refused: dict[int, RowRefused] = {}
        for column, text, read in self._own_texts:
            complete[:, column] = _read_each(texts[text], read, f"column '{self.texts[text]}'", refused, float("nan"))
        columns: dict[str, Column] = {}
        seen = self._look_up(complete, texts, keys, columns, counts, refused) if self._views else ()
        if self._computed:
            self._compute(complete, rows, texts, columns, counts, refused)
            seen += tuple(_bits(columns[name]) for name in self.logged_inputs)
            texts += tuple(columns[name].tolist() for name in self.read_strings)
        self.counts.append(counts)
        return FeatureRows(rows=complete, seen=seen, texts=texts, refused=refused)

    def model_texts(self, rows: Floats) -> tuple[list[str | None], ...]:
        """Return the texts that the model reads in complete rows, column by column."""
        return tuple(text_codes.texts(rows[:, index]) for index in self._text_columns)

    def without_texts(self, rows: Floats) -> Floats:
        """Return complete rows without the numbers of texts, which mean nothing in another process."""
        if not self._text_columns:
            return rows
        found = rows.copy()
        found[:, self._text_columns] = np.nan
        return found

    def _look_up(
        self,
        complete: Floats,
        texts: Sequence[list[str | None]],
        keys: Sequence[str],
        columns: dict[str, Column],
        counts: Counts,
        refused: dict[int, RowRefused],
    ) -> tuple[Ints, ...]:
        """Fill in the features of all views; return the event times of each, and the time of the windows."""
        began, now_us = time.perf_counter_ns(), time.time_ns() // 1000
        wanted = [view.keys(texts, keys) for view in self._views]
        found = self._read(wanted, now_us, counts)
        seen = []
        for number, (view, of_view) in enumerate(zip(self._views, wanted, strict=True)):
            values, times_us = found[number] if found else view.nothing(len(complete))
            if None in of_view:
                unknown = np.array([key is None for key in of_view])
                values, times_us = np.where(unknown[:, None], np.nan, values), np.where(unknown, NEVER_US, times_us)
            counts[ROWS, view.view.name, ""] = len(complete)
            try:
                view.fill(complete, values, times_us, of_view, now_us, columns, counts, refused)
            except StoreError as error:  # the vocabulary of its strings
                self._lose(error, counts)
                values, times_us = view.nothing(len(complete))
                view.fill(complete, values, times_us, of_view, now_us, columns, counts, refused)
            seen.append(times_us)
        if self.has_windows:
            seen.append(np.full(len(complete), now_us, dtype=np.int64))
        counts[LOOKUPS, "", ""] = 1
        counts[LOOKUP_NS, "", ""] = time.perf_counter_ns() - began
        return tuple(seen)

    def _read(
        self, keys: Sequence[Sequence[str | None]], now_us: int, counts: Counts
    ) -> list[tuple[Floats, Ints]] | None:
        """Read all views in one call, and return the values and times of each; None while the store is away."""
        assert self._store is not None
        if time.monotonic() < self._away_until:
            counts[AWAY, "", ""] = 1
            return None
        try:
            found = self._read_all(self._store, keys, now_us)
        except StoreError as error:
            if not all(view.is_declared for view in self._views):
                raise  # an earlier headway declared nothing for a missing value
            self._lose(error, counts)
            return None
        if self._away_until:
            self._away_until = 0.0
            _log.warning("the online store answers again")
        return found

    def _read_all(
        self, store: OnlineStore, keys: Sequence[Sequence[str | None]], now_us: int
    ) -> list[tuple[Floats, Ints]]:
        known = [[key or "" for key in of_view] for of_view in keys]
        of_rows = [(view.table, part) for view, part in zip(self._views, known, strict=True) if view.has_rows]
        if not self.has_windows:
            return store.read(of_rows)
        entities = [
            list(dict.fromkeys(part)) if view.plan else [] for view, part in zip(self._views, known, strict=True)
        ]
        of_states = [
            (view.states_table, [key for entity in part for key in view.plan.keys_at(entity, now_us)])
            for view, part in zip(self._views, entities, strict=True)
            if view.plan
        ]
        found_rows, found_states = store.read_with_states(of_rows, of_states)
        rows, states = iter(found_rows), iter(found_states)
        found = []
        for view, part, distinct in zip(self._views, known, entities, strict=True):
            values, times_us = next(rows) if view.has_rows else view.nothing(len(part))
            found.append(
                view.with_windows(values, times_us, part, distinct, next(states), now_us)
                if view.plan
                else (values, times_us)
            )
        return found

    def _lose(self, error: StoreError, counts: Counts) -> None:
        """Note that the store did not answer, and leave it alone for a moment."""
        if not self._away_until:
            _log.error("features are missing until the online store answers: %s", error)
        self._away_until = time.monotonic() + RETRY_S
        counts[AWAY, "", ""] = 1

    def _compute(
        self,
        complete: Floats,
        rows: Floats,
        texts: Sequence[list[str | None]],
        columns: dict[str, Column],
        counts: Counts,
        refused: dict[int, RowRefused],
    ) -> None:
        """Compute the features of the request."""
        for name, values in zip(self.texts, texts, strict=True):
            if name in self._times:
                times = _read_each(values, _as_time, f"column '{name}'", refused, None)
                columns[name] = np.array(times, dtype="datetime64[us]")
            else:
                columns[name] = np.array(values, dtype=object)
        for name, position in self._positions.items():
            if name not in columns:
                columns[name] = rows[:, position]
        for feature, compute in self._computed:
            columns[feature.name] = compute(columns)
        for feature, column in self._on_demand:
            codes, what = _codes_of(self._fields[feature.name]), f"feature '{feature.name}'"
            computed = _as_floats(columns[feature.name], codes, what, refused)
            missing = np.isnan(computed) & (computed.view(np.int64) != _UNSEEN_BITS)
            if missing.any():
                counts[MISSING, "request", feature.name] = int(missing.sum())
                _refuse(feature, "request", missing, None, refused)
                computed = np.where(missing, _fill(feature, self._fields[feature.name]), computed)
            complete[:, column] = computed


def _bits(values: Column) -> Ints:
    """Return the bits of numbers as float64; times are microseconds since 1970."""
    if values.dtype.kind == "M":
        values = np.where(np.isnat(values), np.nan, values.astype(np.int64))
    return values.astype(np.float64).view(np.int64)


_UNSEEN_BITS = np.float64(UNSEEN_CATEGORY).view(np.int64)


class _ViewReader:
    """Reads the rows of one view: its keys, and where its values go."""

    def __init__(
        self,
        view: FeatureView,
        fields: Mapping[str, Field],
        names: list[str],
        texts: Sequence[str],
        store: OnlineStore | None,
        *,
        is_computed_from: bool,
    ) -> None:
        self.view = view
        self.table = view.online_table
        self.states_table = view.states_table
        self.has_rows = view.has_rows
        self.is_declared = bool(view.features)
        self._entities = [texts.index(entity) for entity in view.entities]
        features = view.features or tuple(Feature(name=name) for name in view.columns)
        self._width = len(features)
        read = [(index, feature) for index, feature in enumerate(features) if feature.name in view.feature_names]
        self._features = [feature for _, feature in read]
        self.plan = WindowPlan.of_view(view) if view.has_windows else None
        self._windows = [index for index, feature in read if feature.aggregation is not None]
        self._in_rows = np.array([feature.aggregation is None for feature in self._features])
        self._picked = [index for index, _ in read]
        self._takes_all = self._picked == list(range(self._width))
        self._targets = [names.index(feature.name) if feature.name in fields else -1 for feature in self._features]
        self._of_model = [number for number, target in enumerate(self._targets) if target >= 0]
        self._all_of_model = len(self._of_model) == len(self._targets)
        self._columns = [self._targets[number] for number in self._of_model]
        self._is_computed_from = is_computed_from
        self._fills = np.array([_fill(feature, fields.get(feature.name)) for feature in self._features])
        self._strings = [number for number, feature in enumerate(self._features) if feature.dtype == "string"]
        self._codes = [_codes_of(fields.get(feature.name)) for feature in self._features]
        self._categories: list[dict[float, float | str | None]] = [{} for _ in self._features]
        self._refusing = [number for number, feature in enumerate(self._features) if feature.when_missing == "refuse"]
        self._vocabularies = [
            (self.states_table, feature.aggregation.column) if feature.aggregation else (self.table, feature.name)
            for feature in self._features
        ]
        self._ttl_us = int(view.ttl_s * 1e6) if self.has_rows else 0  # a window has its own length
        self._store = store

    def keys(self, texts: Sequence[list[str | None]], keys: Sequence[str]) -> Sequence[str | None]:
        """Return the key of each row in the table; None for a row without an entity."""
        if not self._entities:
            return keys
        if len(self._entities) == 1:
            return texts[self._entities[0]]
        parts = zip(*(texts[index] for index in self._entities), strict=True)
        return [None if None in values else entity_key(values) for values in parts]

    def nothing(self, n: int) -> tuple[Floats, Ints]:
        """Return the values and times of n rows of which nothing is known."""
        return np.full((n, self._width), np.nan), np.full(n, NEVER_US, dtype=np.int64)

    def with_windows(
        self,
        values: Floats,
        times_us: Ints,
        keys: Sequence[str],
        entities: Sequence[str],
        states: Sequence[bytes | None],
        now_us: int,
    ) -> tuple[Floats, Ints]:
        """Return values with the windows of each key, and the event times; `states` are those of distinct entities."""
        assert self.plan is not None
        answers, newest_us = self._answers(self.plan, entities, states, now_us)
        if len(entities) != len(keys):
            index = {entity: number for number, entity in enumerate(entities)}
            rows = [index[key] for key in keys]
            answers, newest_us = answers[rows], newest_us[rows]
        complete = values.copy()
        complete[:, self._windows] = answers
        return complete, times_us if self.has_rows else newest_us

    def _answers(
        self, plan: WindowPlan, entities: Sequence[str], states: Sequence[bytes | None], now_us: int
    ) -> tuple[Floats, Ints]:
        """Aggregate the windows of entities; those of an entity whose state is damaged are missing."""
        try:
            return plan.answers(entities, states, now_us)
        except StoreError as error:
            if len(entities) == 1:
                _log.error("the windows of an entity of view '%s' are missing: %s", self.view.reference, error)
                return np.full((1, len(self._windows)), np.nan), np.full(1, NEVER_US, dtype=np.int64)
        size = len(states) // len(entities)
        parts = [
            self._answers(plan, [entity], states[row * size : (row + 1) * size], now_us)
            for row, entity in enumerate(entities)
        ]
        return np.concatenate([part for part, _ in parts]), np.concatenate([part for _, part in parts])

    def fill(
        self,
        complete: Floats,
        values: Floats,
        times_us: Ints,
        keys: Sequence[str | None],
        now_us: int,
        columns: dict[str, Column],
        counts: Counts,
        refused: dict[int, RowRefused],
    ) -> None:
        """Fill in the values of the model, and add those of features of the request to `columns`."""
        values = values if self._takes_all else values[:, self._picked]
        stale = None
        if self._ttl_us:
            stale = (now_us - times_us > self._ttl_us) & (times_us != NEVER_US)
            stale = stale if stale.any() else None
        strings = self._strings if self._is_computed_from else ()
        texts = {number: self._texts(number, values[:, number]) for number in strings}
        if self._strings:
            values = values.copy()
            for number in self._strings:
                values[:, number] = self._category_codes(number, values[:, number], refused)
        missing = np.isnan(values)
        if self._strings:
            missing &= values.view(np.int64) != _UNSEEN_BITS
        if stale is not None:
            counts[STALE, self.view.name, ""] = int(stale.sum())
            missing |= stale[:, None] & self._in_rows
        if missing.any():
            absent = missing if stale is None else missing & ~(stale[:, None] & self._in_rows)
            for number, n in enumerate(absent.sum(axis=0).tolist()):
                if n:
                    counts[MISSING, self.view.name, self._features[number].name] = n
            for number in self._refusing:
                too_old = stale if self._in_rows[number] else None
                _refuse(self._features[number], self.view.reference, missing[:, number], too_old, refused, keys)
            values = np.where(missing, self._fills, values)
        complete[:, self._columns] = values if self._all_of_model else values[:, self._of_model]
        for number, feature in enumerate(self._features if self._is_computed_from else ()):
            columns[feature.name] = _with_default(texts.get(number), feature, missing[:, number], values[:, number])

    def _category_codes(self, number: int, codes: Floats, refused: dict[int, RowRefused]) -> Floats:
        """Return the model's codes of the categories with these codes in the vocabulary of the view.

        A row with a string that the model refuses gets an error.
        """
        known, of_model = self._categories[number], self._codes[number]
        distinct = set(codes[~np.isnan(codes)].tolist())
        if unknown := [code for code in distinct if code not in known]:
            for code, text in zip(unknown, self._strings_of(number, unknown), strict=True):
                try:
                    known[code] = of_model[text] if of_model is not None else float("nan") if text is None else 0.0
                except KeyError:
                    known[code] = text
        what = f"feature '{self._features[number].name}'"
        return np.array(
            _read_each([known.get(code, np.nan) for code in codes.tolist()], _as_code, what, refused, np.nan)
        )

    def _texts(self, number: int, codes: Floats) -> list[str | None]:
        distinct = sorted(set(codes[~np.isnan(codes)].tolist()))
        texts = dict(zip(distinct, self._strings_of(number, distinct), strict=True)) if distinct else {}
        return [texts.get(code) for code in codes.tolist()]

    def _strings_of(self, number: int, codes: Sequence[float]) -> list[str | None]:
        assert self._store is not None
        return self._store.strings(*self._vocabularies[number], [int(code) for code in codes])


def _with_default(texts: list[str | None] | None, feature: Feature, missing: Bools, values: Floats) -> Column:
    """Return the values of a feature that the model does not read itself, strings as objects."""
    if texts is None:
        return values.astype("datetime64[us]") if feature.dtype == "datetime" else values
    default = feature.default if feature.when_missing == "default" else None
    return np.array(
        [default if gone else text for text, gone in zip(texts, missing.tolist(), strict=True)], dtype=object
    )


def _refuse(
    feature: Feature,
    reference: str,
    missing: Bools,
    stale: Bools | None,
    refused: dict[int, RowRefused],
    keys: Sequence[str | None] = (),
) -> None:
    """Add the error of each row in which a feature is missing that refuses such rows."""
    if feature.when_missing != "refuse":
        return
    for row in np.flatnonzero(missing).tolist():
        why = "too old" if stale is not None and stale[row] else "missing"
        of = f", for {keys[row]!r}" if keys else ""
        refused.setdefault(
            row,
            RowRefused(
                f"feature '{feature.name}' of {reference} is {why}",
                where=f"row {row}{of}",
                hint=f"headway features materialize {reference.partition('@')[0]}",
            ),
        )


def _fill(feature: Feature, column: Field | None) -> float:
    """Return what stands for a missing value: NaN, or the default as the model reads it."""
    if feature.when_missing != "default" or feature.default is None:
        return float("nan")
    codes = _codes_of(column)
    if codes is not None:
        return codes[str(feature.default)]
    return 0.0 if isinstance(feature.default, str) else float(feature.default)


def _codes_of(column: Field | None) -> Codes | None:
    return None if column is None else string_codes(column)


def _text_reader(column: Field) -> Callable[[str | None], float]:
    """Return the function that reads a text as a column of the model."""
    codes = string_codes(column)
    if codes is not None:
        return codes.__getitem__
    return lambda text: float("nan") if text is None else float(text)


def _as_floats(values: Column, codes: Codes | None, what: str, refused: dict[int, RowRefused]) -> Floats:
    """Return computed values as the model reads them; None and NaN are missing, what it cannot read is refused."""
    if codes is not None:
        return np.array(
            _read_each(
                values.tolist(), lambda value: codes[value] if isinstance(value, str) else np.nan, what, refused, np.nan
            )
        )
    if values.dtype == object:
        return np.array(
            _read_each(values.tolist(), lambda value: np.nan if value is None else float(value), what, refused, np.nan)
        )
    return values.astype(np.float64)


def _as_code(code: float | str | None) -> float:
    """Return a code of the model; raises KeyError for a string, which has none."""
    if isinstance(code, str):
        raise KeyError(code)
    return np.nan if code is None else code


def _as_time(text: str | None) -> datetime | None:
    """Return a time in ISO 8601, UTC without a zone; raises ValueError for another text."""
    if text is None:
        return None
    at = datetime.fromisoformat(text)
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


def _read_each(
    values: Sequence[V], read: Callable[[V], T], what: str, refused: dict[int, RowRefused], none: T
) -> list[T]:
    """Read each value of a column; a row that cannot be read gets an error, and `none`."""
    found = []
    for row, value in enumerate(values):
        try:
            found.append(read(value))
        except (KeyError, ValueError):
            hint = "a value that the model was trained with, or null"
            refused.setdefault(row, RowRefused(f"{what} cannot hold {value!r}", where=f"row {row}", hint=hint))
            found.append(none)
    return found


def _read_features(view: FeatureView) -> list[Feature]:
    """Return the features of a view on demand, in its order: the model reads them, or later ones of it do."""
    return [feature for feature in view.features if feature.name in view.feature_names]


def _compiled(features: Sequence[Feature], types: dict[str, FeatureType]) -> list[tuple[Feature, Compute]]:
    """Return the functions that compute features of the request, each of which may read those before it."""
    found = []
    for feature in features:
        assert feature.expression is not None  # the views of a release are checked when it is opened
        where = f"feature '{feature.name}'"
        found.append((feature, compile_expression(feature.expression, types, where=where)))
        result = type_of(feature.expression, types, where=where)
        types = {**types, feature.name: "number" if result == "missing" else result}
    return found


def _request_columns(features: Sequence[Feature]) -> frozenset[str]:
    """Return the names that expressions read."""
    found = (columns_of(feature.expression) for feature in features if feature.expression is not None)
    return frozenset(name for names in found for name in names)


def _require_valid_columns(views: Sequence[FeatureView], names: Sequence[str]) -> None:
    on_demand = [feature for view in views if view.is_on_demand for feature in view.features]
    known = {*names, *_request_columns(on_demand)}
    seen: set[str] = set()
    for view in views:
        for column in view.feature_names:
            if column not in known or column in seen:
                reason = "that another view has too" if column in seen else "that the model does not read"
                raise Refused(f"view '{view.name}' has a column '{column}' {reason}")
            seen.add(column)
