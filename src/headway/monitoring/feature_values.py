"""Features of a deployed release in its log: value replay, and what each feature costs and is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core.config import parse_age
from headway.core.contracts import OnlineStore
from headway.core.errors import DataError, HeadwayError, StoreError
from headway.core.evidence import Measurement
from headway.core.feature_report import FeatureCost, FeatureReport, FeatureWorth
from headway.core.feature_view import FeatureType, FeatureView
from headway.core.monitoring import MonitoringReport
from headway.core.value_replay import ValueReplay, ViewReplay
from headway.core.variant import Field, Signature
from headway.evaluation.feature_worth import Ablation, measure_lookups, price_views
from headway.evaluation.statistics.intervals import exact_measurement
from headway.features import catalog
from headway.features.compute import TIME, input_columns, narrowed, read_view_source, typed_column
from headway.features.expressions import column_kinds
from headway.features.online_rows import DEFERRED_US, entity_key
from headway.features.replay import replay_on_demand, replay_view
from headway.features.rules import inputs_through
from headway.features.settings.features import FeaturesSection
from headway.features.window_state import head_key
from headway.monitoring.feature_status import RECENT, continued, last_of_release, replay_findings
from headway.monitoring.prediction_log import read_predictions
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.task_runs import interval_of, last_run
from headway.registry.bundle import Bundle
from headway.registry.project import LIVE_POINTER, Project
from headway.storage.addresses import log_root, open_online, views_without_table
from headway.storage.traffic import last_request_at

OVERLAP_US = 3_600_000_000
"""Span before the end of the last replay that the next one repeats: log or source may have been late."""
LAG_OF_MATERIALIZE = 1.125
"""Time after which a scheduled run of `materialize` has written a value, in intervals of the task."""
_KEYS = 100


def replay_new(project: Project, bundle: Bundle, *, max_rows: int = 100_000, max_lag_s: float) -> ValueReplay:
    """Replay the requests of a release since its last replay, and an hour of those before; all of them at first.

    If a view could not be replayed the last time, the requests of that replay are repeated. A skew that the last replay
    found goes on: it begins where it began.

    Parameters
    ----------
    project, bundle, max_rows, max_lag_s
        As those of `replay_log`.
    """
    last = last_of_release(project, ValueReplay, bundle.digest)
    since_us = 0
    if last and last.n_rows:
        since_us = last.since_us if last.unknown else last.until_us - OVERLAP_US
    found = replay_log(project, bundle, since_us=since_us, max_rows=max_rows, max_lag_s=max_lag_s)
    return continued(found, last)


def served_since_replay(project: Project) -> list[str]:
    """Return the digests of releases that are not live, and served since their last replay.

    These are former releases and canaries. One that was never replayed is returned if it served since the last replay
    of any release, or within a day if there was none.
    """
    head, root = project.registry.head(f"{project.name}@{LIVE_POINTER}"), log_root(project.config, project.name)
    replays = [saved.record for saved in project.recent(ValueReplay, limit=RECENT)]  # newest first
    begin = datetime.fromisoformat(replays[0].at) if replays else datetime.now(UTC) - timedelta(days=1)
    live, found = head.release if head else "", list[str]()
    for digest in dict.fromkeys(update.release for update in project.registry.history(project.name)):
        served_at = last_request_at(root, project.name, digest) if digest not in ("", live) else None
        last = next((replay.at for replay in replays if replay.release == digest), "")
        if served_at and served_at > (datetime.fromisoformat(last) if last else begin):
            found.append(digest)
    return found


def allowed_lag_s(project: Project) -> float:
    """Return how long a value may be known before the online store has it: `[features] max_lag`, seconds.

    Without that setting it is the interval of the task `materialize` and an eighth, if a schedule runs it, else 0.
    """
    if project.config[FeaturesSection].max_lag:
        return parse_age(project.config[FeaturesSection].max_lag, where="[features] max_lag").total_seconds()
    if last_run(project, "materialize") is None:
        return 0.0
    return interval_of(project.config[ScheduleSection], "materialize").total_seconds() * LAG_OF_MATERIALIZE


def replay_log(
    project: Project, bundle: Bundle, *, since_us: int = 0, max_rows: int = 100_000, max_lag_s: float
) -> ValueReplay:
    """Recompute what the logged requests of a release should have seen, and compare value by value.

    Parameters
    ----------
    project : Project
        Its sources are read as they are now: a source that was rewritten since shows as a skew.
    bundle : Bundle
        The release.
    since_us : int
        Begin of the requests to replay, microseconds since 1970.
    max_rows : int
        The newest rows are taken if there are more.
    max_lag_s : float
        Time for which a value may be known before the online store has it, seconds.

    Returns
    -------
    ValueReplay
        A view whose source cannot be read is in `unknown`, and counts as not replayed.
    """
    began = datetime.now(UTC)  # what is logged from now on is for the next replay
    rows, n_left_out = _newest(_logged(project, bundle).filter(pl.col("at_us") >= since_us), max_rows)
    found: list[ViewReplay] = []
    unknown: dict[str, str] = {}
    for view in bundle.release.views:
        if view.is_on_demand:
            continue
        try:
            found.append(_replayed(project, bundle, view, rows, max_lag_s))
        except HeadwayError as error:
            unknown[view.reference] = error.what
    found += _replayed_on_demand(project, bundle, rows, unknown)
    times = rows["at_us"] if len(rows) else pl.Series([0])
    return ValueReplay(
        name=project.name,
        release=bundle.digest,
        at=began.isoformat(),
        since_us=int(times.min()),  # type: ignore[arg-type]
        until_us=int(times.max()),  # type: ignore[arg-type]
        n_rows=len(rows),
        views=tuple(found),
        unknown=unknown,
        n_left_out=n_left_out,
        findings=replay_findings(found, unknown),
    )


def _newest(rows: pl.DataFrame, max_rows: int) -> tuple[pl.DataFrame, int]:
    """Return the newest rows of whole requests, and the number of those left out."""
    newest = rows.tail(max_rows)
    if 0 < len(newest) < len(rows) and rows["request"][-max_rows - 1] == newest["request"][0]:
        cut = newest["request"][0]  # its key is in its first row
        newest = newest.filter(pl.col("request") != cut)
        newest = newest if len(newest) else rows.filter(pl.col("request") == cut)
    return newest, len(rows) - len(newest)


def _replayed(project: Project, bundle: Bundle, view: FeatureView, rows: pl.DataFrame, max_lag_s: float) -> ViewReplay:
    if not view.features:
        raise DataError("its definition is unknown: the release was made before views were declared")
    if rows.is_empty():
        raise DataError("no request is logged")
    source = read_view_source(view, folder=Path(project.config.folder))
    fields = list(bundle.release.variant.signature.inputs)
    more = [name for name in view.feature_names if name not in {field.name for field in fields}]
    read = [name for name in more if f"input.{name}" in rows.columns]
    logged = view_rows(rows.drop_nulls([f"input.{name}" for name in read]), view)  # older servers did not log them
    may_defer = bundle.release.variant.engine == "cascade"  # then a missing one may not have been read
    fields += [Field(name=name) for name in read if not may_defer]
    for name in more:
        if f"text.{name}" in rows.columns and not may_defer:
            categories = sorted(logged[name].drop_nulls().unique())
            codes = logged[name].replace_strict(
                categories, range(len(categories)), default=None, return_dtype=pl.Float64
            )
            logged = logged.with_columns(codes)
            fields.append(Field(name=name, datatype="BYTES", categories=tuple(categories), unseen="other"))
    return replay_view(
        logged,
        view,
        source,
        signature=Signature(inputs=tuple(fields)),
        max_lag_s=max_lag_s,
        versions=_other_versions(project, view),
    )


def _replayed_on_demand(
    project: Project, bundle: Bundle, rows: pl.DataFrame, unknown: dict[str, str]
) -> Iterator[ViewReplay]:
    """Replay the views without a source; add to `unknown` why one of them cannot be."""
    views = [narrowed(view) for view in bundle.release.views if view.is_on_demand]
    signature, computed = bundle.release.variant.signature, list[pl.Series]()
    features = [feature for view in views for feature in view.features]
    kinds = {name: kind for feature in features for name, kind in column_kinds(feature.expression).items()}
    if views and len(rows):
        inputs = [f"input.{name}" for name in input_columns(features)]
        rows = rows.filter(pl.col("status") == 0).drop_nulls([name for name in inputs if name in rows.columns])
    dtypes = {one.name: one.dtype for view in bundle.release.views if view.source for one in view.features}
    for view in views:
        known = {*(column.name for column in computed), *(feature.name for feature in view.features)}
        try:
            if rows.is_empty():
                raise DataError("no request is logged with what its features read")
            brought = [
                _logged_input(rows, name, "datetime" if kinds[name] == "time" else dtypes.get(name, "number"))
                for name in sorted(input_columns(view.features) - known)
            ]
            of_model = [name for name in signature.names if name in view.feature_names]
            replay, added = replay_on_demand(
                rows.select("request", "at_us", *(pl.col(f"in.{name}").alias(name) for name in of_model)),
                view,
                pl.DataFrame([rows["at_us"].alias("__at_us"), *brought]),
                computed,
                signature=signature,
                may_defer=bundle.release.variant.engine == "cascade",
                versions=_other_versions(project, view),
            )
        except HeadwayError as error:
            unknown[view.reference] = error.what
            continue
        computed += added
        yield replay


def _logged_input(rows: pl.DataFrame, name: str, dtype: FeatureType) -> pl.Series:
    """Return what a feature on demand read, with its type; raises DataError if the log does not have it."""
    if f"text.{name}" in rows.columns:
        column = rows[f"text.{name}"].alias(name)
        if dtype != "datetime":
            return column
        times = [None if text is None else datetime.fromisoformat(text) for text in column]
        zoned = [None if at is None else at if at.tzinfo else at.replace(tzinfo=UTC) for at in times]
        return pl.Series(name, zoned, dtype=TIME)
    for kind in ("input", "in"):
        if f"{kind}.{name}" in rows.columns:
            column = rows[f"{kind}.{name}"].alias(name).fill_nan(None)
            return column.cast(pl.Int64).cast(TIME) if dtype == "datetime" else typed_column(column, dtype, where=name)
    raise DataError(f"the log has no '{name}', which its features read: an earlier headway wrote it")


def _other_versions(project: Project, view: FeatureView) -> list[FeatureView]:
    return [saved.view for saved in catalog.versions(project.state, view.name) if saved.view.version != view.version]


def view_rows(rows: pl.DataFrame, view: FeatureView) -> pl.DataFrame:
    """Return the logged rows of a view as `replay_view` takes them; raises DataError if the log lacks its entities."""
    seen = f"seen_us.{view.name}"
    if seen not in rows.columns:
        raise DataError("the log has no times of its values", where=f"view '{view.reference}'")
    at_us = pl.col("at_us")
    if view.has_windows and "windows_us" in rows.columns:  # the answer was logged a moment later
        at_us = pl.when(pl.col("windows_us") >= 0).then("windows_us").otherwise("at_us").alias("at_us")
    columns = [pl.col("request"), at_us, pl.col(seen).alias("seen_us")]
    for entity in view.entities:
        text = f"text.{entity}"
        key = pl.col("key").forward_fill() if len(view.entities) == 1 else pl.lit(None, pl.String)
        if text not in rows.columns and len(view.entities) > 1:
            raise DataError(f"the log has no entity '{entity}'", where=f"view '{view.reference}'")
        columns.append((pl.coalesce(text, key) if text in rows.columns else key).alias(entity))
    logged = {f"{kind}.{name}": name for kind in ("in", "input", "text") for name in view.feature_names}
    found = rows.select(*columns, *(pl.col(name).alias(own) for name, own in logged.items() if name in rows.columns))
    return found.filter(pl.col("seen_us").ne_missing(DEFERRED_US))  # after each row of a call has its key


def build_feature_report(project: Project, bundle: Bundle, ablations: Mapping[str, Ablation]) -> FeatureReport:
    """Report what the features of a release cost and are worth, how old and how complete they are, and their drift.

    Parameters
    ----------
    project : Project
        Its log, online store and monitoring are read.
    bundle : Bundle
        The release.
    ablations : mapping of str to Ablation
        Worth of the features and views, as `evaluation.feature_worth.measure_worth` measures it.
    """
    rows, unknown = _logged(project, bundle), list[str]()
    views = [view for view in bundle.release.views if view.features or view.columns]
    costs: list[FeatureCost] = []
    try:
        stored = [view for view in views if not view.is_on_demand]
        costs, absent = _costs(project, stored, rows)
        costs = _priced(project, bundle, costs, ablations)
        unknown += absent
    except StoreError as error:
        unknown.append(f"cost of the lookups: {error.what}")
    drifts = _drifts(project, bundle.digest)
    if not len(rows):
        unknown.append("missing, stale and age: no request is logged")
    if not drifts:
        unknown.append("drift: no ended period was monitored")
    if not ablations:
        unknown.append("worth: not measured")
    read = set(bundle.release.variant.signature.names)
    features = [
        _worth(view, name, rows, ablations.get(name), drifts.get(name))
        for view in views
        for name in view.feature_names
        if name in read
    ]
    return FeatureReport(
        name=project.name,
        release=bundle.digest,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        n_logged=len(rows),
        costs=tuple(costs),
        features=tuple(features),
        unknown=tuple(unknown),
    )


def _priced(
    project: Project, bundle: Bundle, costs: Sequence[FeatureCost], ablations: Mapping[str, Ablation]
) -> list[FeatureCost]:
    """Return the costs of views with what they are worth, and whether they are too dear for it."""
    release, of_view = bundle.release, dict[str, Ablation]()
    for view in release.views:
        inputs = " + ".join(inputs_through(release.views, view.name, release.variant.signature.names))
        if inputs in ablations:
            of_view[view.reference] = ablations[inputs]
    lookups = {cost.view: cost.lookup_us for cost in costs if cost.lookup_us is not None}
    of_view = {cost.view: of_view[cost.view] for cost in costs if cost.view in of_view}
    priced = price_views(of_view, lookups, max_us_per_percent=project.config[FeaturesSection].max_us_per_percent)
    return [
        replace(cost, worth=found.increase, proposal=found.proposal, reason=found.reason)
        if (found := priced.get(cost.view))
        else cost
        for cost in costs
    ]


def _logged(project: Project, bundle: Bundle) -> pl.DataFrame:
    rows = read_predictions(log_root(project.config, project.name), project.name, [bundle.digest])
    return rows if len(rows) else pl.DataFrame(schema={"at_us": pl.Int64, "request": pl.Int64, "key": pl.String})


def _costs(project: Project, views: Sequence[FeatureView], rows: pl.DataFrame) -> tuple[list[FeatureCost], list[str]]:
    """Measure the lookup of each view with keys of the log, or of the store itself, and count its rows.

    Returns the costs, and a line for each view that is not in the store.
    """
    with closing(open_online(project.config)) as store:
        absent = views_without_table(store, views)
        views = [view for view in views if view not in absent]
        sizes: dict[str, tuple[int, int]] = {}
        keys: list[list[str]] = []
        for view in views:
            sizes[view.reference], stored = _size(store, view)
            keys.append((_logged_keys(rows, view) or stored)[:_KEYS])
        times = measure_lookups(store, list(zip(views, keys, strict=True)))
    costs = [
        FeatureCost(
            view=view.reference,
            lookup_us=times.get(view.reference),
            n_entities=sizes[view.reference][0],
            size_bytes=sizes[view.reference][1],
        )
        for view in views
    ]
    lines = [
        f"cost of {view.reference}: it is not in the online store; headway features materialize {view.name}"
        for view in absent
    ]
    return costs, lines


def _size(store: OnlineStore, view: FeatureView) -> tuple[tuple[int, int], list[str]]:
    """Return the number of entities of a view and the bytes of its rows and states, and the keys of some entities."""
    size_bytes, n_entities = 0, 0
    stored: list[str] = []
    for keys, values, _ in store.scan(view.online_table) if view.has_rows else ():
        n_entities, size_bytes = n_entities + len(keys), size_bytes + len(keys) * (values.shape[1] + 1) * 8
        stored += keys[: _KEYS - len(stored)]
    n_heads = 0
    for keys, *_ in store.scan(view.states_table) if view.has_windows else ():
        [states] = store.read_with_states([], [(view.states_table, keys)])[1]
        size_bytes += sum(len(state or b"") for state in states)
        entities = [key[1:] for key in keys if key == head_key(key[1:])]
        n_heads += len(entities)
        stored += entities[: max(0, _KEYS - len(stored))]
    return (max(n_entities, n_heads), size_bytes), stored


def _logged_keys(rows: pl.DataFrame, view: FeatureView) -> list[str]:
    try:
        entities = view_rows(rows.tail(_KEYS), view).select(view.entities).drop_nulls()
    except DataError:
        return []
    return [entity_key(values) for values in entities.iter_rows()]


def _drifts(project: Project, digest: str) -> dict[str, Measurement]:
    """Return the drift of each input in the last period of a release that was judged."""
    reports = [report for report in project.records(MonitoringReport) if report.release == digest and report.drift]
    measured = reports[-1].drift.measurements if reports and reports[-1].drift else ()
    return {found.slice: found for found in measured if found.name == "drift.p" and found.slice}


def _worth(
    view: FeatureView,
    name: str,
    rows: pl.DataFrame,
    ablation: Ablation | None,
    drift: Measurement | None,
) -> FeatureWorth:
    missing, stale, ages = _freshness(view, name, rows)
    return FeatureWorth(
        view=view.reference,
        name=name,
        worth=ablation.increase if ablation else None,
        missing=missing,
        stale=stale,
        age_s=ages,
        drift=drift,
        proposal=ablation.proposal if ablation else "",
        reason=ablation.reason if ablation else "",
    )


def _freshness(
    view: FeatureView, name: str, rows: pl.DataFrame
) -> tuple[Measurement | None, Measurement | None, tuple[float, ...]]:
    """Return the shares of missing and stale values of the logged rows, and median and 99th percentile of the ages."""
    column, seen = f"in.{name}", f"seen_us.{view.name}"
    if rows.is_empty() or column not in rows.columns:
        return None, None, ()
    rows = rows.filter(pl.col(seen).ne_missing(DEFERRED_US)) if seen in rows.columns else rows
    if not (n := len(rows)):
        return None, None, ()
    absent = rows[column].cast(pl.Float64).fill_nan(None).null_count() / n
    missing = exact_measurement("feature.missing", absent, n_rows=n, method="share of logged rows")
    if seen not in rows.columns:
        return missing, None, ()
    known = rows.filter(pl.col(seen) >= 0)
    ages = (known["at_us"] - known[seen]).to_numpy() / 1e6
    stale = float((ages > view.ttl_s).sum()) / n if view.ttl_s else 0.0
    shown = tuple(float(age) for age in np.quantile(ages, (0.5, 0.99))) if len(ages) else ()
    return missing, exact_measurement("feature.stale", stale, n_rows=n, method="share of logged rows"), shown
