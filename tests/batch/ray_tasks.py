"""Tasks for the workers of Ray, which import them by name."""

from __future__ import annotations

import os
from pathlib import Path

from headway.core.errors import DataError


def probe(shared: str, task: int) -> tuple[int, bytes, bytes, int]:
    """Return what the process of a worker shows: its id, environment, command line, and its parent."""
    own = Path("/proc/self")
    return os.getpid(), (own / "environ").read_bytes(), (own / "cmdline").read_bytes(), os.getppid()


def fail(shared: str, task: int) -> None:
    raise DataError(f"row {task} is wrong", where=shared, hint="correct it")
