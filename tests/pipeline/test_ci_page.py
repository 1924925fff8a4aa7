"""The workflows of the page on CI work: their commands run, job after job, on a real project.

Only the artifacts of the workflow pass from one job to the next. `pip` is not run, because headway is installed, and
`gh` records its arguments and the comment that it would post.
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
    """Return the section of a workflow that defines a job."""
    [found] = re.findall(rf"^( *){name}:\n((?:\1 +\S.*\n| *#.*\n)+)", workflow, re.MULTILINE)
    return str(found[1])


def commands(section: str) -> list[str]:
    """Return the commands of a job, in order."""
    return [run or script for run, script in COMMAND.findall(section)]


def run(lines: list[str], folder: Path) -> tuple[int, str]:
    """Run the commands of a job in one shell, up to the first failure; return the exit code and the output."""
    core = min(os.sched_getaffinity(0))
    found = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    named = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "outputs.txt")}
    ended = subprocess.run(
        ["timeout", "600", "taskset", "--cpu-list", str(core), "bash", "-c", BEGIN + "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": found, **named, "NUMBER": "7", "GITHUB_REPOSITORY": "ada/deliveries"},
        check=False,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which the first job of both workflows ran: that of GitHub writes the card at its end."""
    lines, of_gitlab = (commands(job(workflow, "measure")) for workflow in (GITHUB, GITLAB))
    assert lines[: len(of_gitlab)] == of_gitlab and "optimize" in of_gitlab[-1]
    folder = tmp_path_factory.mktemp("measured")
    (folder / "deliveries").mkdir()
    write(folder / "deliveries")
    code, output = run(lines, folder)
    assert code == cli.PASS, output
    return folder


def gate_folder(workflow: str, measured: Path, folder: Path, toml: str) -> Path:
    """Create a folder with the policy of the branch and the evidence, without code and data."""
    [path] = EVIDENCE.findall(job(workflow, "measure"))
    (folder / path).parent.mkdir(parents=True)
    shutil.copy(measured / path, folder / path)
    (folder / "deliveries/headway.toml").write_text(toml)
    return folder


STRICT = TOML.replace("at_most = 0.3", "at_most = 0.0")
RELATIVE = TOML.rpartition("[[policy")[0]
VERDICTS = [
    (TOML, cli.PASS, "pass"),
    (STRICT, cli.FAIL, "fail"),
    (RELATIVE, cli.UNDECIDED, "undecided"),
]


def test_the_workflows_have_two_jobs_and_no_untrusted_text_in_a_command() -> None:
    for workflow in (GITHUB, GITLAB):
        lines = [*commands(job(workflow, "measure")), *commands(job(workflow, "gate"))]
        assert sum(line.startswith("headway gate ") for line in lines) == 1
        assert sum(line.startswith("headway optimize ") for line in lines) == 1
        assert not [line for line in lines if "${{" in line]


@pytest.mark.parametrize(("toml", "code", "answer"), VERDICTS, ids=["pass", "fail", "undecided"])
def test_the_github_gate_fails_the_job_and_still_reports(
    measured: Path, tmp_path: Path, toml: str, code: int, answer: str
) -> None:
    folder = gate_folder(GITHUB, measured, tmp_path, toml)
    *before, comment = commands(job(GITHUB, "gate"))
    ended, output = run(before, folder)
    assert (ended, answer in output) == (code, True), output
    assert (folder / "outputs.txt").read_text().startswith(f"verdict={answer}\n")
    assert run([comment], folder)[0] == 0
    assert (folder / "summary.md").read_bytes() == (folder / "comment.md").read_bytes()
    assert (folder / "gh.txt").read_text().startswith("pr comment 7 --repo ada/deliveries")
    assert (folder / "gate.sarif").is_file()


@pytest.mark.parametrize(("toml", "code", "answer"), VERDICTS, ids=["pass", "fail", "undecided"])
def test_the_gitlab_gate_fails_the_job_and_publishes_its_tests(
    measured: Path, tmp_path: Path, toml: str, code: int, answer: str
) -> None:
    folder = gate_folder(GITLAB, measured, tmp_path, toml)
    section = job(GITLAB, "gate")
    ended, output = run(commands(section), folder)
    assert (ended, answer in output) == (code, True), output
    [tests] = re.findall(r"junit: (\S+)", section)
    top = ElementTree.parse(folder / tests).getroot()
    counts = {"pass": ("0", "0"), "fail": ("1", "0"), "undecided": ("0", "1")}
    assert (top.get("failures"), top.get("errors")) == counts[answer]
    assert all((folder / path).is_file() for path in re.findall(r"^ +- (\S+\.md)$", section, re.MULTILINE))


def test_the_card_is_written_where_the_workflow_expects_it(measured: Path) -> None:
    [path] = re.findall(r"path: (\S+\.md)", job(GITHUB, "measure"))
    assert (measured / path).read_text().startswith("# Model card: small\n")
