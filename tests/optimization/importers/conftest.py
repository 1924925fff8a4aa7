"""Trusted files that are opened without a process of their own."""

from __future__ import annotations

import subprocess

import pytest

from headway.optimization.importers import confinement, models, unpickle


@pytest.fixture
def opened_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open trusted files in the process of the test: it has imported the libraries, which take two seconds."""

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        _python, _m, confined, _folder, module, *words = command
        assert (confined, module) == (confinement.__name__, unpickle.__name__)
        unpickle.main(*words)
        return subprocess.CompletedProcess(command, 0, "[]\n", "")

    monkeypatch.setattr(models.subprocess, "run", run)
