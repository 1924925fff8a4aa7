"""Export releases with their evidence to another tool: MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headway.cli.main import AsJson, ProjectFolder
from headway.deployment import mlflow
from headway.registry.project import open_project
from headway.reporting.console import print_result

Form = Literal["mlflow"]


def plugin(
    form: Form,  # noqa: ARG001 - one form so far
    to: str = "",
    *,
    experiment: str = mlflow.EXPERIMENT,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> None:
    """Export the releases that pointers name to MLflow: runs with evidence, model versions, and aliases.

    An alias of each pointer (live, canary) follows it. A release that was exported before is not exported again.

    Example: headway export mlflow https://mlflow.example --project headway-demo

    Parameters
    ----------
    form
        mlflow.
    to
        Address of the tracking server, without a password; default: MLFLOW_TRACKING_URI.
    experiment
        Experiment of the runs.
    """
    versions = mlflow.export(open_project(project), to=to, experiment=experiment)
    lines = [
        f"{version.model} version {version.version}{'' if version.is_new else ' (was there)'}: {version.release[:19]}, "
        f"run {version.run}, aliases: {', '.join(version.aliases)}"
        for version in versions
    ]
    lines += [
        f"next: mlflow.artifacts.download_artifacts('models:/{version.model}@{alias}')"
        for version in versions[:1]
        for alias in version.aliases[:1]
    ]
    print_result(versions, "\n".join(lines) or "no pointer names a release; aliases were removed", json=json)
