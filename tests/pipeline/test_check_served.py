"""`check` on a project whose server was really asked: requests that prove, that lack, and that are of another world."""

from __future__ import annotations

import json
from datetime import date

import polars as pl
import pytest
from tests.pipeline import projects, served_log, watched

from headway.cli import main as cli

pytestmark = pytest.mark.slow
SILENT = watched.TOML.replace('hour = "request"\n', "").replace('wind = "request"\n', "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project whose live release answered 900 requests over 60 days; in the later 30 every hour is 0."""
    project = watched.released(watched.write(tmp_path_factory.mktemp("checked")))
    rows = served_log.asked()
    served_log.serve(project, rows)
    served_log.put_on_days(project, rows)
    assert rows["served"].max() == 59 and date(2020, 3, 1) == served_log.BROKEN
    return projects.Path(project.config.folder)


def test_requests_of_another_world_are_found_as_such(run, folder):
    code, out, _ = run("check", "--project", folder, "--json")
    told = json.loads(out)
    unlike = {found["code"]: found["message"] for found in told["findings"] if found["severity"] == "warn"}

    assert code == cli.PASS and set(unlike) >= {"D026", "D027"}
    assert unlike["D026"].startswith("'hour' has other values in 900 requests than in 3,600 rows learned from")
    assert "most of all hour" in unlike["D027"]
    assert {kind["name"]: kind["answer"] for kind in told["leakage"]}["sampling bias"] == "found"


def test_what_callers_sent_needs_no_declaration_and_what_the_live_model_never_read_does(run, folder):
    (folder / "headway.toml").write_text(SILENT)
    assert run("check", "--project", folder)[0] == cli.PASS

    projects.table().with_columns(landed=pl.col("hour") % 5).write_parquet(folder / "table.parquet")
    code, out, _ = run("check", "--project", folder)
    assert code == cli.UNDECIDED
    assert "'landed' is in none of 900 requests" in out and "Kind of leakage" in out
