"""The workflows and the action are valid, and the gate action runs on a real project."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.environments import copy_sources
from tests.house.source_tree import ROOT

BIN = Path(sys.executable).parent
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def validate(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    """Validate files against a schema that check-jsonschema brings along; it fetches nothing."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("schema", "files"),
    [("vendor.github-workflows", WORKFLOWS), ("vendor.github-actions", [ROOT / "action.yml"])],
    ids=["workflows", "action"],
)
def test_the_files_of_github_fit_their_schema(schema: str, files: list[Path]) -> None:
    assert files
    ended = validate(schema, *files)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.slow
def test_a_job_without_a_runner_is_found(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs:\n  a:\n    steps:\n      - run: make check\n", encoding="utf-8")
    assert validate("vendor.github-workflows", broken).returncode == 1


@pytest.mark.slow
@pytest.mark.services
def test_the_gate_action_judges_a_project(tmp_path: Path) -> None:
    """Run the workflow with act, on this machine instead of a container."""
    folder = copy_sources(tmp_path / "repository")
    git = ["git", "-c", "user.name=ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "a copy"]):
        subprocess.run([*git, *words], cwd=folder, check=True)
    venv = f"#!/bin/sh\nmkdir -p .venv\nln -sfn {BIN} .venv/bin\n"
    (folder / "tools/venv").write_text(venv, encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()

    command = [str(BIN / "act"), "push", "-W", ".github/workflows/gate.yml", "-P", "ubuntu-latest=-self-hosted"]
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )

    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "verdict=" in ended.stdout
    assert shutil.which("headway", path=str(BIN))
