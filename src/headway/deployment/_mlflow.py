"""Write runs, model versions and aliases with MLflow's own client."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from headway.core.errors import StoreError
from headway.deployment.mlflow import MODEL_FOLDER, RELEASE_TAG, ReleaseRun
from headway.optimization.importers._mlflow import connect, failures

_BATCH = 500
_PAGE = 200
_TAKEN = "RESOURCE_ALREADY_EXISTS"


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A version of a registered model, its run, and whether this export made it."""

    version: str
    run_id: str
    is_new: bool


class Exporter:
    """Exports the releases of one name to a tracking server; what is there already is left as it is."""

    def __init__(self, name: str, *, to: str, experiment: str) -> None:
        self._client = connect(to)
        self._name = name
        with self._failures():
            self._experiment = self._experiment_id(experiment)
            self._create_model()

    def version(self, digest: str, run: Callable[[], ReleaseRun]) -> VersionInfo:
        """Return the version of a release, made if there is none; of two that were made at once the first stays."""
        with self._failures():
            there = self._versions(digest)
            if there:
                return VersionInfo(there[0].version, there[0].run_id, False)
            content = run()
            run_id = self._log(digest, content)
            source = f"{self._client.get_run(run_id).info.artifact_uri}/{MODEL_FOLDER}"
            tags = dict(content.tags)
            made = self._client.create_model_version(self._name, source, run_id=run_id, tags=tags)
            first = self._versions(digest)[0]
            if first.version != made.version:
                self._client.delete_model_version(self._name, made.version)
            return VersionInfo(str(first.version), str(first.run_id), first.version == made.version)

    def point(self, alias: str, version: str, tags: Mapping[str, str]) -> None:
        """Let an alias follow its pointer: to a version, or to none."""
        with self._failures():
            aliases = {key: str(value) for key, value in self._client.get_registered_model(self._name).aliases.items()}
            if aliases.get(alias, "") == version:
                return
            if version:
                self._client.set_registered_model_alias(self._name, alias, version)
                for key, value in tags.items():
                    self._client.set_model_version_tag(self._name, version, key, value)
            else:
                self._client.delete_registered_model_alias(self._name, alias)

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException as error:  # another export was faster
                if error.error_code != _TAKEN:
                    raise
                found = self._client.get_experiment_by_name(name)
        if found is None or found.lifecycle_stage != "active":
            raise StoreError(
                f"the experiment {name!r} was deleted in MLflow", hint="--experiment NAME, or restore it there"
            )
        return str(found.experiment_id)

    def _create_model(self) -> None:
        try:
            self._client.create_registered_model(self._name)
        except MlflowException as error:
            if error.error_code != _TAKEN:
                raise

    def _versions(self, digest: str) -> list[ModelVersion]:
        """Return the versions of a release, the first one first."""
        found = [version for version in self._all_versions() if version.tags.get(RELEASE_TAG) == digest]
        return sorted(found, key=lambda version: int(version.version))

    def _all_versions(self) -> Iterator[ModelVersion]:
        token, query = None, f"name = '{self._name}'"
        while True:
            page = self._client.search_model_versions(query, max_results=_PAGE, page_token=token)
            yield from page
            token = page.token
            if not token:
                return

    def _log(self, digest: str, content: ReleaseRun) -> str:
        """Return the finished run of a release; one that was interrupted is completed."""
        query = f"tags.`{RELEASE_TAG}` = '{digest}'"
        runs: list[Run] = self._client.search_runs([self._experiment], query, max_results=1)
        if runs and runs[0].info.status == "FINISHED":
            return str(runs[0].info.run_id)
        if runs:
            run_id = str(runs[0].info.run_id)
        else:
            tags = dict(content.tags)
            run = self._client.create_run(
                self._experiment, start_time=content.at_ms or None, tags=tags, run_name=content.name
            )
            run_id = str(run.info.run_id)
        parameters = [Param(key, value) for key, value in content.params.items()]
        self._client.log_batch(run_id, params=parameters, tags=[RunTag("headway.exported", "true")])
        metrics = (Metric(key, value, content.at_ms, 0) for key, value in content.metrics.items())
        while part := list(islice(metrics, _BATCH)):
            self._client.log_batch(run_id, metrics=part)
        with tempfile.TemporaryDirectory(prefix="headway-") as folder:
            for name, written in content.files.items():
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(written)
            self._client.log_artifacts(run_id, folder)
        self._client.set_terminated(run_id)
        return run_id

    def _failures(self) -> AbstractContextManager[None]:
        return failures("does not accept the release", self._client.tracking_uri)
