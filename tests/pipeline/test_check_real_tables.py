"""`headway check` on tables of other people, from a fresh `headway init`: what it says is true, and can be acted on."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer

from headway.cli import main as cli
from headway.core import plugins

pytestmark = pytest.mark.slow
SIZES = ("area", "perimeter", "radius")
TELLING = (
    *(f"{how} {what}" for how in ("mean", "worst") for what in (*SIZES, "concave points", "concavity", "compactness")),
    *(f"{what} error" for what in SIZES),
)
"""Measures of a tumour that tell what it is nearly by themselves: honest, and a person has to say so."""
TABLES = {
    "Default": "default",
    "Caravan": "Purchase",
    "Bikeshare": "bikers",
    "Weekly": "Direction",
    "Credit": "Balance",
    "breast_cancer": "target",
}
# Beside what nobody said (D005); a column that is said to be known afterwards was suspected by init.
FOUND = {
    "Default": {"note D001 column balance", "note D030 column default", "warn D031 column student"},
    "Caravan": {
        "note D023 [split] test",
        "note D024 [split] test",
        "note D030 column Purchase",
        "note D036 column Purchase",
    },
    "Bikeshare": {
        "note D001 column registered",
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
    "breast_cancer": {"note D022 [split] test", *(f"note D001 column {name}" for name in TELLING)},
}


def table(name: str, folder: Path) -> Path:
    """The file of a table of the package ISLP (BSD), which is not imported, or of scikit-learn."""
    if name == "breast_cancer":
        path = folder / "breast_cancer.parquet"
        pl.from_pandas(load_breast_cancer(as_frame=True).frame).write_parquet(path)
        return path
    spec = importlib.util.find_spec("ISLP")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data" / f"{name}.csv"


@pytest.fixture(params=TABLES)
def checked(request, run, tmp_path):
    """The name of a table, what was found in it, and the folder with the report."""
    folder = tmp_path / request.param
    run("init", folder, "--from", table(request.param, tmp_path), "--target", TABLES[request.param])
    code, out, _ = run("check", "--project", folder, "--json", "--report", folder / "check.html")
    assert code == cli.UNDECIDED
    return request.param, json.loads(out)["findings"], folder


def test_nothing_is_found_but_what_is_there(checked):
    name, findings, _ = checked
    judged = [each for each in findings if each["code"] not in ("D000", "D005")]
    assert {f"{each['severity']} {each['code']} {each['where']}" for each in judged} == FOUND[name]


def test_each_finding_has_a_number_with_its_limit_and_says_what_to_do(checked):
    _, findings, _ = checked
    judged = [each for each in findings if each["code"] != "D000"]
    assert [each["code"] for each in judged if not each["hint"]] == []
    assert {each["code"] for each in judged if each["measured"] is None} <= {"D001"}
    assert {each["code"] for each in judged if each["limit"] is None} <= {"D001", "D036"}


def test_whatever_asks_for_a_person_says_what_to_write(checked):
    _, findings, _ = checked
    asking = [each for each in findings if each["severity"] in ("stop", "undecided")]
    assert [each["code"] for each in asking] == ["D005"]
    assert re.match(r'\[data.known\] (\w+|"[^"]+") = "request"', asking[0]["hint"])


def test_once_somebody_says_it_the_table_is_fit_and_the_trend_tells_so(checked, run):
    _, _, folder = checked
    toml = folder / "headway.toml"
    toml.write_text(re.sub(r'^# (\S.* = "request")$', r"\1", toml.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert run("check", "--project", folder)[0] == cli.PASS
    first, second = json.loads(run("check", "--project", folder, "--history", "--json")[1])
    assert (first["number"], second["number"]) == (1, 2)
    assert [each["code"] for each in second["why"]] == ["D061"]
    assert "closed: D005" in run("check", "--project", folder, "--history")[1]


def test_the_report_shows_the_target_and_every_check_that_could_not_judge(checked):
    _, findings, folder = checked
    page = (folder / "check.html").read_text(encoding="utf-8")
    assert 'id="target"' in page and "Not before somebody says 1 thing" in page
    silent = [each["where"].removeprefix("check ") for each in findings if each["code"] == "D000"]
    assert set(silent) < set(plugins.names("check")) and all(f">{name}<" in page for name in silent)
