"""Virtual environments for third-party clients, whose pins need not fit headway's."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Environment:
    """A virtual environment."""

    def __init__(self, folder: Path, *packages: str) -> None:
        self.folder = folder
        python = shutil.which("python3.11") or sys.executable
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        self.run("python", "-m", "pip", "install", "--quiet", "--no-compile", *packages)

    def run(self, program: str, *words: str, **variables: str) -> str:
        """Run an installed program and return its output; a failure shows it."""
        command, environ = [str(self.folder / "venv" / "bin" / program), *words], {**os.environ, **variables}
        run = subprocess.run(command, cwd=self.folder, env=environ, check=False, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout


@contextmanager
def environment(*packages: str) -> Iterator[Environment]:
    """Create an environment with these packages, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="headway-client-") as folder:
        yield Environment(Path(folder), *packages)
