"""`headway check` on public tables, after a fresh `headway init`: its findings are true and can be acted on."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path

import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer

from headway.cli import main as cli
from headway.core import plugins

pytestmark = pytest.mark.slow
SIZES = ("area", "perimeter", "radius")
PREDICTIVE = (
    *(f"{how} {what}" for how in ("mean", "worst") for what in (*SIZES, "concave points", "concavity", "compactness")),
    *(f"{what} error" for what in SIZES),
)
"""Measures of a tumour that nearly determine the class alone: legitimate, which only a person can declare."""
TABLES = {
    "Default": "default",
    "Caravan": "Purchase",
    "Bikeshare": "bikers",
    "Weekly": "Direction",
    "Credit": "Balance",
    "breast_cancer": "target",
}
# Without D005 (not declared); the columns that init suspects are declared as known afterwards.
FOUND = {
    "Default": {
        "warn D003 column balance",
        "note D030 column default",
        "note D035 column default",
        "warn D031 column student",
    },
    "Caravan": {
        "note D023 [split] test",
        "note D024 [split] test",
        "note D030 column Purchase",
        "note D036 column Purchase",
    },
    "Bikeshare": {
        "note D001 column casual",
        "note D001 column registered",
        "note D022 [split] test",
        "note D024 [split] test",
        "warn D031 column mnth",
        "warn D031 column weathersit",
    },
    "Weekly": {"note D001 column Today", "note D022 [split] test"},
    "Credit": {
        "note D022 [split] test",
        "warn D020 [split] validation",
        "warn D020 [split] test",
        "warn D031 [split] test",
    },
    "breast_cancer": {"note D022 [split] test", *(f"note D003 column {name}" for name in PREDICTIVE)},
}


def table(name: str, folder: Path) -> Path:
    """Return the file of a table of the package ISLP (BSD), which is not imported, or of scikit-learn."""
    if name == "breast_cancer":
        path = folder / "breast_cancer.parquet"
        pl.from_pandas(load_breast_cancer(as_frame=True).frame).write_parquet(path)
        return path
    spec = importlib.util.find_spec("ISLP")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data" / f"{name}.csv"


def check_table(name, folder, run):
    """Create a project for a table, confirm what init suspects, and check it; return findings and folder."""
    run("init", folder / name, "--from", table(name, folder), "--target", TABLES[name])
    declare(folder / name, "outcome")
    code, out, _ = run("check", "--project", folder / name, "--json", "--report", folder / name / "check.html")
    assert code == cli.UNDECIDED
    return json.loads(out)["findings"], folder / name


def declare(folder, when):
    """Remove the comment mark of each column that init proposes as known at that time."""
    toml = folder / "headway.toml"
    text = toml.read_text(encoding="utf-8")
    toml.write_text(re.sub(rf'^# (\S.* = "{when}")$', r"\1", text, flags=re.MULTILINE), encoding="utf-8")


@pytest.fixture(scope="module")
def checks():
    """Return the tables that were checked so far."""
    return {}


@pytest.fixture(params=TABLES)
def checked(request, run, checks, tmp_path_factory):
    """Return the name of a table, its findings, and the folder with the report, which must not be changed."""
    name = request.param
    if name not in checks:
        checks[name] = check_table(name, tmp_path_factory.mktemp(name), run)
    return name, *checks[name]


def test_the_findings_are_exactly_the_known_ones(checked):
    name, findings, _ = checked
    judged = [finding for finding in findings if finding["code"] not in ("D000", "D005")]
    assert {f"{finding['severity']} {finding['code']} {finding['where']}" for finding in judged} == FOUND[name]


def test_each_finding_has_a_measured_value_a_limit_and_a_hint(checked):
    _, findings, _ = checked
    judged = [finding for finding in findings if finding["code"] != "D000"]
    assert [finding["code"] for finding in judged if not finding["hint"]] == []
    assert {finding["code"] for finding in judged if finding["measured"] is None} <= {"D001"}
    assert {finding["code"] for finding in judged if finding["limit"] is None} <= {"D001", "D036"}


def test_the_hint_of_an_undecided_finding_is_a_line_to_paste(checked):
    _, findings, _ = checked
    undecided = [finding for finding in findings if finding["severity"] in ("stop", "undecided")]
    assert [finding["code"] for finding in undecided] == ["D005"]
    assert re.match(r'\[data.known\] (\w+|"[^"]+") = "request"', undecided[0]["hint"])


@pytest.mark.parametrize(
    "checked",
    [pytest.param(name, marks=pytest.mark.long) if name == "Caravan" else name for name in TABLES],
    indirect=True,
)
def test_after_the_declaration_the_check_passes_and_the_history_shows_the_change(checked, run):
    folder = shutil.copytree(checked[2], checked[2].with_name("declared"))  # the path of its table is relative
    declare(folder, "request")
    assert run("check", "--project", folder)[0] == cli.PASS
    first, second = json.loads(run("check", "--project", folder, "--history", "--json")[1])
    assert (first["number"], second["number"]) == (1, 2)
    assert [finding["code"] for finding in second["why"]] == ["D061"]
    assert "D005" in {finding["code"] for finding in first["findings"]}
    assert {"D003", "D005"}.isdisjoint(finding["code"] for finding in second["findings"])
    assert "resolved: D00" in run("check", "--project", folder, "--history")[1]


def test_the_report_shows_the_target_and_every_check_that_did_not_run(checked):
    _, findings, folder = checked
    page = (folder / "check.html").read_text(encoding="utf-8")
    assert 'id="target"' in page and "Undecided: 1 finding for a person to decide" in page
    not_run = [finding["where"].removeprefix("check ") for finding in findings if finding["code"] == "D000"]
    assert set(not_run) < set(plugins.names("check")) and all(f">{name}<" in page for name in not_run)
