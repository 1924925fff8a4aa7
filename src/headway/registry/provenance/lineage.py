"""Lineage as OpenLineage events (spec 2-0-2), and their delivery: training, search and each pointer update.

What DVC recorded of the data comes first, as job events: DVC knows what the data are made from, not when it ran. So do
the feature views of the models: from the source to a version of a view, and from views to the rows of a period.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from headway.core.errors import DataError
from headway.core.feature_view import DAY_S, HOUR_S, Aggregation, Feature, FeatureView
from headway.core.plugins import load_sibling
from headway.core.provenance import LineageDelivery, Provenance, TrackedData
from headway.core.record import canonical, digest_of
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchResult
from headway.core.urls import without_password
from headway.data.settings.provenance import ENVIRONMENT, ProvenanceSection
from headway.features import catalog
from headway.features.compute import input_columns
from headway.features.expressions import to_sql
from headway.registry.project import Project
from headway.registry.provenance import origins

Json = dict[str, Any]
_SPEC = "https://openlineage.io/spec"
PRODUCER = "https://github.com/headway"
_FACETS = {
    "version": "1-0-1/DatasetVersionDatasetFacet",
    "schema": "1-2-0/SchemaDatasetFacet",
    "dataSource": "1-0-1/DatasourceDatasetFacet",
    "sourceCode": "1-0-1/SourceCodeJobFacet",
    "sql": "1-1-0/SQLJobFacet",
    "columnLineage": "1-2-0/ColumnLineageDatasetFacet",
}
_PORTS = {"postgresql": ("postgres", 5432), "postgres": ("postgres", 5432)}


def events(project: Project) -> list[Json]:
    """Return the events of a project, oldest first, START and COMPLETE of each run; equal records give equal events."""
    data = {version.digest: version for version in origins.saved_versions(project)}
    searches = project.records(SearchResult)
    runs = [run for search in searches for run in _search_runs(project.name, search, data)]
    made = {result.winner.variant.digest: result for result in searches}
    runs += [_update_run(project, move, made) for move in project.registry.history(project.name) if move.release]
    run_events = [event for run in sorted(runs, key=lambda run: str(run["eventTime"])) for event in _both(run)]
    return [*_dvc_events(project.name, data.values()), *_view_events(project, searches, data), *run_events]


def _dvc_events(name: str, versions: Iterable[Provenance]) -> Iterator[Json]:
    """Yield the DVC stages that made the data, and how the periods come from its files, each once."""
    seen: set[bytes] = set()
    for version in versions:
        files = [file for file in version.tracked if file.digest and not file.difference]
        events = [_stage(name, version.at, file) for file in files if file.inputs or file.command]
        if files:
            period = _data(name, version.period, version.digest, {version.digest: version})
            events.append(
                _job({"name": f"{name}.open.{version.period}"}, version.at, [_file(file) for file in files], [period])
            )
        for event in events:
            body = canonical({**event, "eventTime": ""})
            if body not in seen:
                seen.add(body)
                yield event


def _view_events(project: Project, searches: Iterable[SearchResult], data: Mapping[str, Provenance]) -> Iterator[Json]:
    """Yield how the views of the models are made, and how the rows of the periods get their features, each once."""
    seen: set[bytes] = set()
    for search in searches:
        views = [view for view in search.baseline.views if view.features]
        applied = {
            saved.view.reference: saved.at for view in views for saved in catalog.versions(project.state, view.name)
        }
        events = [_view_job(project.name, view, views, applied.get(view.reference, search.at)) for view in views]
        digests = search.baseline.data
        periods = [period for period in ("train", "validation", "test") if period in digests and views]
        for period in periods:
            joined = _data(project.name, period, digests[period], data)
            joined["facets"]["columnLineage"] = _joined_columns(views)
            job = {"name": f"{project.name}.features.{period}"}
            events.append(_job(job, search.at, [_view(view) for view in views], [joined]))
        for event in events:
            body = canonical({**event, "eventTime": ""})
            if body not in seen:
                seen.add(body)
                yield event


def _view_job(name: str, view: FeatureView, views: Sequence[FeatureView], at: str) -> Json:
    """Return how a version of a view is made: from its source, or from the request and features of other views."""
    made, query = _view(view), ""
    if view.source is None:
        request = {"namespace": "headway", "name": f"{name}.request", "facets": {}}
        of_views = {feature: _view(other) for other in views if other is not view for feature in other.feature_names}
        origins_of = {column: of_views.get(column, request) for column in input_columns(view.features)}
        inputs = list({str(dataset["name"]): dataset for _, dataset in sorted(origins_of.items())}.values())
        made["facets"]["columnLineage"] = _view_columns(view, origins_of, request)
    else:
        source = _source(view.source.location)
        inputs, query = [source], view.sql or view.source.query
        if not view.sql:  # whose columns are those of a query, not of the source
            made["facets"]["columnLineage"] = _view_columns(view, {}, source)
    facets = {"sql": _facet("sql", query=query)} if query else {}
    return _job({"name": f"view.{view.reference}", "facets": facets}, at, inputs, [made])


def _view(view: FeatureView) -> Json:
    """Return the dataset of a version of a view."""
    fields = [{"name": name} for name in view.entities]
    fields += [{"name": feature.name, "type": feature.dtype} for feature in view.features]
    facets = {"version": _facet("version", datasetVersion=view.digest), "schema": _facet("schema", fields=fields)}
    return {"namespace": "headway", "name": f"view.{view.reference}", "facets": facets}


def _source(location: str) -> Json:
    """Return the dataset of a source, named as OpenLineage names files, objects and databases; without user name."""
    parts = urlsplit(location)
    if not parts.scheme or "://" not in location:
        return {"namespace": "file", "name": location, "facets": {}}
    scheme, port = _PORTS.get(parts.scheme, (parts.scheme, None))
    host = f"{parts.hostname or ''}{f':{parts.port or port}' if parts.port or port else ''}"
    return {"namespace": f"{scheme}://{host}", "name": parts.path.strip("/") or "/", "facets": {}}


def _view_columns(view: FeatureView, origins_of: Mapping[str, Json], default: Json) -> Json:
    """Return from which columns each feature is computed, through other features of its view."""
    fields = {name: {"inputFields": [_field(default, name, "IDENTITY")]} for name in view.entities}
    for feature in view.features:
        how, description = _transformation(feature)
        read = sorted(_columns_behind(view, feature))
        fields[feature.name] = {
            "inputFields": [_field(origins_of.get(column, default), column, how, description) for column in read]
        }
    dataset = list[Json]()
    if any(feature.aggregation is not None for feature in view.features) and view.source is not None:
        dataset += [_field(default, name, "GROUP_BY", kind="INDIRECT") for name in view.entities]
        dataset.append(_field(default, view.source.event_time, "WINDOW", kind="INDIRECT"))
    return _facet("columnLineage", fields=fields, dataset=dataset)


def _joined_columns(views: Iterable[FeatureView]) -> Json:
    """Return the columns of a training table that are features of views, and the entities by which they are joined."""
    fields, keys = dict[str, Json](), list[Json]()
    for view in views:
        dataset = _view(view)
        fields |= {name: {"inputFields": [_field(dataset, name, "IDENTITY")]} for name in view.feature_names}
        keys += [_field(dataset, name, "JOIN", kind="INDIRECT") for name in view.entities]
    return _facet("columnLineage", fields=fields, dataset=keys)


def _field(dataset: Json, column: str, subtype: str, description: str = "", *, kind: str = "DIRECT") -> Json:
    about = {"description": description} if description else {}
    transformation = {"type": kind, "subtype": subtype, **about}
    origin = {name: dataset[name] for name in ("namespace", "name")}
    return {**origin, "field": column, "transformations": [transformation]}


def _transformation(feature: Feature) -> tuple[str, str]:
    """Return how OpenLineage calls the way in which a feature is computed, and what is computed."""
    if feature.aggregation is not None:
        return "AGGREGATION", _window(feature.aggregation)
    return ("IDENTITY", "") if feature.expression is None else ("TRANSFORMATION", to_sql(feature.expression))


def _window(aggregation: Aggregation) -> str:
    seconds = aggregation.window_s
    length = f"{seconds // DAY_S}d" if seconds % DAY_S == 0 else f"{seconds / HOUR_S:g}h"
    return f"{aggregation.function}({aggregation.column}) over {length}"


def _columns_behind(view: FeatureView, feature: Feature) -> set[str]:
    """Return the columns that a feature reads: of its source or of the request, or features of other views."""
    known, found = {one.name: one for one in view.features}, set[str]()
    for name in input_columns([feature]):
        found |= _columns_behind(view, known[name]) if name in known and name != feature.name else {name}
    return found


def _stage(name: str, at: str, file: TrackedData) -> Json:
    source = {"sourceCode": _facet("sourceCode", language="shell", sourceCode=file.command)} if file.command else {}
    job = {"name": f"{name}.dvc.{file.stage or file.record}", "facets": source}
    return _job(job, at, [_tracked(part.name, part.digest) for part in file.inputs], [_file(file)])


def _file(file: TrackedData) -> Json:
    return _tracked(file.path, file.digest)


def _tracked(path: str, digest: str) -> Json:
    version = {"version": _facet("version", datasetVersion=digest)} if digest else {}
    return {"namespace": "dvc", "name": path, "facets": version}


def _job(job: Json, at: str, inputs: Sequence[Json], outputs: Sequence[Json]) -> Json:
    return {
        "eventTime": at,
        "job": {"namespace": "headway", "facets": {}, **job},
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/JobEvent",
    }


def _search_runs(name: str, search: SearchResult, data: Mapping[str, Provenance]) -> Iterator[Json]:
    """Yield the training of the baseline, and the search."""
    periods = search.baseline.data
    model, winner = search.baseline.model, search.winner.variant
    learned = [_data(name, period, periods[period], data) for period in ("train", "validation") if period in periods]
    judged = [_data(name, period, periods[period], data) for period in ("validation", "test") if period in periods]
    yield _run(name, "train", search.at, learned, [_version_of(name, "model", model.digest)])
    found = [_version_of(name, "variant", winner.digest)]
    yield _run(name, "optimize", search.at, [_version_of(name, "model", model.digest), *judged], found)


def _update_run(project: Project, move: PointerUpdate, made: Mapping[str, SearchResult]) -> Json:
    """Return a pointer update: from the variant and data of the release to what is live."""
    release = project.registry.resolve(f"{move.name}@{move.release}").release
    inputs = [_version_of(move.name, "variant", release.variant.digest)] if release.variant.digest in made else []
    periods = {name: digest for name, digest in release.data.items() if not name.startswith("view.")}
    inputs += [_data(move.name, period, digest, {}) for period, digest in sorted(periods.items())]
    inputs += [_view(view) for view in release.views if view.features]
    return _run(
        move.name, f"release.{move.pointer}", move.at, inputs, [_version_of(move.name, move.pointer, move.release)]
    )


def _run(name: str, job: str, at: str, inputs: Sequence[Json], outputs: Sequence[Json]) -> Json:
    what = " ".join(
        [name, job, at, *(str(dataset["facets"]["version"]["datasetVersion"]) for dataset in (*inputs, *outputs))]
    )
    return {
        "eventTime": at,
        "run": {"runId": str(uuid.uuid5(uuid.NAMESPACE_URL, what)), "facets": {}},
        "job": {"namespace": "headway", "name": f"{name}.{job}", "facets": {}},
        "inputs": list(inputs),
        "outputs": list(outputs),
        "producer": PRODUCER,
        "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
    }


def _both(run: Json) -> list[Json]:
    return [{"eventType": kind, **run} for kind in ("START", "COMPLETE")]


def _data(name: str, period: str, digest: str, data: Mapping[str, Provenance]) -> Json:
    """Return the rows of a period, with columns and source if these were saved."""
    facets = {"version": _facet("version", datasetVersion=digest)}
    if digest in data:
        version = data[digest]
        fields = [{"name": column, "type": print_.kind} for column, print_ in version.columns.items()]
        facets["schema"] = _facet("schema", fields=fields)
        facets["dataSource"] = _facet("dataSource", name=version.facts.get("source", name))
    return {"namespace": "headway", "name": f"{name}.data.{period}", "facets": facets}


def _version_of(name: str, what: str, digest: str) -> Json:
    return {
        "namespace": "headway",
        "name": f"{name}.{what}",
        "facets": {"version": _facet("version", datasetVersion=digest)},
    }


def _facet(kind: str, **fields: object) -> Json:
    file = _FACETS[kind]
    url = f"{_SPEC}/facets/{file}.json#/$defs/{file.partition('/')[2]}"
    return {"_producer": PRODUCER, "_schemaURL": url, **fields}


def send(project: Project) -> LineageDelivery:
    """Send the events that `[provenance] lineage_to` has not accepted yet, and save which it accepted.

    Without that setting the OpenLineage client decides on the receiver. A receiver that fails is not an error: the
    record says so, and the remaining events are sent next time. Raises PluginError if the client is absent, ConfigError
    without a receiver.
    """
    to = project.config[ProvenanceSection].lineage_to or ENVIRONMENT
    name, accepted = without_password(to), []
    known = {digest for sent in deliveries(project) if sent.to == name for digest in sent.events}
    fresh = {digest: event for event in events(project) if (digest := digest_of(canonical(event))) not in known}
    client, failed = load_sibling(__name__, "openlineage", reads="lineage that is sent"), ""
    try:
        for digest, _ in zip(fresh, client.emitted(list(fresh.values()), to), strict=True):
            accepted.append(digest)
    except DataError as error:
        failed = error.what
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sent = LineageDelivery(to=name, events=tuple(accepted), n_pending=len(fresh) - len(accepted), failed=failed, at=now)
    if fresh:
        project.save(sent)
    return sent


def deliveries(project: Project) -> list[LineageDelivery]:
    """Return the deliveries of a project, oldest first."""
    return project.records(LineageDelivery)


def delivery_message(sent: LineageDelivery) -> str:
    """Return one line on a delivery."""
    if sent.failed:
        return (
            f"{sent.n_pending:,} events of lineage were not accepted by {sent.to}: {sent.failed}; "
            "they are sent again next time; try: headway data send"
        )
    return f"{len(sent.events):,} events of lineage sent to {sent.to}"
