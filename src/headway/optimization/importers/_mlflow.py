"""Connect to an MLflow tracking server with MLflow's own client, and download the models of its registry.

The server is that of MLFLOW_TRACKING_URI; a user and password or a token come from MLflow's own variables. Nothing is
reported to MLflow's makers, and a server that is away is asked for seconds, not for minutes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}.items():
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402

from headway.core.errors import ConfigError, StoreError  # noqa: E402
from headway.core.urls import without_password  # noqa: E402

TRACKING_URI = "MLFLOW_TRACKING_URI"
_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
_FAILURES = (MlflowException, OSError, ValueError)  # errors of requests are OSErrors


def connect(tracking_uri: str = "") -> MlflowClient:
    """Return a client of a tracking server, by default the one that this process uses, or MLFLOW_TRACKING_URI names.

    Raises ConfigError if none is set, or its address has a password.
    """
    own = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else ""
    uri, where = (tracking_uri, "--to") if tracking_uri else (own, TRACKING_URI)
    if not uri:
        raise ConfigError("no MLflow tracking server is set", where=where, hint=f"{TRACKING_URI}=https://HOST")
    if without_password(uri) != uri:
        raise ConfigError(
            "the address of the MLflow server has a password",
            where=f"{where}: {without_password(uri)}",
            hint="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        )
    if uri != own:
        mlflow.set_tracking_uri(uri)
    with failures("cannot be used", uri):
        return MlflowClient(tracking_uri=uri)


def download(address: str, folder: Path) -> str:
    """Download the model at an address into a folder; return the folder that holds its MLmodel file."""
    client = connect()
    with failures(f"does not give {address}", client.tracking_uri):
        return str(mlflow.artifacts.download_artifacts(artifact_uri=address, dst_path=str(folder)))


@contextmanager
def failures(what: str, uri: str) -> Iterator[None]:
    """Raise StoreError, without a secret, for any failure of MLflow's client."""
    try:
        yield
    except _FAILURES as error:
        message = str(error).partition("\n")[0]
        for secret in filter(None, map(os.environ.get, _SECRETS)):
            message = message.replace(secret, "***")
        raise StoreError(
            f"the MLflow server {what}: {without_password(message)[:300]}",
            where=without_password(uri),
            hint=f"is the server up, and may this user read it? {TRACKING_URI} names it",
        ) from error
