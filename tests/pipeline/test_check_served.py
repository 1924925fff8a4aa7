"""`check` on a project with real requests: they prove a feature, lack one, or come from another distribution."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest
from tests.pipeline import projects, served_log, watched

from headway.cli import main as cli

pytestmark = pytest.mark.slow
UNDECLARED = watched.TOML.replace('hour = "request"\n', "").replace('wind = "request"\n', "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a project whose live release answered 900 requests over 60 days; in the later 30 every hour is 0."""
    project = watched.released(watched.write(tmp_path_factory.mktemp("checked")))
    rows = served_log.requests()
    served_log.serve(project, rows)
    served_log.put_on_days(project, rows)
    assert rows["served"].max() == 59 and date(2020, 3, 1) == served_log.BROKEN
    return projects.Path(project.config.folder)


def test_requests_from_another_distribution_are_found(run, folder):
    code, out, _ = run("check", "--project", folder, "--json")
    result = json.loads(out)
    warnings = {found["code"]: found["message"] for found in result["findings"] if found["severity"] == "warn"}

    assert code == cli.PASS and set(warnings) >= {"D026", "D027"}
    assert warnings["D026"].startswith("'hour' has other values in 900 requests than in 3,600 training rows")
    assert "most of all hour" in warnings["D027"]
    assert {kind["name"]: kind["answer"] for kind in result["leakage"]}["sampling bias"] == "suspected"


def test_a_feature_in_the_requests_needs_no_declaration_and_an_unserved_one_does(run, folder):
    (folder / "headway.toml").write_text(UNDECLARED)
    assert run("check", "--project", folder)[0] == cli.PASS

    projects.table().with_columns(landed=pl.col("hour") % 5).write_parquet(folder / "table.parquet")
    code, out, _ = run("check", "--project", folder)
    assert code == cli.UNDECIDED
    assert "'landed' is in none of 900 requests" in out and "leakage, clear: " in out
