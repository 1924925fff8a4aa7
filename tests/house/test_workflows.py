"""The workflows and the action are valid, and the gate action and the workflow of the docs run on a real project.

act runs them on this machine instead of a container. Nothing is fetched: the actions of others are folders here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.environments import copy_sources
from tests.house.source_tree import ROOT
from tests.pipeline.projects import TRAIN
from tests.pipeline.test_ci_page import BRING, GITHUB, ROUNDS, SHARED, expect_done, write_repository

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

    ended = run_act(folder, tmp_path / "home", "push")

    assert ended.returncode == 0, ended.stdout[-3000:]
    assert "verdict=" in ended.stdout
    assert shutil.which("headway", path=str(BIN))


def run_act(folder: Path, home: Path, event: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the workflow `gate.yml` of a repository on an event."""
    home.mkdir()
    path = os.pathsep.join([str(home.parent / "programs"), str(BIN), os.environ["PATH"]])
    return subprocess.run(
        [str(BIN / "act"), event, "-W", ".github/workflows/gate.yml", "-P", "ubuntu-latest=-self-hosted", *words],
        cwd=folder,
        env={**os.environ, "PATH": path, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables},
        check=False,
        capture_output=True,
        text=True,
        timeout=600,
    )


CHECKOUT = """
git init --quiet . && git remote add origin {origin}
git fetch --quiet --depth 1 origin "${{{{ inputs.ref }}}}" && git checkout --quiet --force --detach FETCH_HEAD
"""
ACTIONS = {
    "actions/checkout@v4": CHECKOUT,
    "actions/setup-python@v5": "true",
    "actions/upload-artifact@v4": 'mkdir -p {store} && cp -r "${{{{ inputs.path }}}}" "{store}/${{{{ inputs.name }}}}"',
    "actions/download-artifact@v4": 'cp -r "{store}/${{{{ inputs.name }}}}" "${{{{ inputs.path }}}}"',
    "github/codeql-action@v3": 'test -s "${{{{ inputs.sarif_file }}}}"',
}
"""What the actions of others do on this machine, where artifacts are in the folder `store`."""
INPUTS = ("ref", "python-version", "path", "name", "sarif_file")
ACTION = """
name: a stand-in
description: It does on this machine what the action of that name does at GitHub.
inputs: {inputs}
runs:
  using: composite
  steps:
    - shell: bash
      run: {script}
"""


def stand_ins(main: Path, folder: Path) -> list[str]:
    """Write the actions of others into a folder; return the options by which act takes them from there."""
    words = []
    for name, script in ACTIONS.items():
        where = folder / name.partition("@")[0]
        run = script.format(origin=f"file://{main.parent}/origin", store=folder / "artifacts").strip()
        text = ACTION.format(inputs=json.dumps({key: {"default": ""} for key in INPUTS}), script=json.dumps(run))
        inside = where / "upload-sarif" if "codeql" in name else where
        inside.mkdir(parents=True)
        (inside / "action.yml").write_text(text, encoding="utf-8")
        words += ["--local-repository", f"{name}={where}"]
    return words


def judge_pull_request(main: Path, folder: Path, workflow: str, rounds: str, **variables: str) -> tuple[int, str]:
    """Run a workflow on a pull request with another number of rounds; return the exit code of act and its output."""
    pull = folder / "pull"
    file = pull / ".github/workflows/gate.yml"
    expect_done([f"git clone --quiet --branch main file://{main.parent}/origin {pull}"], folder)
    base = expect_done(["git rev-parse HEAD"], pull).strip()
    file.parent.mkdir(parents=True)
    file.write_text(workflow, encoding="utf-8")
    (pull / "deliveries/mine.py").write_text(TRAIN.replace(ROUNDS, rounds), encoding="utf-8")
    expect_done(["git checkout --quiet -b change", "git add --all", "git commit --quiet -m 'other rounds'"], pull)
    (folder / "programs").mkdir()
    for program in ("pip", "gh"):
        (folder / "programs" / program).write_text("#!/bin/sh\n", encoding="utf-8")
        (folder / "programs" / program).chmod(0o755)
    repository = {"full_name": "ada/deliveries"}
    event = {
        "pull_request": {
            "number": 7,
            "base": {"sha": base, "ref": "main"},
            "head": {"ref": "change", "repo": repository},
        },
        "repository": repository,
    }
    (folder / "event.json").write_text(json.dumps(event), encoding="utf-8")
    secrets = [word for name, value in variables.items() for word in ("--secret", f"{name}={value}")]
    words = ["--eventpath", str(folder / "event.json"), *stand_ins(main, folder / "actions"), *secrets]
    ended = run_act(pull, folder / "home", "pull_request", *words, HEADWAY_OPTIMIZE_BUDGET_S="4")
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def main_with_ref(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository whose live release is on a ref."""
    return write_repository(tmp_path_factory.mktemp("ref"))


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize(("rounds", "passes"), [("num_boost_round=2", False), ("num_boost_round=20 * 2", True)])
def test_the_workflow_of_the_docs_judges_against_the_release_of_a_ref(
    main_with_ref: Path, tmp_path: Path, rounds: str, passes: bool
) -> None:
    code, output = judge_pull_request(main_with_ref, tmp_path, GITHUB, rounds)
    assert "against the live release " in output, output[-5000:]
    assert (code == 0) == passes, output[-5000:]
    assert ("verdict=pass" in output) == passes


@pytest.mark.slow
@pytest.mark.services
def test_the_workflow_of_the_docs_judges_against_the_release_in_a_shared_store(
    postgresql: str, s3: str, tmp_path: Path
) -> None:
    main = write_repository(tmp_path, settings=f'[store]\nstate = "{postgresql}"\nblobs = "{s3}"\n')
    lines = [line for line in GITHUB.splitlines() if not line.endswith(tuple(BRING))]
    begin, end = (
        lines.index("      - id: gate"),
        next(i for i, line in enumerate(lines) if line.startswith("      # The")),
    )
    workflow = "\n".join([*lines[:begin], SHARED.rstrip("\n"), *lines[end:], ""])
    secrets = {name: os.environ[name] for name in ("PGPASSWORD", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    code, output = judge_pull_request(main, tmp_path, workflow, "num_boost_round=2", **secrets)
    assert code != 0 and "against the live release " in output, output[-5000:]
    assert "verdict=pass" not in output and "verdict=" in output
