"""Lineage as OpenLineage events (spec 2-0-2), and their delivery: training, search and each pointer update.

What DVC recorded of the data comes first, as job events: DVC knows what the data are made from, not when it ran.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from headway.core.errors import DataError
from headway.core.plugins import load_sibling
from headway.core.provenance import LineageDelivery, Provenance, TrackedData
from headway.core.record import canonical, digest_of
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchResult
from headway.core.sections import ENVIRONMENT, without_password
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
}


def events(project: Project) -> list[Json]:
    """Return the events of a project, oldest first, START and COMPLETE of each run; equal records give equal events."""
    data = {version.digest: version for version in origins.saved_versions(project)}
    searches = project.records(SearchResult)
    runs = [run for search in searches for run in _search_runs(project.name, search, data)]
    made = {result.winner.variant.digest: result for result in searches}
    runs += [_update_run(project, move, made) for move in project.registry.history(project.name) if move.release]
    run_events = [event for run in sorted(runs, key=lambda run: str(run["eventTime"])) for event in _both(run)]
    return [*_dvc_events(project.name, data.values()), *run_events]


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
    inputs += [_data(move.name, period, digest, {}) for period, digest in sorted(release.data.items())]
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
    to = project.config.provenance.lineage_to or ENVIRONMENT
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
