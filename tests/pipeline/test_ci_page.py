"""The workflows of the page on CI do what they say: their commands are run, job after job, on a real project.

Between two jobs goes only what the workflow hands on. `pip` is not run, for headway is installed, and `gh` is a note of
how it was called, with the comment that it would post.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.house.pages import code_blocks
from tests.pipeline.projects import TOML, write

from headway.cli import main as cli

pytestmark = pytest.mark.slow
GITHUB, GITLAB = code_blocks("docs/ci.md", "yaml")
COMMAND = re.compile(r"^ +(?:- )?run: (.+)$|^    - (?!uses:|run:|if:|id:)(\w.* .*)$", re.MULTILINE)
EVIDENCE = re.compile(r"(?:path: |- )(\S+\.sqlite)$", re.MULTILINE)
BEGIN = """set -e
pip() { :; }
gh() { printf '%s\\n' "$*" > gh.txt; while [ "$1" != --body-file ]; do shift; done; cat "$2" > comment.md; }
"""


def job(workflow: str, name: str) -> str:
    """The part of a workflow that is this job."""
    [found] = re.findall(rf"^( *){name}:\n((?:\1 +\S.*\n| *#.*\n)+)", workflow, re.MULTILINE)
    return str(found[1])


def commands(part: str) -> list[str]:
    """What a job runs, in order."""
    return [run or script for run, script in COMMAND.findall(part)]


def run(lines: list[str], folder: Path) -> tuple[int, str]:
    """Run the commands of a job as its shell does, up to the first that stops it; the exit code and what was said."""
    core = min(os.sched_getaffinity(0))
    found = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    named = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "outputs.txt")}
    ended = subprocess.run(
        ["timeout", "120", "taskset", "--cpu-list", str(core), "bash", "-c", BEGIN + "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": found, **named, "NUMBER": "7", "GITHUB_REPOSITORY": "ada/deliveries"},
        check=False,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder in which each workflow's first job ran."""
    places = {"github": GITHUB, "gitlab": GITLAB}
    for name, workflow in list(places.items()):
        folder = tmp_path_factory.mktemp(name)
        (folder / "deliveries").mkdir()
        write(folder / "deliveries")
        code, said = run(commands(job(workflow, "measure")), folder)
        assert code == cli.PASS, said
        places[name] = folder
    return places


def handed_on(workflow: str, measured: Path, folder: Path, toml: str) -> Path:
    """A runner that has the policy of the branch and the evidence, and neither code nor data."""
    [path] = EVIDENCE.findall(job(workflow, "measure"))
    (folder / path).parent.mkdir(parents=True)
    shutil.copy(measured / path, folder / path)
    (folder / "deliveries/headway.toml").write_text(toml)
    return folder


STRICT = TOML.replace("at_most = 0.3", "at_most = 0.0")
JUDGED = [
    (TOML, cli.PASS, "pass"),
    (STRICT, cli.FAIL, "fail"),
    (TOML.partition("[[policy")[0], cli.UNDECIDED, "undecided"),
]


def test_the_workflows_have_two_jobs_and_no_text_of_a_stranger_in_a_command() -> None:
    for workflow in (GITHUB, GITLAB):
        lines = [*commands(job(workflow, "measure")), *commands(job(workflow, "gate"))]
        assert sum(line.startswith("headway gate ") for line in lines) == 1
        assert sum(line.startswith("headway optimize ") for line in lines) == 1
        assert not [line for line in lines if "${{" in line]


@pytest.mark.parametrize(("toml", "code", "answer"), JUDGED, ids=["pass", "fail", "undecided"])
def test_the_gate_of_github_stops_the_job_and_still_reports(
    measured: dict[str, Path], tmp_path: Path, toml: str, code: int, answer: str
) -> None:
    folder = handed_on(GITHUB, measured["github"], tmp_path, toml)
    *before, comment = commands(job(GITHUB, "gate"))
    ended, said = run(before, folder)
    assert (ended, answer in said) == (code, True), said
    assert (folder / "outputs.txt").read_text().startswith(f"verdict={answer}\n")
    assert run([comment], folder)[0] == 0
    assert (folder / "summary.md").read_bytes() == (folder / "comment.md").read_bytes()
    assert (folder / "gh.txt").read_text().startswith("pr comment 7 --repo ada/deliveries")
    assert (folder / "gate.sarif").is_file()


@pytest.mark.parametrize(("toml", "code", "answer"), JUDGED, ids=["pass", "fail", "undecided"])
def test_the_gate_of_gitlab_stops_the_job_and_hands_on_its_tests(
    measured: dict[str, Path], tmp_path: Path, toml: str, code: int, answer: str
) -> None:
    folder = handed_on(GITLAB, measured["gitlab"], tmp_path, toml)
    part = job(GITLAB, "gate")
    ended, said = run(commands(part), folder)
    assert (ended, answer in said) == (code, True), said
    [tests] = re.findall(r"junit: (\S+)", part)
    top = ElementTree.parse(folder / tests).getroot()
    counts = {"pass": ("0", "0"), "fail": ("1", "0"), "undecided": ("0", "1")}
    assert (top.get("failures"), top.get("errors")) == counts[answer]
    assert all((folder / path).is_file() for path in re.findall(r"^ +- (\S+\.md)$", part, re.MULTILINE))


def test_the_card_is_written_where_the_workflow_takes_it_from(measured: dict[str, Path]) -> None:
    [path] = re.findall(r"path: (\S+\.md)", job(GITHUB, "measure"))
    assert (measured["github"] / path).read_text().startswith("# Model card: small\n")
