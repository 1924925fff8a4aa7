"""`headway gate` reads evidence only: no code, no data, no machine; the same evidence gives the same bytes."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.pipeline.projects import TOML, write

from headway.cli import main as cli
from headway.reporting.gates.formats import GATE_FORMATS

pytestmark = pytest.mark.slow
MACHINES = {
    "this machine": {},
    "elsewhere": {"TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8", "COLUMNS": "300", "PYTHONHASHSEED": "7"},
    "bare": {"TZ": "UTC", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONHASHSEED": "8", "TERM": "dumb", "FORCE_COLOR": "1"},
}


@pytest.fixture
def evidence(searched, tmp_path: Path) -> Path:
    """Return a folder with the policy and the evidence of a search, and code that must not run.

    No data and no model.
    """
    _, _, folder = searched
    (tmp_path / ".headway").mkdir()
    for file in (folder / ".headway").glob("state.sqlite*"):
        shutil.copy(file, tmp_path / ".headway")
    (tmp_path / "headway.toml").write_text(TOML)
    (tmp_path / "mine.py").write_text("raise SystemExit('the gate ran the code of the project')")
    return tmp_path


FRESH = """
from headway.cli import main as cli
for words in {}:
    try:
        cli.main(words)
    except SystemExit as ended:
        if ended.code:
            raise
    print("ended")
"""


def run_fresh(commands: list[list[str]], folder: Path, **environment: str) -> list[bytes]:
    """Return what each command prints in one fresh process, in a folder; all must pass."""
    ended = subprocess.run(
        [sys.executable, "-c", FRESH.format(commands)],
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
    )
    assert ended.returncode == cli.PASS, ended.stderr.decode()
    return ended.stdout.split(b"ended\n")[:-1]


def test_the_gate_and_the_card_run_no_code_and_need_no_data(evidence: Path) -> None:
    gate, card = run_fresh([["gate", "--first-model"], ["card", "--out", "card.md"]], evidence)
    assert b"pass: all 2 rules pass" in gate
    assert b"card.md" in card
    assert sorted(file.name for file in evidence.iterdir()) == [".headway", "card.md", "headway.toml", "mine.py"]


def test_the_same_evidence_gives_the_same_bytes_on_every_machine(evidence: Path, tmp_path: Path) -> None:
    written: dict[str, set[bytes]] = {name: set() for name in (*GATE_FORMATS, "card", "printed")}
    formats = [word for name in GATE_FORMATS for word in ("--format", f"{name}=out/{name}")]
    printed = ["--format", "text", "--format", "json"]
    for machine, environment in MACHINES.items():
        folder = shutil.copytree(evidence, tmp_path / machine, ignore=shutil.ignore_patterns(*MACHINES))
        commands = [["gate", "--first-model", *formats, *printed], ["card", "--out", "out/card"]]
        written["printed"].add(run_fresh(commands, folder, **environment)[0])
        for name in (*GATE_FORMATS, "card"):
            written[name].add((folder / "out" / name).read_bytes())
    assert {name: len(found) for name, found in written.items()} == dict.fromkeys(written, 1)


def test_the_output_fits_the_width_of_the_terminal(evidence: Path) -> None:
    program = [sys.executable, "-c", "from headway.cli import main as cli; cli.main(['gate', '--first-model'])"]
    environment = {**os.environ, "COLUMNS": "70", "TERM": "xterm"}
    reader, terminal = pty.openpty()
    with (
        subprocess.Popen(program, cwd=evidence, env=environment, stdout=terminal) as process,
        open(reader, "rb") as stream,
    ):
        os.close(terminal)
        with pytest.raises(OSError, match="Input/output error"):
            shown = b""
            while True:
                shown += stream.read1()
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert (process.returncode, any("pass: all 2 rules pass" in line for line in lines)) == (cli.PASS, True)
    assert max(map(len, lines)) <= 70 and b"\x1b[" in shown


@pytest.mark.parametrize(
    ("toml", "code", "answer"),
    [
        (TOML, cli.PASS, "pass"),
        (TOML.replace("at_most = 0.3", "at_most = 0.0"), cli.FAIL, "fail"),
        (TOML.replace("at_most = 0.3", "at_most = 0.05"), cli.UNDECIDED, "undecided"),
    ],
    ids=["pass", "fail", "undecided"],
)
def test_a_format_changes_neither_the_exit_code_nor_the_verdict(
    run, evidence: Path, toml: str, code: int, answer: str
) -> None:
    (evidence / "headway.toml").write_text(toml)
    for name in GATE_FORMATS:
        ended, out, err = run("gate", "--first-model", "--project", evidence, "--format", name)
        assert (ended, answer in out) == (code, True), err
    ended, out, _ = run("gate", "--first-model", "--project", evidence, "--json", "--format", "junit")
    assert (ended, json.loads(out)["answer"]) == (code, answer)


def test_sarif_names_the_policy_from_where_the_gate_runs(run, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (evidence / "headway.toml").write_text(TOML.replace("at_most = 0.3", "at_most = 0.0"))
    for folder, project, uri in (
        (evidence, ".", "headway.toml"),
        (evidence.parent, evidence.name, f"{evidence.name}/headway.toml"),
        (evidence.parent, evidence, "headway.toml"),
    ):
        monkeypatch.chdir(folder)
        found = json.loads(run("gate", "--first-model", "--project", project, "--format", "sarif")[1])["runs"][0][
            "results"
        ][0]
        assert found["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_an_unknown_format_is_an_error_that_lists_the_formats(run, evidence: Path) -> None:
    code, _, err = run("gate", "--first-model", "--project", evidence, "--format", "xml")
    assert (code, "unknown format 'xml'; known: text, json, junit" in err) == (cli.USAGE, True)


def test_a_second_search_on_the_same_rows_gives_a_warning(run, tmp_path: Path) -> None:
    folder = write(tmp_path)
    for _ in range(2):
        run("optimize", "--project", folder)
    assert "the test set was evaluated 2 times" in run("gate", "--first-model", "--project", folder)[1]
