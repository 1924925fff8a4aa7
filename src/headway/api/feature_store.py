"""Features in the shape of Feast's `FeatureStore`: the same arguments, over the views of a project."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl
from msgspec.structs import replace

from headway.api.tables import is_pandas_table, to_pandas_column, to_polars
from headway.core.contracts import OnlineStore
from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import FeatureView
from headway.features.catalog import resolve_view
from headway.features.historical import expect_unique, get_historical_features, with_defaults
from headway.features.online_lookup import EntityRows, OnlineColumn, look_features_up
from headway.features.online_rows import NEVER_US
from headway.registry.project import open_project
from headway.storage.addresses import open_online

TIME_COLUMN = "event_timestamp"
TIMESTAMP_POSTFIX = "__ts"
_MAX_CALLS = 256
"""Number of calls with different references of which one store remembers what these name."""


class _Reference(NamedTuple):
    """A feature that a call names: its view, and the column that it becomes."""

    prefix: str
    view: FeatureView
    feature: str
    column: str


class _Call(NamedTuple):
    """What the references of a call name: views by their prefixes, features, and the views that are read at once."""

    views: dict[str, FeatureView]
    chosen: list[_Reference]
    batches: list[dict[str, FeatureView]]
    entities: tuple[str, ...]


class FeatureStore:
    """Read features of the views of a project with Feast's calls.

    Parameters
    ----------
    repo_path : str or Path
        Folder with `headway.toml`, whose views were applied with `headway features apply`.

    Examples
    --------
    >>> store = hw.FeatureStore("flights")  # doctest: +SKIP
    >>> store.get_historical_features(entity_df=rows, features=["weather:temp"]).to_df()  # doctest: +SKIP
    >>> found = store.get_online_features(["weather:temp"], [{"origin": "JFK"}])  # doctest: +SKIP
    >>> found.to_dict()  # doctest: +SKIP
    {'origin': ['JFK'], 'temp': [39.02]}
    """

    def __init__(self, repo_path: str | Path = ".") -> None:
        self._project = open_project(Path(repo_path))
        self._online: OnlineStore | None = None
        self._calls: dict[tuple[object, ...], _Call] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections to the online store; the next call opens them again."""
        if self._online is not None:
            self._online.close()
            self._online = None

    def get_historical_features(
        self, entity_df: Any, features: Sequence[str], full_feature_names: bool = False, *, time: str = ""
    ) -> RetrievalJob:
        """Join rows with features as they were known at the time of each row.

        Every row comes back once, in its place. A missing value is null, or the default of the feature.

        Parameters
        ----------
        entity_df : DataFrame
            A pandas, polars or Arrow table with the entities of the views and a time.
        features : sequence of str
            References: ``"weather:temp"`` of the newest version of a view, ``"weather@v2:temp"`` of a certain one.
        full_feature_names : bool
            Whether to name columns ``weather__temp`` (or ``weather@v2__temp``), not ``temp``.
        time : str
            Column with the times; by default ``event_timestamp``, else the only column of dates or times. Times
            without a zone are UTC.

        Returns
        -------
        RetrievalJob
            `to_df` returns the table, in pandas if `entity_df` is.

        Raises
        ------
        ConfigError
            If a reference names no applied view or no feature of it.
        DataError
            If an entity or the time is absent, or two columns would have one name.
        """
        call, rows = self._resolved(features, full_feature_names), to_polars(entity_df)
        at, folder = time or _time_column(rows), Path(self._project.config.folder)
        joined = dict[tuple[str, str], pl.Series]()
        for views in call.batches:
            table = get_historical_features(rows, list(views.values()), time=at, folder=folder, full_names=True)
            for prefix, view in views.items():
                found = [table[f"{view.name}__{name}"].alias(name) for name in view.feature_names]
                joined |= {(prefix, column.name): column for column in with_defaults(view, found)}
        columns = [joined[one.prefix, one.feature].alias(one.column) for one in call.chosen]
        expect_unique([*rows.columns, *(column.name for column in columns)])
        return RetrievalJob(entity_df if is_pandas_table(entity_df) else rows, columns)

    def get_online_features(
        self, features: Sequence[str], entity_rows: Any, full_feature_names: bool = False
    ) -> OnlineResponse:
        """Look up the newest values of features in the online store.

        A missing value, and one older than the TTL of its view, is None or the default of the feature.

        Parameters
        ----------
        features : sequence of str
            References, as for `get_historical_features`.
        entity_rows : sequence of mapping, mapping of str to sequence, or DataFrame
            The entities of each row, and what views without a source read of a request.
        full_feature_names : bool
            Whether to name features ``weather__temp`` (or ``weather@v2__temp``), not ``temp``.

        Returns
        -------
        OnlineResponse
            `to_dict` and `to_df` return entities and features.

        Raises
        ------
        ConfigError
            If a reference names no applied view or no feature of it.
        DataError
            If an entity is absent, or a value is missing of a feature that refuses such rows.
        StoreError
            If a view was not materialized, or the store does not answer.
        """
        call = self._resolved(features, full_feature_names)
        expect_unique([*call.entities, *(one.column for one in call.chosen)])
        rows = _entity_rows(entity_rows, call.entities)
        if self._online is None:
            self._online = open_online(self._project.config)
        found = dict[tuple[str, str], OnlineColumn]()
        for views in call.batches:
            looked_up = look_features_up(rows, list(views.values()), self._online)
            found |= {
                (prefix, name): looked_up[view.name, name]
                for prefix, view in views.items()
                for name in view.feature_names
            }
        entities = {name: rows.column(name) for name in call.entities}
        columns = {one.column: found[one.prefix, one.feature] for one in call.chosen}
        return OnlineResponse(entities, columns, is_pandas=is_pandas_table(entity_rows))

    def _resolved(self, features: Sequence[str], full_names: bool) -> _Call:
        """Return what references name; raises ConfigError for one of no view or feature.

        The views are read each time, so that a new version is seen; what follows from them is made once.
        """
        if isinstance(features, str) or not features:
            what = "features is a list of references" if features else "no feature is named"
            raise ConfigError(what, where=f"features={features!r}", hint='features=["weather:temp"]')
        key = (full_names, *map(str, features))
        call = self._calls.get(key)
        if call is None or any(
            resolve_view(self._project.state, name) is not view for name, view in call.views.items()
        ):
            if len(self._calls) >= _MAX_CALLS:
                self._calls.clear()
            call = self._calls[key] = self._new_call([*map(str, features)], full_names)
        return call

    def _new_call(self, features: Sequence[str], full_names: bool) -> _Call:
        views, chosen = dict[str, FeatureView](), list[_Reference]()
        for reference in features:
            prefix, separator, feature = reference.partition(":")
            if not separator or not feature:
                hint = "VIEW:FEATURE, such as weather:temp or weather@v2:temp"
                raise ConfigError(f"{reference!r} is not a reference to a feature", where="features", hint=hint)
            if prefix not in views:
                views[prefix] = resolve_view(self._project.state, prefix)
            view = views[prefix]
            names = [known.name for known in view.features]
            if feature not in names:
                near = difflib.get_close_matches(feature, names, 1)
                hint = f"nearest: {prefix}:{near[0]}" if near else f"it has {', '.join(names)}"
                raise ConfigError(f"view '{view.reference}' has no feature '{feature}'", where="features", hint=hint)
            chosen.append(_Reference(prefix, view, feature, f"{prefix}__{feature}" if full_names else feature))
        entities = tuple(dict.fromkeys(name for one in chosen for name in one.view.entities))
        return _Call(views, chosen, _view_batches(chosen), entities)


class RetrievalJob:
    """Rows with features, as `get_historical_features` joins them."""

    def __init__(self, rows: Any, columns: list[pl.Series]) -> None:
        self._rows, self._columns = rows, columns

    def to_df(self) -> Any:
        """Return the rows with a column for each feature: a pandas table with its index, or a polars table."""
        if isinstance(self._rows, pl.DataFrame):
            return self._rows.hstack(self._columns)
        return self._rows.assign(**{column.name: to_pandas_column(column) for column in self._columns})


class OnlineResponse:
    """Entities and their features, as `get_online_features` finds them."""

    def __init__(
        self, entities: Mapping[str, list[Any] | pl.Series], columns: Mapping[str, OnlineColumn], *, is_pandas: bool
    ) -> None:
        self._entities, self._columns, self._is_pandas = entities, columns, is_pandas

    def to_dict(self, include_event_timestamps: bool = False) -> dict[str, list[Any]]:
        """Return the values of each column.

        Parameters
        ----------
        include_event_timestamps : bool
            Whether to add `FEATURE__ts`, the event time in seconds since 1970; 0 if there is none.
        """
        found = {name: list(values) for name, values in self._entities.items()}
        for name, column in self._columns.items():
            found[name] = list(column.values)
            if include_event_timestamps:
                found[name + TIMESTAMP_POSTFIX] = _seconds(column)
        return found

    def to_df(self, include_event_timestamps: bool = False) -> Any:
        """Return a table: of pandas if the entities came as one, else of polars.

        Parameters
        ----------
        include_event_timestamps : bool
            Whether to add `FEATURE__ts`; see `to_dict`.
        """
        columns = [pl.Series(name, values) for name, values in self._entities.items()]
        for name, column in self._columns.items():
            columns.append(column.series().alias(name))
            if include_event_timestamps:
                columns.append(pl.Series(name + TIMESTAMP_POSTFIX, _seconds(column), dtype=pl.Int64))
        if not self._is_pandas:
            return pl.DataFrame(columns)
        pandas = importlib.import_module("pandas")
        return pandas.DataFrame({column.name: to_pandas_column(column) for column in columns})


def _seconds(column: OnlineColumn) -> list[int]:
    """Return event times in seconds since 1970; 0 where there is none."""
    if column.times_us is None:
        return [0] * len(column.values)
    return [0 if time_us == NEVER_US else time_us // 1_000_000 for time_us in column.times_us.tolist()]


def _view_batches(chosen: Sequence[_Reference]) -> list[dict[str, FeatureView]]:
    """Return the views that are read by their prefixes, with the features that are; two versions are read in turn."""
    names = dict[str, list[str]]()
    for one in chosen:
        names.setdefault(one.prefix, []).append(one.feature)
    batches: list[dict[str, FeatureView]] = []
    for prefix, view in {one.prefix: one.view for one in chosen}.items():
        columns = tuple(known.name for known in view.features if known.name in names[prefix])
        others = (batch for batch in batches if view.name not in [known.name for known in batch.values()])
        batch = next(others, None)
        if batch is None:
            batches.append(batch := {})
        batch[prefix] = replace(view, columns=columns)
    return batches


def _time_column(rows: pl.DataFrame) -> str:
    """Return the column with the times, as Feast finds it."""
    if TIME_COLUMN in rows.columns:
        return TIME_COLUMN
    times = [name for name, dtype in rows.schema.items() if dtype in (pl.Date, pl.Datetime)]
    if len(times) != 1:
        what = f"no column '{TIME_COLUMN}', and {len(times)} columns of dates or times"
        raise DataError(what, where="entity_df", hint=f'time="{times[0]}"' if times else 'time="COLUMN"')
    return times[0]


def _entity_rows(entity_rows: Any, entities: Sequence[str]) -> EntityRows:
    """Return entity rows; raises DataError for a row without an entity."""
    if not isinstance(entity_rows, Sequence) or isinstance(entity_rows, str):
        return EntityRows(
            None, lambda: to_polars(dict(entity_rows) if isinstance(entity_rows, Mapping) else entity_rows)
        )
    for number, row in enumerate(entity_rows):
        if type(row) is not dict and not isinstance(row, Mapping):
            hint = 'entity_rows=[{"origin": "JFK"}]'
            raise DataError(f"a row is {type(row).__name__}, not a mapping", where=f"entity row {number}", hint=hint)
        if absent := [name for name in entities if name not in row]:
            hint = f"it has {', '.join(map(str, row)) or 'nothing'}; None stands for a missing entity"
            raise DataError(f"no entity '{absent[0]}'", where=f"entity row {number}", hint=hint)
    return EntityRows(entity_rows, lambda: _table_of(entity_rows))


def _table_of(entity_rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    try:
        return pl.DataFrame(list(entity_rows), infer_schema_length=None)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        what = f"the entities cannot be read: {str(error).partition(chr(10))[0]}"
        raise DataError(what, where="entity_rows", hint="strings, integers or None") from error
