"""Environments as users create them, on a machine without a compiler and without this repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.house.source_tree import ROOT, tracked

# Programs for shell scripts; none of them can compile.
PROGRAMS = ("sh", "env", "cat", "uname", "id")
COMPILERS = ("cc", "gcc", "c++", "g++", "clang", "x86_64-linux-gnu-gcc", "aarch64-linux-gnu-gcc")
# The machine decides where pip finds packages and how it reaches them.
PASSED = re.compile(r"PIP_|SSL_|REQUESTS_|[a-z]+_proxy$|[A-Z]+_PROXY$")


@dataclass(frozen=True)
class Environment:
    """A virtual environment in `folder/venv`, with `folder` as home and a PATH without a compiler."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables of a process in this environment."""
        passed = {name: value for name, value in os.environ.items() if PASSED.match(name)}
        pins = {name: str(ROOT / "constraints.txt") for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT")}
        path = os.pathsep.join([str(self.folder / "venv/bin"), str(self.folder / "bin")])
        none = dict.fromkeys(("CC", "CXX", "LDSHARED"), "/bin/false")
        return {**passed, **pins, **none, "PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8"}

    @property
    def packages(self) -> Path:
        """Return its site-packages."""
        (found,) = self.folder.glob("venv/lib/python*/site-packages")
        return found

    def run(self, *words: object, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program that is installed here, in `folder`, and return how it ended."""
        command = [str(self.folder / "venv/bin" / str(words[0])), *map(str, words[1:])]
        options = {"cwd": self.folder, "env": self.variables, "timeout": timeout_s}
        return subprocess.run(command, check=False, capture_output=True, text=True, **options)

    @contextmanager
    def running(self, *words: object) -> Iterator[str]:
        """Yield the first line that a program prints, then stop the program and check that it ends well."""
        command = [str(self.folder / "venv/bin" / str(words[0])), *map(str, words[1:])]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.variables, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            try:
                yield process.stdout.readline()
            finally:
                process.terminate()
        assert process.returncode == 0


def create(folder: Path, requirement: str, *, python: str = sys.executable) -> Environment:
    """Create an environment that holds what pip installs for a requirement."""
    (folder / "bin").mkdir(parents=True)
    for name in PROGRAMS:
        found = shutil.which(name)
        if found:
            (folder / "bin" / name).symlink_to(found)
    subprocess.run([python, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    environment = Environment(folder)
    compiler = [name for name in COMPILERS if shutil.which(name, path=environment.variables["PATH"])]
    assert not compiler, compiler
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "venv"), "install", "--quiet", "--no-input"]
    ended = subprocess.run(
        [*pip, requirement], cwd=folder, env=environment.variables, check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return environment


def copy_sources(folder: Path) -> Path:
    """Copy the tracked files of the repository, so that a build neither leaves nor finds old files."""
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


def build(source: Path, out: Path, kind: str, *, builder: Sequence[str]) -> Path:
    """Build the sdist or wheel (`kind`) of a source folder by the hook that every build tool calls."""
    out.mkdir(exist_ok=True)
    hook = f"import setuptools.build_meta as backend, sys; backend.build_{kind}(sys.argv[1])"
    ended = subprocess.run([*builder, "-c", hook, str(out)], cwd=source, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (found,) = out.iterdir()
    return found
