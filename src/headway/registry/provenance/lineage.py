"""Lineage as OpenLineage events (spec 2-0-2): training, search and each pointer update.

What DVC recorded of the data comes first, as job events: DVC knows what the data are made from, not when it ran.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from headway.core.provenance import Provenance, Tracked
from headway.core.record import canonical
from headway.core.release import PointerUpdate
from headway.core.search_result import SearchResult
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
    frontiers = project.records(SearchResult)
    runs = [run for frontier in frontiers for run in _searched(project.name, frontier, data)]
    made = {result.winner.variant.digest: result for result in frontiers}
    runs += [_moved(project, move, made) for move in project.register.history(project.name) if move.release]
    run_events = [event for run in sorted(runs, key=lambda run: str(run["eventTime"])) for event in _both(run)]
    return [*_made_by_dvc(project.name, data.values()), *run_events]


def _made_by_dvc(name: str, versions: Iterable[Provenance]) -> Iterator[Json]:
    """Yield the DVC stages that made the data, and how the periods come from its files, each once."""
    seen: set[bytes] = set()
    for version in versions:
        files = [file for file in version.tracked if file.digest and not file.unlike]
        events = [_stage(name, version.at, file) for file in files if file.made_from or file.command]
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


def _stage(name: str, at: str, file: Tracked) -> Json:
    source = {"sourceCode": _facet("sourceCode", language="shell", sourceCode=file.command)} if file.command else {}
    job = {"name": f"{name}.dvc.{file.stage or file.record}", "facets": source}
    return _job(job, at, [_tracked(part.name, part.digest) for part in file.made_from], [_file(file)])


def _file(file: Tracked) -> Json:
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


def _searched(name: str, frontier: SearchResult, data: Mapping[str, Provenance]) -> Iterator[Json]:
    """Yield the training of the baseline, and the search."""
    periods = frontier.baseline.data
    model, winner = frontier.baseline.model, frontier.winner.variant
    learned = [_data(name, period, periods[period], data) for period in ("train", "validation") if period in periods]
    judged = [_data(name, period, periods[period], data) for period in ("validation", "test") if period in periods]
    yield _run(name, "train", frontier.at, learned, [_made(name, "model", model.digest)])
    found = [_made(name, "variant", winner.digest)]
    yield _run(name, "optimize", frontier.at, [_made(name, "model", model.digest), *judged], found)


def _moved(project: Project, move: PointerUpdate, made: Mapping[str, SearchResult]) -> Json:
    """Return a pointer update: from the variant and data of the release to what is live."""
    release = project.register.resolve(f"{move.name}@{move.release}").release
    inputs = [_made(move.name, "variant", release.variant.digest)] if release.variant.digest in made else []
    inputs += [_data(move.name, period, digest, {}) for period, digest in sorted(release.data.items())]
    return _run(move.name, f"release.{move.pointer}", move.at, inputs, [_made(move.name, move.pointer, move.release)])


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


def _made(name: str, what: str, digest: str) -> Json:
    return {
        "namespace": "headway",
        "name": f"{name}.{what}",
        "facets": {"version": _facet("version", datasetVersion=digest)},
    }


def _facet(kind: str, **fields: object) -> Json:
    file = _FACETS[kind]
    url = f"{_SPEC}/facets/{file}.json#/$defs/{file.partition('/')[2]}"
    return {"_producer": PRODUCER, "_schemaURL": url, **fields}
