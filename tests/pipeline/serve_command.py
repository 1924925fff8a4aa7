"""The `serve` command in a separate process, as a user starts and stops it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(*words: str, folder: Path) -> Iterator[str]:
    """Yield the first line that the command prints once it listens; then stop the process and check its exit code."""
    command = [sys.executable, "-m", "headway.cli", "serve", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()
    assert process.returncode == 0
