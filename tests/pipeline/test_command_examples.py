"""Every example that `--help` shows is run as it stands, in a folder with what it names."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
from tests.pipeline.projects import TOML, table, write
from tests.pipeline.receiver import Receiver, receiving
from tests.pipeline.serve_command import served

from headway.cli import main as cli
from headway.core import plugins

pytestmark = pytest.mark.slow
Shown = tuple[int, str, str]

# What a person does first: they are examples themselves.
BEFORE = ("headway optimize --project headway-demo", 'headway release --project headway-demo --why "first release"')
ALSO_BEFORE = {
    "rollout": (BEFORE[0], "headway rollout start flight-delays --project headway-demo"),
    "contract": ("headway contract discover --replace --project headway-demo",),
}
# What is timed runs on one core: threads of two processes that wait for each other make a search take minutes.
ONE_CORE = """
import os, sys
os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
from headway.cli import main as cli
cli.main(sys.argv[1:])
"""
# Exit codes that say that the command did its work; 0 where none is given.
DONE = {"contract": {cli.PASS, cli.FAIL}, "policy": {cli.PASS, cli.FAIL}, "watch": {cli.PASS, cli.FAIL, cli.UNDECIDED}}


def examples() -> list[str]:
    """Each `Example: headway ...` of each command."""
    manuals = (plugins.manual("command", name) for name in plugins.names("command"))
    return [line for manual in manuals for line in re.findall(r"^Example: (headway .*)$", manual, re.MULTILINE)]


RUN_HERE = [line for line in examples() if line.split()[1] not in ("demo", "serve")]


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Path:
    """A folder with all that the examples name: a project with a live release, tables, a model file and labels."""
    place = tmp_path_factory.mktemp("examples")
    rows = table().with_columns(date="day", key=pl.int_range(pl.len()).cast(pl.String))
    for name in ("flights.parquet", "table.parquet"):
        rows.write_parquet(place / name)
    numbers = rows.select("hour", "wind", "late", "date")
    numbers.write_parquet(place / "rows.parquet")
    (place / "labels.csv").write_text("key,label\n7,1\n8,0\n")
    model(numbers).save_model(place / "model.txt")
    rows.write_parquet(place / "old.parquet")
    rows.head(1000).write_csv(place / "new.csv")
    (place / "annotations.csv").write_text("key,who,label\n1,ann,1\n1,ben,1\n2,ann,0\n2,ben,1\n3,ann,0\n3,ben,0\n")
    (place / "headway-demo").mkdir()
    demo = TOML.replace('name = "small"', 'name = "flight-delays"')
    more = f'[evaluate]\nbudget_s = 2\n[provenance]\nlineage_to = "{receiver.url}"\n'
    write(place / "headway-demo", demo + more)
    return place


def model(numbers: pl.DataFrame) -> lightgbm.Booster:
    data = lightgbm.Dataset(
        numbers.select("hour", "wind").to_numpy(), np.asarray(numbers["late"]), feature_name=["hour", "wind"]
    )
    return lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, num_boost_round=1)


@pytest.fixture
def run(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run a line as a shell does; gives the exit code, what it printed and what it told."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(tmp_path))

    def _run(line: str) -> Shown:
        words = shlex.split(line)[1:]
        for answer in place.glob("scores.parquet*"):  # that of another release may be there, which is refused
            answer.unlink()
        if words[0] == "optimize":
            ended = subprocess.run(
                [sys.executable, "-c", ONE_CORE, *words], check=False, capture_output=True, text=True
            )
            return ended.returncode, ended.stdout, ended.stderr
        with pytest.raises(SystemExit) as interrupted:
            cli.main(words)
        shown = capsys.readouterr()
        return int(interrupted.value.code or 0), shown.out, shown.err

    return _run


@pytest.fixture(scope="module")
def done() -> dict[str, Shown]:
    """What was run, with what it showed."""
    return {}


@pytest.fixture
def released(done: dict[str, Shown], run) -> dict[str, Shown]:
    """A search and a release of the project, done once for all examples."""
    for line in BEFORE:
        done[line] = done.get(line) or run(line)
    return done


@pytest.mark.parametrize("name", plugins.names("command"))
def test_the_help_of_a_command_shows_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    name = cli.command_name(name)
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    own = [line for line in examples() if line.split()[1] == name]
    assert own and all(f"Example: {line}" in shown for line in own)


@pytest.mark.parametrize("line", RUN_HERE)
def test_an_example_does_what_it_says(released, run, line: str) -> None:
    name = line.split()[1]
    for before in ALSO_BEFORE.get(name, ()):
        code, out, err = run(before)
        assert code in (cli.PASS, cli.UNDECIDED), out + err
    code, out, err = released.get(line) or run(line)
    assert code in DONE.get(name, {cli.PASS}), out + err
    assert out


ONCE = ("api-keys", "init", "optimize", "rollout")
"""Commands that are not done twice, or not as soon."""


def again() -> list[str]:
    """One example of each command, and of each command within it, that can be run a second time."""
    lines = {}
    for line in RUN_HERE:
        command, within = [*line.split(), ""][1:3]
        if command not in ONCE and within != "correct":
            lines[command, within if within.isalpha() else ""] = line
    return list(lines.values())


@pytest.mark.parametrize("line", again())
def test_an_example_with_json_prints_one_object_and_nothing_else(released, run, line: str) -> None:
    _, out, err = run(f"{line} --json")
    assert out, err
    assert json.loads(out) is not None or "retrain" in line, err


@pytest.mark.parametrize("line", [line for line in examples() if line.split()[1] == "serve"])
def test_the_example_of_serve_listens_until_it_is_stopped(released, place: Path, line: str) -> None:
    words = shlex.split(line)[2:]
    port = words.index("--port") + 1
    with served(*words[:port], "0", *words[port + 1 :], folder=place) as told:
        assert "serving flight-delays@live" in told
    with served(*words[:port], "0", "--json", folder=place) as told:
        assert "serving flight-delays@live" in json.loads(told)["message"]


@pytest.mark.long
@pytest.mark.parametrize("line", [line for line in examples() if line.split()[1] == "demo"])
def test_the_example_of_the_demo_ends_with_its_report(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(line)
    assert code == cli.PASS, err
    assert out.split()[-1] == str(tmp_path / "headway-demo/report.html")
