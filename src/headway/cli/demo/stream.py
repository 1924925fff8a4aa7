"""Push rows of feature views while flights are sent: a month of 2013 passes in half a minute.

A stream writes each row to two places: the online store, which servers read, and the source of its view, which value
replay and the next training read. Its time is that of the push. Before a flight is sent, the rows of its airport and
its plane are those that were known two hours before its departure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import polars as pl
from msgspec.structs import replace

from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.features.compute import needed_columns
from headway.features.push import RefusedLine, push_lines
from headway.registry.project import Project
from headway.storage.addresses import open_online

BATCH_ROWS = 500
Row = dict[str, object]
Change = Callable[[Row], Row]


class FeatureStream:
    """Push the rows of views; at the end of the context their sources have them too.

    Parameters
    ----------
    project : Project
        The demo's project.
    views : sequence of FeatureView
        The views, with their versions; those without event times are left out.
    flights : DataFrame
        The flights in the order in which they are sent, with the features of the views.
    wrong : mapping of str to callable
        What a faulty job makes of the rows that it pushes, by the name of the view; the source gets the right ones.
    wrong_from : int
        Index of the flight from which on the job is faulty.
    """

    def __init__(
        self,
        project: Project,
        views: Sequence[FeatureView],
        flights: pl.DataFrame,
        *,
        wrong: Mapping[str, Change] | None = None,
        wrong_from: int = 0,
    ) -> None:
        self._views = [replace(view, columns=()) for view in views if view.source and view.source.event_time]
        self._folder = Path(project.config.folder)
        self._store = open_online(project.config)
        self._wrong, self._wrong_from = wrong or {}, wrong_from
        self._batches = plan_batches(flights, self._views, at_most=BATCH_ROWS)
        self._pushed: dict[str, list[Row]] = {view.name: [] for view in self._views}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with closing(self._store):
            for view in self._views:
                self._append(view, self._pushed[view.name])

    def before(self, flight: int) -> None:
        """Push what has to be known before the flight at this index is sent."""
        for name, rows in self._batches.get(flight, {}).items():
            view = next(view for view in self._views if view.name == name)
            change = self._wrong.get(name) if flight >= self._wrong_from else None
            self._push(view, rows, change)

    def _push(self, view: FeatureView, rows: list[Row], change: Change | None) -> None:
        assert view.source is not None
        at = {view.source.event_time: datetime.now(UTC)}
        lines = [msgspec.json.encode((change(row) if change else row) | at) for row in rows]
        push_lines(self._store, view, lines, refuse=_raise)
        self._pushed[view.name] += [row | at for row in rows]

    def _append(self, view: FeatureView, rows: list[Row]) -> None:
        assert view.source is not None
        path = self._folder / view.source.location
        table = pl.read_parquet(path)
        pl.concat([table, pl.DataFrame(rows, schema=table.schema)]).write_parquet(path)


def plan_batches(
    flights: pl.DataFrame, views: Sequence[FeatureView], *, at_most: int
) -> dict[int, dict[str, list[Row]]]:
    """Return the rows of each view to push before a flight, by the index of the flight.

    A batch goes on until an entity gets other values, or `at_most` flights are in it.
    """
    columns = {view.name: _source_columns(view) for view in views}
    tables = {name: flights.select(of_view).fill_nan(None).to_dicts() for name, of_view in columns.items()}
    batches: dict[int, dict[str, list[Row]]] = {}
    known: dict[tuple[object, ...], Row] = {}
    first = 0
    for flight in range(len(flights)):
        found = {
            (view.name, *(row[entity] for entity in view.entities)): row
            for view in views
            for row in [tables[view.name][flight]]
            if all(row[entity] is not None for entity in view.entities)
        }
        if flight - first >= at_most or any(known.get(key, row) != row for key, row in found.items()):
            known, first = {}, flight
        for key, row in found.items():
            if key not in known:
                known[key] = row
                batches.setdefault(first, {}).setdefault(str(key[0]), []).append(row)
    return batches


def _source_columns(view: FeatureView) -> list[str]:
    assert view.source is not None
    return sorted((needed_columns(view) or frozenset()) - {view.source.event_time})


def _raise(line: RefusedLine) -> None:
    raise DataError(f"a row of the stream was refused: {line.reason}", where=line.line)
