"""The workflows of the page on CI work: their commands run, job after job, in a repository with a real project.

The first job runs in a clone with the pull request, the second in a clone of main. Only the artifact of the workflow
passes from one to the other. `pip` is not run, because headway is installed, and `gh` records its arguments and the
comment that it would post, and copies the release that it would download.
"""

from __future__ import annotations

import doctest
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.house.pages import blocks, code_blocks
from tests.pipeline.forked_headway import forked_headway
from tests.pipeline.projects import TOML, TRAIN, write
from tests.pipeline.test_pages import AS_SHOWN, commands_and_outputs

from headway.cli import main as cli

pytestmark = pytest.mark.slow
GITHUB, SHARED, ARTIFACT, GITLAB = code_blocks("docs/ci.md", "yaml")
SEARCH, PUSH = code_blocks("docs/ci.md", "console")
COMMAND = re.compile(r"^ +(?:- )?run: (.+)$|^    - (?!uses:|run:|if:|id:)(\w.* .*)$", re.MULTILINE)
BEGIN = """set -e
pip() { :; }
gh() {
  printf '%s\\n' "$*" >> gh.txt
  case "$1 $2" in
    "run list") echo 17 ;;
    "run download") while [ "$1" != --dir ]; do shift; done; [ "$3" = 17 ]; cp -r "$LIVE" "$2" ;;
    *) while [ "$1" != --body-file ]; do shift; done; cat "$2" > comment.md ;;
  esac
}
"""
OUTSIDE = ".headway/\nlive/\nkeys/publisher.pem\ncandidate/\n"
"""What the repository does not hold."""
PERSON = {
    "GIT_AUTHOR_NAME": "ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


def job(workflow: str, name: str) -> str:
    """Return the section of a workflow that defines a job."""
    [found] = re.findall(rf"^( *){name}:\n((?:\1 +\S.*\n| *#.*\n)+)", workflow, re.MULTILINE)
    return str(found[1])


def commands(section: str) -> list[str]:
    """Return the commands of a job, in order."""
    return [run or script for run, script in COMMAND.findall(section)]


MEASURE = commands(job(GITHUB, "measure"))
*GATE, COMMENT = commands(job(GITHUB, "gate"))
BRING = [line for line in GATE if "FETCH_HEAD" in line or "headway-live" in line]


INSTALLED = Path(sys.executable).parent
"""The folder of the command `headway` as pip installs it."""
COMMANDS = [INSTALLED]
"""Where a shell looks for commands first."""


@pytest.fixture(scope="module", autouse=True)
def forked() -> Iterator[None]:
    """Fork the process of a command `headway` from one that has its libraries loaded."""
    with forked_headway() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "COMMANDS", [folder, INSTALLED])
        yield


def run(lines: Sequence[str], folder: Path, **variables: str) -> tuple[int, str]:
    """Run the commands of a job in one shell, up to the first failure; return the exit code and the output."""
    core = min(os.sched_getaffinity(0))
    found = os.pathsep.join([*map(str, COMMANDS), os.environ["PATH"]])
    named = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "GITHUB_OUTPUT": str(folder / "outputs.txt")}
    named |= {"NUMBER": "7", "GITHUB_REPOSITORY": "ada/deliveries", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    named |= {"HEADWAY_OPTIMIZE_BUDGET_S": "4"}
    ended = subprocess.run(
        ["timeout", "600", "taskset", "--cpu-list", str(core), "bash", "-c", BEGIN + "\n".join(lines)],
        cwd=folder,
        env={**os.environ, "PATH": found, **PERSON, **named, **variables},
        check=False,
        capture_output=True,
        text=True,
    )
    return ended.returncode, ended.stdout + ended.stderr


def expect_done(lines: Sequence[str], folder: Path, **variables: str) -> str:
    code, output = run(lines, folder, **variables)
    assert code == cli.PASS, output
    return output


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository of a person who has released, and pushed the release as the page says."""
    return write_repository(tmp_path_factory.mktemp("repository"))


def write_repository(folder: Path, *, settings: str = "") -> Path:
    """Write a repository with a project that has released, and its remote, the folder `origin` next to it.

    The release is pushed to a ref unless there are settings, those of a shared store.
    """
    project = folder / "main/deliveries"
    project.mkdir(parents=True)
    write(project, TOML.replace('trusted_keys = "keys/trusted_keys.txt"\n', "") + settings)
    (folder / "main/.gitignore").write_text(OUTSIDE)
    expect_done(["git init --quiet --bare --initial-branch main origin"], folder)
    expect_done(
        ["git init --quiet --initial-branch main", f"git remote add origin file://{folder}/origin"], folder / "main"
    )
    if settings:
        expect_done(["headway optimize --project deliveries"], folder / "main")
    else:
        run_console(SEARCH, folder / "main")
    save = ["git add --all", "git commit --quiet --message 'a release'", "git push --quiet origin main"]
    expect_done(["headway release --project deliveries --who ada", *save], folder / "main")
    if not settings:
        run_console(PUSH, folder / "main")
    return folder / "main"


def run_console(text: str, folder: Path) -> None:
    """Run the commands of a console block, and compare what they print with what the page shows."""
    [block] = blocks("docs/ci.md", f"```console\n{text}```\n")
    for command, shown in commands_and_outputs(block):
        output = expect_done([command], folder)
        assert not shown or doctest.OutputChecker().check_output(shown, output, AS_SHOWN), output


def cloned(main: Path, folder: Path) -> Path:
    """Return a clone of main, as a checkout makes it."""
    expect_done([f"git clone --quiet --depth 1 --branch main file://{main.parent}/origin {folder}"], main.parent)
    return folder


ROUNDS = "num_boost_round=40"


@pytest.fixture(scope="module")
def measured(main: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return clones in which the first job ran: of a pull request that ruins the model, and of one that does not."""
    of_gitlab = commands(job(GITLAB, "measure"))
    assert MEASURE[: len(of_gitlab)] == of_gitlab and "optimize" in of_gitlab[-1]
    clones, own = {}, dict(re.findall(r"^ +(HEADWAY_\w+): \"?([^\s\"]*)", job(GITHUB, "measure"), re.MULTILINE))
    for name, rounds in (("ruined", "num_boost_round=2"), ("unchanged", "num_boost_round=20 * 2")):
        clones[name] = cloned(main, tmp_path_factory.mktemp("pull") / name)
        (clones[name] / "deliveries/mine.py").write_text(TRAIN.replace(ROUNDS, rounds))
        lines = [line for line in MEASURE if name == "ruined" or not line.startswith("headway check")]
        expect_done([f"git commit --quiet --all --message {name}", *lines], clones[name], **own)
    return clones


def with_candidate(folder: Path, measured: Path) -> Path:
    """Download the artifact of the first job, as the action does."""
    shutil.copytree(measured / "candidate", folder / "candidate")
    return folder


def expect_not_passed(code: int, output: str) -> None:
    assert code in (cli.FAIL, cli.UNDECIDED), output


def test_the_workflows_have_two_jobs_and_no_untrusted_text_in_a_command() -> None:
    for workflow in (GITHUB, GITLAB):
        lines = [*commands(job(workflow, "measure")), *commands(job(workflow, "gate"))]
        assert sum(line.startswith("headway gate ") for line in lines) == 1
        assert sum(line.startswith("headway optimize ") for line in lines) == 1
        assert not [line for line in lines if "${{" in line]
    assert commands(SHARED) == [GATE[-1]] and len(BRING) == 2


@pytest.mark.parametrize("name", ["ruined", "unchanged"])
def test_the_github_gate_compares_with_the_release_of_a_ref_and_reports(
    main: Path, measured: dict[str, Path], tmp_path: Path, name: str
) -> None:
    folder = with_candidate(cloned(main, tmp_path / "base"), measured[name])
    code, output = run(GATE, folder)
    if name == "ruined":
        expect_not_passed(code, output)
    else:
        assert code == cli.PASS, output
    outputs = (folder / "outputs.txt").read_text()
    assert "\nchange=against the live release " in outputs and ("verdict=pass" in outputs) == (name == "unchanged")
    expect_done([COMMENT], folder)
    assert (folder / "summary.md").read_bytes() == (folder / "comment.md").read_bytes()
    first = (folder / "comment.md").read_text().splitlines()[0]
    assert first.startswith("Against the live release ") and "Brier 0." in first and "decisions changed" in first
    assert (folder / "gh.txt").read_text().startswith("pr comment 7 --repo ada/deliveries")
    assert (folder / "gate.sarif").is_file()


def test_an_artifact_of_main_brings_its_release_as_well(main: Path, measured: dict[str, Path], tmp_path: Path) -> None:
    [download] = commands(ARTIFACT)
    lines = [line for line in GATE if line not in BRING]
    live = str(main / "deliveries/.headway")
    folder = with_candidate(cloned(main, tmp_path / "base"), measured["ruined"])
    expect_done([download], folder, LIVE=live)
    code, output = run(lines, folder)
    expect_not_passed(code, output)
    assert output.startswith("against the live release ")
    listed, downloaded = (folder / "gh.txt").read_text().splitlines()
    assert listed.startswith("run list --repo ada/deliveries") and downloaded.endswith("--dir deliveries/.headway 17")


def test_a_release_that_the_workflow_does_not_bring_is_undecided_even_if_it_says_that_there_is_none(
    main: Path, measured: dict[str, Path], tmp_path: Path
) -> None:
    folder = with_candidate(cloned(main, tmp_path / "base"), measured["unchanged"])
    *lines, gate = (line for line in GATE if line not in BRING)
    code, output = run([*lines, f"{gate} --first-model"], folder)
    assert code == cli.UNDECIDED and output.startswith("not compared with the live release: "), output


def test_a_ref_or_a_candidate_that_is_missing_stops_the_job(
    main: Path, measured: dict[str, Path], tmp_path: Path
) -> None:
    folder = cloned(main, tmp_path / "base")
    assert run([line.replace("headway-live", "other") for line in GATE], folder)[0] not in (cli.PASS, cli.UNDECIDED)
    code, output = run(GATE, folder)
    assert code == cli.USAGE and "no candidate can be read" in output


@pytest.mark.parametrize("name", ["ruined", "unchanged"])
def test_the_gitlab_gate_judges_on_the_target_branch_and_publishes_its_tests(
    main: Path, measured: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "COMMANDS", [INSTALLED])  # a Python that starts runs sitecustomize
    folder = shutil.copytree(measured[name], tmp_path / "job")
    (folder / "deliveries/headway.toml").write_text("of the pull request")
    (folder / "sitecustomize.py").write_text("raise SystemExit('code of the pull request ran')")
    section = job(GITLAB, "gate")
    code, output = run(commands(section), folder)
    if name == "ruined":
        expect_not_passed(code, output)
    else:
        assert code == cli.PASS, output
    assert ROUNDS in (folder / "deliveries/mine.py").read_text() and not (folder / "sitecustomize.py").exists()
    [tests] = re.findall(r"junit: (\S+)", section)
    top = ElementTree.parse(folder / tests).getroot()
    assert ((top.get("failures"), top.get("errors")) == ("0", "0")) == (name == "unchanged")
    assert all((folder / path).is_file() for path in re.findall(r"^ +- (\S+\.md)$", section, re.MULTILINE))


def test_the_card_is_written_where_the_workflow_expects_it(measured: dict[str, Path]) -> None:
    [path] = re.findall(r"path: (\S+\.md)", job(GITHUB, "measure"))
    assert (measured["unchanged"] / path).read_text().startswith("# Model card: small\n")
