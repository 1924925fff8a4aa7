"""Join the feature views that a project names to its table, as their values were known at the time of each decision."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import (
    Feature,
    FeatureView,
)
from headway.core.record import canonical, digest_of
from headway.data.open import open_dataset
from headway.data.provenance.fingerprint import table_digest
from headway.data.roles import decision_times
from headway.data.scan import MAX_VALUES, TableScan, scan_source
from headway.features.catalog import resolve_view
from headway.features.compute import source_config
from headway.features.historical import get_historical_features, with_defaults
from headway.features.partitioned_join import write_historical_features
from headway.features.settings.features import FeaturesSection

_AT = "__decision_at"
_WHERE = "[features] views"


def project_views(config: Config, state: State, *, pinned: Sequence[FeatureView] = ()) -> list[FeatureView]:
    """Return the definitions of the views that `[features] views` names.

    Parameters
    ----------
    config : Config
        Project configuration.
    state : State
        State with the catalog of views.
    pinned : sequence of FeatureView
        Views of a release, which are taken in their versions. By default every view is the newest version, or the one
        that the project names.
    """
    of_release = {view.name: view for view in pinned if view.version}
    others = [name for name in config[FeaturesSection].views if name.partition("@")[0] not in of_release]
    return [*of_release.values(), *(resolve_view(state, name) for name in others)]


def open_with_views(
    config: Config, state: State, *, pinned: Sequence[FeatureView] = (), opened: Dataset | None = None
) -> Dataset:
    """Open the dataset that `[data]` declares, with the features of the views that `[features] views` names.

    See `project_views`; `opened` is the dataset if it was opened already.
    """
    dataset = open_dataset(config) if opened is None else opened
    if dataset.views:
        return dataset
    return join_views(dataset, project_views(config, state, pinned=pinned), folder=Path(config.folder))


def join_views(
    dataset: Dataset,
    views: Sequence[FeatureView],
    *,
    folder: Path,
    sources: Mapping[str, pl.DataFrame] | None = None,
) -> Dataset:
    """Join the features of views to a dataset, each as it was known at the time of the row's decision.

    Parameters
    ----------
    dataset : Dataset
        Rows with the entities of the views, and with a time if a view has event times.
    views : sequence of FeatureView
        Definitions of the views.
    folder : Path
        Folder at which relative paths of sources begin.
    sources : mapping of str to DataFrame, optional
        Source tables by the name of the view; by default they are read.

    Returns
    -------
    Dataset
        The rows in their order with a column per feature; `views`, `digest` and `provenance` name the versions.

    Raises
    ------
    DataError
        If the table lacks an entity, or has a column with the name of a feature.
    ConfigError
        If the time of the decision is not declared, or a view is named twice.
    """
    if not views:
        return dataset
    expect_joinable(views, dataset.table.columns, where=dataset.name)
    times = any(view.source is not None and view.source.event_time for view in views)
    if times and not dataset.roles.time:
        raise ConfigError(
            "features are joined at the time of the decision, and no time is declared",
            where=_WHERE,
            hint='[data] time = "COLUMN"',
        )
    table = join_rows(dataset.table, dataset.roles, views, folder=folder, sources=sources)
    versions = {f"view.{view.name}": f"{view.reference} {view.digest}" for view in views}
    content = table_digest(table) if dataset.sampled is None else dataset.digest
    return replace(
        dataset,
        table=table,
        views=tuple(views),
        digest=digest_of(canonical({"rows": content, **versions})),
        provenance={**dataset.provenance, **versions},
    )


def join_rows(
    rows: pl.DataFrame,
    roles: Roles,
    views: Sequence[FeatureView],
    *,
    folder: Path,
    sources: Mapping[str, pl.DataFrame] | None = None,
) -> pl.DataFrame:
    """Return rows with a column per feature, missing ones with their default, as a server has it; see `join_views`.

    If the rows, or the source of a view, have more values than memory shall hold, the join goes by partitions through
    temporary files: of a source that can be read in batches, only one partition is in memory.
    """
    now = pl.lit(datetime.now(UTC).replace(tzinfo=None), dtype=pl.Datetime("us"))
    timed = rows.with_columns((decision_times(rows, roles, strict=True) if roles.time else now).alias(_AT))
    if sources is None and len(rows):
        joined = _join_sources(timed, views, folder)
    else:
        joined = get_historical_features(timed, views, time=_AT, folder=folder, sources=sources)
    return fill_defaults(joined.drop(_AT), views)


def _join_sources(rows: pl.DataFrame, views: Sequence[FeatureView], folder: Path) -> pl.DataFrame:
    """Join rows with views whose sources are read, in memory or by partitions."""
    sourced = [view for view in views if not view.is_on_demand]
    with tempfile.TemporaryDirectory(prefix="headway-join-", ignore_cleanup_errors=True) as name:
        opened = {view.name: scan_source(source_config(view, folder), Path(name)) for view in sourced}
        n_values = len(rows) * sum(len(view.entities) + len(view.feature_names) for view in sourced)
        if n_values <= MAX_VALUES and not any(isinstance(source, TableScan) for source in opened.values()):
            tables = {name: source for name, source in opened.items() if isinstance(source, pl.DataFrame)}
            return get_historical_features(rows, views, time=_AT, folder=folder, sources=tables)
        keys, out = rows.select(_AT, *sorted({one for view in sourced for one in view.entities})), Path(name) / "joined"
        write_historical_features(keys, sourced, out, time=_AT, folder=folder, sources=opened)
        joined = rows.hstack(pl.read_parquet(out).drop(keys.columns))
    others = [view for view in views if view.is_on_demand]
    return get_historical_features(joined, others, time=_AT, folder=folder)


def fill_defaults(table: pl.DataFrame, views: Sequence[FeatureView]) -> pl.DataFrame:
    """Return a table with the default of each feature in place of its missing values, where it has one."""
    named = ((view, [table[name] for name in view.feature_names if name in table.columns]) for view in views)
    return table.with_columns(column for view, columns in named for column in with_defaults(view, columns))


def expect_joinable(views: Sequence[FeatureView], columns: Collection[str], *, where: str) -> None:
    """Raise an error unless a table with these columns can be joined with views."""
    seen: dict[str, str] = {}
    for view in views:
        if any(other.startswith(f"{view.name}.") for other in seen.values()):
            raise ConfigError(f"view '{view.name}' is named twice", where=_WHERE, hint="remove one of them")
        for entity in view.entities:
            if entity not in columns:
                near = difflib.get_close_matches(entity, columns, 1)
                raise DataError(
                    f"view '{view.reference}' has the entity '{entity}', and the table has no such column",
                    where=where,
                    hint=f"nearest: {near[0]}" if near else "add the column to the table",
                )
        for feature in read_features(view):
            other = seen.get(feature.name) or (feature.name if feature.name in columns else "")
            if other:
                raise DataError(
                    f"feature '{view.reference}.{feature.name}' has the name of "
                    + (f"'{other}'" if other != feature.name else "a column of the table"),
                    where=where,
                    hint="rename one of them, or leave the column out of the table",
                )
            seen[feature.name] = f"{view.name}.{feature.name}"


def read_features(view: FeatureView) -> list[Feature]:
    """Return the features of a view that a model reads, in its order."""
    return [feature for feature in view.features if feature.name in view.feature_names]


def view_digests(views: Sequence[FeatureView]) -> dict[str, str]:
    """Return the digest of the definition of each view, by `view.REFERENCE`: part of the data of a model."""
    return {f"view.{view.reference}": view.digest for view in views}
