"""Export releases to MLflow: each as a run with its evidence and a registered version, pointers as aliases.

The same release gives one version, however often it is exported. What a run holds is listed in `docs/mlflow.md`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

import headway
from headway.core.errors import PluginError, StoreError
from headway.core.evidence import Evidence
from headway.core.plugins import load_sibling
from headway.core.record import Record, StoredRecord, write
from headway.core.release import PointerUpdate, Release
from headway.core.variant import Signature
from headway.optimization.importers.mlflow import INSTALL
from headway.registry.bundle import Bundle
from headway.registry.project import Project

EXPERIMENT = "headway"
RELEASE_TAG = "headway.release"
MODEL_FOLDER = "model"
MAX_NAME, MAX_TAG = 240, 1000
_FLAVORS = {"lightgbm": "lightgbm", "onnx": "onnx", "catboost": "catboost", "xgboost": "xgboost"}
"""Formats of artifacts, and the flavour of MLflow that loads the same bytes."""
Json = dict[str, Any]


class ExportedVersion(Record, frozen=True, kw_only=True):
    """A release in MLflow: its run, its version of the registered model, and the aliases that point at it."""

    release: str
    model: str
    version: str
    run: str
    aliases: tuple[str, ...]
    is_new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRun:
    """What the run of a release records; `files` are its artifacts, by path."""

    name: str
    at_ms: int
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    files: Mapping[str, bytes]


def export(project: Project, *, to: str = "", experiment: str = EXPERIMENT) -> list[ExportedVersion]:
    """Export the releases that the project's pointers name, and let an alias of each pointer follow it.

    Parameters
    ----------
    to : str
        Address of the tracking server; that of MLFLOW_TRACKING_URI by default.
    experiment : str
        Experiment of the runs; it is created if absent.

    Raises
    ------
    StoreError
        If the project has no release, or the server does not answer.
    """
    updates = {update.pointer: update for update in project.registry.history(project.name)}
    if not updates:
        raise StoreError("nothing was released yet", where=project.name, hint="headway release")
    try:
        library = load_sibling(__name__, "mlflow", reads="the export to MLflow")
    except PluginError as error:
        raise PluginError(error.what, hint=INSTALL) from error
    exporter = library.Exporter(project.name, to=to, experiment=experiment)
    digests = list(dict.fromkeys(update.release for update in updates.values() if update.release))
    made = {digest: exporter.version(digest, lambda digest=digest: _run_of(project, digest)) for digest in digests}
    for pointer, update in updates.items():
        exporter.point(pointer, made[update.release].version if update.release else "", pointer_tags(update))
    return [
        ExportedVersion(
            release=digest,
            model=project.name,
            version=version.version,
            run=version.run_id,
            aliases=tuple(pointer for pointer, update in updates.items() if update.release == digest),
            is_new=version.is_new,
        )
        for digest, version in made.items()
    ]


def _run_of(project: Project, digest: str) -> ReleaseRun:
    return release_run(project.registry.resolve(f"{project.name}@{digest}"))


def release_run(bundle: Bundle) -> ReleaseRun:
    """Return what the run of a verified release records."""
    release = bundle.release
    return ReleaseRun(
        name=f"{release.name} {bundle.digest.removeprefix('sha256:')[:12]}",
        at_ms=_milliseconds(release.made_at),
        tags=_release_tags(bundle),
        metrics=dict(metrics(release.evidence)),
        params={
            "variant": release.variant.name,
            "engine": release.variant.engine,
            "task": release.variant.task,
            "threshold": f"{release.threshold:g}",
            "threshold_rule": release.threshold_rule,
        },
        files=_files(bundle),
    )


def _release_tags(bundle: Bundle) -> dict[str, str]:
    release, verdict = bundle.release, bundle.release.verdict
    return {
        RELEASE_TAG: bundle.digest,
        "headway.key": bundle.key,
        "headway.variant": release.variant.digest,
        "headway.baseline": release.baseline,
        "headway.made_at": release.made_at,
        "headway.made_by": release.made_by,
        "headway.verdict": "override" if verdict.overridden else verdict.answer,
        "headway.verdict.by": verdict.by,
        "headway.verdict.why": verdict.why[:MAX_TAG],
        **{f"headway.data.{period}": digest for period, digest in release.data.items()},
    }


def pointer_tags(update: PointerUpdate) -> dict[str, str]:
    """Return the tags that say who moved a pointer to a version, when and why."""
    values = {"at": update.at, "who": update.who, "why": update.why, "number": str(update.number)}
    return {f"headway.{update.pointer}.{name}": value[:MAX_TAG] for name, value in values.items()}


def metrics(evidence: Sequence[Evidence]) -> Iterator[tuple[str, float]]:
    """Yield each finite measurement as a metric, with the ends of its interval if it has one, under period and slice.

    Characters that MLflow does not allow in a name become `_`; a name that is taken already gets a number.
    """
    used: dict[str, int] = {}
    for period, measured in ((record.period, measured) for record in evidence for measured in record.measurements):
        parts = (part.replace("/", "_") for part in (period, measured.name, measured.slice) if part)
        name = re.sub(r"[^\w\-. /]", "_", "/".join(parts), flags=re.ASCII)[:MAX_NAME]
        used[name] = number = used.get(name, 0) + 1
        name = name if number == 1 else f"{name}_{number}"
        ends = {".low": measured.low, ".high": measured.high} if measured.has_interval else {}
        values = {"": measured.value, **ends}
        yield from ((f"{name}{end}", float(value)) for end, value in values.items() if math.isfinite(value))


def _files(bundle: Bundle) -> dict[str, bytes]:
    """Return the artifacts of a run: the signed release in the folder of a model, evidence, verdict and policy."""
    release, header = bundle.release, _header(bundle)
    # Some of MLflow's loaders look for the file next to MLmodel; the release folder holds nothing but what is signed.
    plain = bundle.files if "python_function" in header["flavors"] else {}
    policy = {
        "answer": release.verdict.answer,
        "rules": [result.rule for result in release.verdict.rule_results],
    }
    return {
        f"{MODEL_FOLDER}/MLmodel": _json(header),
        **{f"{MODEL_FOLDER}/{name}": content for name, content in plain.items()},
        **{f"{MODEL_FOLDER}/release/{name}": content for name, content in bundle.contents.items()},
        **{
            f"evidence/{number}_{record.period}.json": _pretty(record) for number, record in enumerate(release.evidence)
        },
        "verdict.json": _pretty(release.verdict),
        "policy.json": _json(policy),
    }


def _header(bundle: Bundle) -> Json:
    """Return an MLmodel file, as JSON, which is YAML as well.

    A flavour of MLflow is listed only where the bytes alone answer as the release does: numbers in, no calibrator.
    """
    release, model = bundle.release, bundle.release.variant
    file = next(name for name, digest in release.files.items() if digest == model.artifact.digest)
    flavors: Json = {"headway": {"release": bundle.digest, "data": "release", "headway_version": headway.__version__}}
    flavor = _FLAVORS.get(model.artifact.format, "")
    if flavor and not release.calibrator and all(field.datatype == "FP64" for field in model.signature.inputs):
        flavors[flavor] = {"data": file, "code": None, **_flavor_facts(flavor, release)}
        flavors["python_function"] = {"loader_module": f"mlflow.{flavor}", "data": file, "env": {}}
    return {
        "artifact_path": MODEL_FOLDER,
        "flavors": flavors,
        "signature": {"inputs": _json(_columns(model.signature)).decode(), "outputs": None, "params": None},
        "utc_time_created": release.made_at,
    }


def _flavor_facts(flavor: str, release: Release) -> Json:
    """Return what a flavour asks for besides the file."""
    kinds = {"binary": "CatBoostClassifier", "multiclass": "CatBoostClassifier", "ranking": "CatBoostRanker"}
    facts: dict[str, Json] = {
        "lightgbm": {"model_class": "lightgbm.basic.Booster"},
        "xgboost": {"model_class": "xgboost.core.Booster"},
        "catboost": {"model_type": kinds.get(release.variant.task, "CatBoostRegressor"), "save_format": "cbm"},
        "onnx": {"providers": ["CPUExecutionProvider"], "onnx_session_options": None},
    }
    return facts[flavor]


def _columns(signature: Signature) -> list[Json]:
    return [
        {"name": field.name, "type": "string" if field.datatype == "BYTES" else "double", "required": True}
        for field in signature.inputs
    ]


def _pretty(record: StoredRecord) -> bytes:
    return msgspec.json.format(write(record), indent=1)


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000) if time else 0
