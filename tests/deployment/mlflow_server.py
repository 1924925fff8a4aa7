"""An MLflow tracking server of its own for the tests: on a free port of this machine, in a temporary folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_S = 150.0


def program() -> str:
    """Return the path of `mlflow`; the test fails without it, since it needs a real server."""
    installed = Path(sys.executable).with_name("mlflow")
    found = str(installed) if installed.exists() else shutil.which("mlflow")
    assert found, "no MLflow on this machine\n  try: tools/venv services, or pip install mlflow"
    return found


@contextmanager
def server() -> Iterator[str]:
    """Yield the address of a server that answers, with a database and artifacts of its own."""
    with tempfile.TemporaryDirectory(prefix="headway-mlflow-", ignore_cleanup_errors=True) as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            *(program(), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"),
        ]
        log = Path(folder) / "log"
        settings = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=folder, env=settings, stdout=output, stderr=output, start_new_session=True
            )
            try:
                _wait(f"http://127.0.0.1:{port}/health", process, log)
                yield f"http://127.0.0.1:{port}"
            finally:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"the MLflow server did not answer: {log.read_text(errors='replace')[-2000:]}")
