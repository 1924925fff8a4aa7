"""The server as it was at an earlier commit: checked out and built on first use, with a project of its own.

It runs in this environment, so that a ratio to it is one of headway's code alone.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cache import HERE, Absent, folder, made
from serving.processes import READY, Server, started
from tiny import is_tiny

COMMIT = "e9932e7"
_PROJECT = """
import sys
from pathlib import Path
from serve_models import by_trees, new_caller, project
folder = Path(sys.argv[1])
project(folder, {"trees": by_trees()})
print(new_caller(folder))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """The earlier server, and an API key of its project."""

    server: Server
    key: str


def checkout(commit: str = COMMIT) -> Path:
    """Return the folder of earlier code with its extensions built; raises Absent if this clone lacks the commit."""
    if is_tiny():
        raise Absent(f"commit {commit} is not built in tiny mode")
    return made(folder("before", of=[commit, sys.version]), partial(_check_out, commit))


def _check_out(commit: str, directory: Path) -> None:
    archive = subprocess.run(["git", "-C", str(HERE.parent), "archive", commit], capture_output=True)
    if archive.returncode:
        raise Absent(f"commit {commit}: {archive.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(directory, filter="data")
    include = sysconfig.get_path("include")
    for extension in tomllib.loads((directory / "pyproject.toml").read_text())["tool"]["setuptools"]["ext-modules"]:
        output = f"src/{extension['name'].replace('.', '/')}.abi3.so"
        command = ["gcc", "-shared", "-fPIC", *extension["extra-compile-args"], f"-I{include}", "-o", output]
        subprocess.run([*command, *extension["sources"]], cwd=directory, check=True)


@contextmanager
def serving(*, more: Mapping[str, str] | None = None) -> Iterator[Earlier]:
    """Start the earlier server with the trees of `bench/serve.py` and everything on."""
    code = checkout()
    around = {"PYTHONPATH": os.pathsep.join([str(code / "src"), str(code / "bench")]), **(more or {})}
    with tempfile.TemporaryDirectory() as name:
        made_by = [sys.executable, "-c", _PROJECT, name]
        run = subprocess.run(made_by, env={**os.environ, **around}, check=True, stdout=subprocess.PIPE, text=True)
        command = [sys.executable, "-m", "headway.face", "serve", "trees@live", "--project", name, "--port", "{port}"]
        with started(command, asks=READY, environment=around) as server:
            yield Earlier(server=server, key=run.stdout.strip())
