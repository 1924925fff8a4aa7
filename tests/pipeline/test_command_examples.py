"""Every example that `--help` shows runs unchanged, in a folder with the files that it names."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from tests.pipeline.projects import TOML, table, write
from tests.pipeline.receiver import Receiver, lineage_receiver
from tests.pipeline.serve_command import served

from headway.cli import main as cli
from headway.core import plugins
from headway.evaluation.audits import start
from headway.monitoring.rollout import release_to_leave
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
Shown = tuple[int, str, str]

# Commands that the others need; they are examples themselves.
BEFORE = (
    "headway optimize --project headway-demo --candidate candidate",
    'headway release --project headway-demo --why "first release"',
)
SECOND_SEARCH = "headway optimize --project headway-demo --budget 60s"
ALSO_BEFORE = {
    "rollout": (SECOND_SEARCH, "headway rollout start flight-delays --project headway-demo"),
    "verify": ("headway export record record --without-pdf --project headway-demo",),
    "contract": ("headway contract discover --replace --project headway-demo",),
}
# Exit codes of a command that did its work; 0 for those that are not listed.
DONE = {
    "contract": {cli.PASS, cli.FAIL},
    "erase": {cli.PASS, cli.FAIL},
    "labels": {cli.PASS, cli.UNDECIDED},
    "policy": {cli.PASS, cli.FAIL},
    "scan": {cli.PASS, cli.UNDECIDED},
    "status": {cli.PASS, cli.FAIL, cli.UNDECIDED},
    "threats": {cli.PASS, cli.FAIL},
    "watch": {cli.PASS, cli.FAIL, cli.UNDECIDED},
}


def examples() -> list[str]:
    """Return each `Example: headway ...` of each command."""
    manuals = (plugins.manual("command", name) for name in plugins.names("command"))
    return [line for manual in manuals for line in re.findall(r"^Example: (headway .*)$", manual, re.MULTILINE)]


# `demo`, `serve` and `run --every` have tests of their own; the others have them with what they need, such as servers.
ELSEWHERE = (
    "demo",
    "serve",
    "export",
    "fleet",
    "log ship",
    "measure",
    "plan",
    "store migrate",
    "support",
    "ui",
    "users",
    "run --every",
)
WITH_APPROVALS = "release --project headway-demo --approved"  # in test_rollout_command.py
RUN_HERE = [line for line in examples() if not line.removeprefix("headway ").startswith((*ELSEWHERE, WITH_APPROVALS))]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with lineage_receiver() as server:
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Path:
    """Return a folder with all the examples' files: a project with a live release, tables, a model file and labels."""
    folder = tmp_path_factory.mktemp("examples")
    rows = table().with_columns(date="day", key=pl.int_range(pl.len()).cast(pl.String))
    for name in ("flights.parquet", "table.parquet"):
        rows.write_parquet(folder / name)
    numbers = rows.select("hour", "wind", "late", "date")
    numbers.tail(3600).write_parquet(folder / "rows.parquet")
    (folder / "labels.csv").write_text("key,label\n7,1\n8,0\n")
    model(numbers.head(3600)).save_model(folder / "model.txt")  # its rows are not those that judge it
    rows.write_parquet(folder / "old.parquet")
    rows.head(1000).write_csv(folder / "new.csv")
    (folder / "annotations.csv").write_text("key,who,label\n1,ann,1\n1,ben,1\n2,ann,0\n2,ben,1\n3,ann,0\n3,ben,0\n")
    intents = {"where is my parcel": "delivery", "my money back please": "refund", "close my account": "account"}
    lines = [f"{words} {number},{intent}\n" for number in range(40) for words, intent in intents.items()]
    (folder / "messages.csv").write_text("message,intent\n" + "".join(lines))
    (folder / "headway-demo").mkdir()
    demo = TOML.replace('name = "small"', 'name = "flight-delays"')
    more = f'[evaluate]\nbudget_s = 1\n[provenance]\nlineage_to = "{receiver.url}"\n'
    more += '[schedule]\ntasks = ["watch"]\n'  # test_run_command.py runs every task
    more += '[[alert]]\nname = "ops"\nto = "command"\nsettings = { command = ["cat"] }\n'
    write(folder / "headway-demo", demo + more)
    return folder


def model(numbers: pl.DataFrame) -> lightgbm.Booster:
    data = lightgbm.Dataset(
        numbers.select("hour", "wind").to_numpy(), np.asarray(numbers["late"]), feature_name=["hour", "wind"]
    )
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, num_boost_round=1)


@pytest.fixture
def run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return a function that runs a line as a shell does and returns the exit code, stdout and stderr."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HEADWAY_OPTIMIZE_TRANSFORMS", '["onnx"]')  # as in the project, for examples without one
    monkeypatch.setattr(start, "STARTS", 2)  # processes that `evaluate` starts; eleven give an interval

    def _run(line: str) -> Shown:
        words = shlex.split(line)[1:]
        for answer in folder.glob("scores.parquet*"):  # the answers of another release would be refused
            answer.unlink()
        with pytest.raises(SystemExit) as interrupted:
            cli.main(words)
        shown = capsys.readouterr()
        return int(interrupted.value.code or 0), shown.out, shown.err

    return _run


@pytest.fixture(scope="module")
def finished() -> dict[str, Shown]:
    """Return the lines that were run, with their results."""
    return {}


@pytest.fixture
def released(finished: dict[str, Shown], run) -> dict[str, Shown]:
    """Search and release the project once for all examples."""
    for line in BEFORE:
        finished[line] = finished.get(line) or run(line)
    return finished


@pytest.mark.parametrize("name", plugins.names("command"))
def test_the_help_of_a_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = cli.command_name(name)
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    own = [line for line in examples() if line.split()[1] == name]
    assert own and all(f"Example: {line}" in shown for line in own)


def with_digest(line: str, folder: Path) -> str:
    """Return a line with the digest of the release that a rollback leaves in place of the example's."""
    leaves = release_to_leave(open_project(folder))[7:] if " rollback " in line else ""
    return re.sub(r"(?<=--from )\w+", leaves, line) if leaves else line


@pytest.mark.parametrize("line", RUN_HERE)
def test_an_example_runs_with_the_expected_exit_code(released, run, folder: Path, line: str) -> None:
    name = line.split()[1]
    for before in ALSO_BEFORE.get(name, ()):
        code, out, err = released.get(before) or run(before)
        assert code in (cli.PASS, cli.UNDECIDED), out + err
    code, out, err = released.get(line) or run(with_digest(line, folder / "headway-demo"))
    if line == SECOND_SEARCH:
        released[line] = code, out, err
    assert code in DONE.get(name, {cli.PASS}), out + err
    assert out


ONCE = ("api-keys", "evaluate", "init", "optimize", "rollout")
"""Commands that cannot be repeated, or not immediately; test_evaluate_command reads the JSON of `evaluate`."""


def again() -> list[str]:
    """Return one example of each command and subcommand that can be run a second time."""
    lines = {}
    for line in RUN_HERE:
        command, subcommand = [*line.split(), ""][1:3]
        if command not in ONCE and subcommand != "correct":
            lines[command, subcommand if subcommand.isalpha() else ""] = line
    return list(lines.values())


@pytest.mark.parametrize("line", again())
def test_an_example_with_json_prints_one_object_and_nothing_else(released, run, line: str) -> None:
    _, out, err = run(f"{line} --json")
    assert out, err
    assert json.loads(out) is not None or "retrain" in line, err


@pytest.mark.parametrize("line", [line for line in examples() if line.split()[1] == "serve" and "--port" in line])
def test_the_example_of_serve_listens_until_it_is_stopped(released, folder: Path, line: str) -> None:
    words = shlex.split(line)[2:]
    port = words.index("--port") + 1
    with served(*words[:port], "0", *words[port + 1 :], folder=folder) as first_line:
        assert "serving flight-delays@live" in first_line
    with served(*words[:port], "0", "--json", folder=folder) as first_line:
        assert "serving flight-delays@live" in json.loads(first_line)["message"]


@pytest.mark.long
@pytest.mark.parametrize("line", [line for line in examples() if line.startswith("headway demo --folder")])
def test_the_example_of_the_demo_ends_with_its_report_and_the_command_of_the_dashboard(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(line)
    assert code == cli.PASS, err
    report, offer = out.splitlines()[-2:]
    assert report == str(tmp_path / "headway-demo/report.html")
    assert offer == "to see it in a browser: headway ui --project headway-demo"
