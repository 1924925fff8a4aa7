"""`headway check` on tables of other people, from a fresh `headway init`: what it says is true, and can be acted on."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from headway.core import plugins
from headway.face import cli

pytestmark = pytest.mark.slow
TABLES = {"Default": "default", "Caravan": "Purchase", "Bikeshare": "bikers", "Weekly": "Direction"}
# What these families find beside what nobody said; a column that is said to be known afterwards was suspected by init.
FAMILIES = ("roles", "leakage", "split", "personal")
FOUND = {
    "Default": {"note D001 column balance"},
    "Caravan": {"note D023 [split] test", "note D024 [split] test"},
    "Bikeshare": {"note D001 column registered", "note D024 [split] test"},
    "Weekly": {"note D001 column Today", "note D022 [split] test"},
}


def table(name: str) -> Path:
    """The file of a table of the package ISLP (BSD), which is not imported."""
    spec = importlib.util.find_spec("ISLP")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "data" / f"{name}.csv"


@pytest.fixture(params=TABLES)
def checked(request, run, tmp_path):
    """The name of a table, what was found in it, and the folder with the report."""
    folder = tmp_path / request.param
    run("init", folder, "--from", table(request.param), "--target", TABLES[request.param])
    code, out, _ = run("check", "--project", folder, "--json", "--report", folder / "check.html")
    assert code == cli.UNDECIDED
    return request.param, json.loads(out)["findings"], folder


def test_nothing_is_found_but_what_is_there(checked):
    name, findings, _ = checked
    known = {
        plugins.describe("check", each)[:4]
        for each in plugins.own("check")
        if plugins.family("check", each) in FAMILIES
    }
    judged = [each for each in findings if each["code"] in known - {"D005"}]
    assert {f"{each['severity']} {each['code']} {each['where']}" for each in judged} == FOUND[name]


def test_whatever_asks_for_a_person_says_what_to_write(checked):
    _, findings, _ = checked
    asking = [each for each in findings if each["severity"] in ("stop", "undecided")]
    assert [each["code"] for each in asking] == ["D005"]
    assert re.match(r'\[data.known\] \w+ = "request"', asking[0]["mend"])


def test_once_somebody_says_it_the_table_is_fit_and_the_trend_tells_so(checked, run):
    _, _, folder = checked
    toml = folder / "headway.toml"
    toml.write_text(re.sub(r'^# (\S+ = "request")$', r"\1", toml.read_text(encoding="utf-8"), flags=re.MULTILINE))
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
