"""`headway data` and the data versions of releases, on a real project."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import polars as pl
import pytest
from tests.pipeline.projects import table

from headway import pipeline
from headway.cli import main as cli
from headway.core.errors import Refused
from headway.core.provenance import Difference
from headway.registry.project import open_project
from headway.registry.provenance.lineage import events
from headway.registry.provenance.origins import expect_unchanged, saved_versions

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(searched, tmp_path):
    """Return a copy of the project with a search result."""
    return shutil.copytree(searched[2], tmp_path / "copy")


def change_table(folder, **columns):
    """Change values of the project's table on the first of March, which is in validation."""
    here = pl.col("day") == pl.date(2013, 3, 1)
    values = {name: pl.when(here).then(value).otherwise(pl.col(name)) for name, value in columns.items()}
    table().with_columns(**values).write_parquet(folder / "table.parquet")


def test_training_saves_the_data_version_of_each_period_once(searched):
    project, search_result, _ = searched
    found = saved_versions(project)

    assert [version.period for version in found] == ["train", "validation", "test"]
    assert {version.period: version.digest for version in found} == search_result.baseline.data
    assert found[0].facts["source"] == "table.parquet" and found[0].facts["code"].startswith("sha256:")
    pipeline.train(project, pipeline.periods(project))
    assert len(saved_versions(project)) == 3


def test_a_release_and_its_history_name_the_digests_of_its_data(run, folder):
    run("release", "--project", folder, "--who", "ada")
    _, out, _ = run("history", "--project", folder)
    digests = open_project(folder).registry.resolve("small@live").release.data

    assert set(digests) == {"train", "validation", "test"}
    assert all(f"{period} {digest[7:19]}" in out for period, digest in digests.items())


def test_changed_data_block_a_release_without_an_override(run, folder):
    change_table(folder, wind=99.0)
    code, _, err = run("release", "--project", folder, "--who", "ada")

    assert code == cli.FAIL
    assert "nothing is released: the rows of validation have changed: 60 of 2,400 rows gone, 60 new" in err
    assert "columns: wind changed" in err and "headway data diff" in err
    assert run("release", "--project", folder, "--who", "ada", "--override", "wind was corrected")[0] == cli.PASS
    [move] = json.loads(run("history", "--project", folder, "--json")[1])
    assert move["why"] == "override: wind was corrected"


def test_the_same_rows_in_another_order_and_file_are_released(run, folder):
    table().sample(fraction=1, shuffle=True, seed=1).write_parquet(folder / "table.parquet")
    assert run("release", "--project", folder, "--who", "ada")[0] == cli.PASS


def test_a_change_from_a_version_that_is_not_stored_is_refused(folder):
    project = open_project(folder)
    search_result = pipeline.last_search(project)
    odd = dict.fromkeys(search_result.baseline.data, "sha256:0")
    with pytest.raises(Refused, match="the old version is not stored"):
        expect_unchanged(project, pipeline.periods(project), odd)


def test_a_period_that_no_verdict_used_may_change(folder):
    project = open_project(folder)
    judged = {name: digest for name, digest in pipeline.last_search(project).baseline.data.items() if name != "train"}
    data = pipeline.periods(project)
    train = replace(data["train"], table=data["train"].table.head(10))
    expect_unchanged(project, {**data, "train": train}, judged)
    with pytest.raises(Refused, match="the rows of train have changed: 2,390 of 2,400 rows gone, 0 new"):
        expect_unchanged(project, {**data, "train": train}, pipeline.last_search(project).baseline.data)


def test_diff_compares_a_stored_version_with_the_current_data(run, folder):
    digest = saved_versions(open_project(folder))[1].digest[7:17]
    assert "hold the same 2,400 rows" in run("data", "diff", digest, "validation", "--project", folder)[1]

    change_table(folder, carrier=pl.lit("WN"))
    found = json.loads(run("data", "diff", digest, "validation", "--project", folder, "--json")[1])

    assert (found["rows_added"], found["rows_removed"]) == (60, 60)
    assert [column["name"] for column in found["columns"]] == ["carrier"]
    assert Difference(**{**found, "rows": tuple(found["rows"]), "columns": ()}).same is False


def test_diff_compares_two_files_without_a_project(run, tmp_path):
    old, new = tmp_path / "old.parquet", tmp_path / "new.csv"
    table().write_parquet(old)
    table().drop("wind").with_columns(extra=1).write_csv(new)
    code, out, _ = run("data", "diff", old, new, "--project", tmp_path / "nowhere")

    assert code == cli.PASS and "0 removed, 0 added" in out
    assert "extra" in out and "removed" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["diff"], "diff compares two versions of the data, 0 given"),
        (["diff", "0000000000", "train"], "no version of data '0000000000' is stored"),
        (["diff", "train", "live"], "the data has no period 'live'"),
        (["diff", "gone.parquet", "train"], "no file 'gone.parquet'"),
    ],
)
def test_an_unknown_version_is_an_error_that_names_it(run, searched, words, message):
    code, _, err = run("data", *words, "--project", searched[2])
    assert code == cli.USAGE and message in err


def test_list_shows_the_stored_versions(run, searched):
    assert "2,400 x 6" in run("data", "--project", searched[2])[1]
    assert len(json.loads(run("data", "list", "--project", searched[2], "--json")[1])["kept"]) == 3


def test_the_card_names_files_columns_and_the_creator(run, folder, tmp_path):
    toml = folder / "headway.toml"
    toml.write_text(toml.read_text() + '[provenance]\ncreator = "Ada"\nmade_from = ["the airport"]\n')
    run("data", "card", "--project", folder, "--out", tmp_path / "card.json")
    card = json.loads((tmp_path / "card.json").read_text())

    assert (card["creator"]["name"], card["prov:wasDerivedFrom"]) == ("Ada", ["the airport"])
    assert card["distribution"][0]["@id"] == "table.parquet" and len(card["distribution"][0]["sha256"]) == 64
    types = {field["name"]: field["dataType"] for field in card["recordSet"][0]["field"]}
    assert types == {
        "at": "sc:DateTime",
        "day": "sc:Date",
        "hour": "sc:Integer",
        "wind": "sc:Float",
        "carrier": "sc:Text",
        "late": "sc:Integer",
    }


def test_a_card_of_a_source_that_is_not_a_file_is_refused(run, folder):
    toml = folder / "headway.toml"
    toml.write_text(toml.read_text().replace('"table.parquet"', '"made:made"'))
    (folder / "made.py").write_text("from tests.pipeline.projects import table as made")
    code, _, err = run("data", "card", "--project", folder)
    assert code == cli.USAGE and "Croissant describes files" in err


def test_lineage_links_the_data_to_the_live_release(run, folder):
    run("release", "--project", folder, "--who", "ada")
    _, out, _ = run("data", "lineage", "--project", folder)
    found = [json.loads(line) for line in out.splitlines()]

    assert found == events(open_project(folder))
    assert [event["eventType"] for event in found] == ["START", "COMPLETE"] * 3
    train, search, live = found[::2]
    assert [dataset["name"] for dataset in train["inputs"]] == ["small.data.train", "small.data.validation"]
    assert {field["name"] for field in train["inputs"][0]["facets"]["schema"]["fields"]} == set(table().columns)
    assert search["inputs"][0] == train["outputs"][0] and live["inputs"][0] == search["outputs"][0]
    assert live["job"]["name"] == "small.release.live" and live["outputs"][0]["name"] == "small.live"


def test_a_check_of_a_large_folder_states_which_rows_were_sampled(run, folder):
    rows = folder / "rows"
    for number in range(4):
        (rows / f"part={number}").mkdir(parents=True)
        table()[number * 1_800 : (number + 1) * 1_800].write_parquet(rows / f"part={number}/rows.parquet")
    text = (folder / "headway.toml").read_text()
    (folder / "headway.toml").write_text(text.replace('source = "table.parquet"', 'source = "rows"\nmax_rows = 6_500'))
    sampled = "of 7,200 rows all were counted and 6,480 sampled: 108 of 120 groups, each whole"

    _, out, _ = run("check", "--project", folder, "--report", folder / "check.html")
    assert sampled in out and "7,200 rows, by" in out and sampled[1:] in (folder / "check.html").read_text()
    _, out, err = run("check", "--project", folder, "--json")
    assert "no change since" in err
    assert json.loads(out)["sampled"]["n_groups_sampled"] == 108
    _, out, _ = run("check", "--project", folder, "--format", "markdown")
    assert sampled in out


def test_versions_of_large_folders_are_those_of_their_tables(run, folder, monkeypatch):
    table().write_parquet(folder / "rows.parquet")
    (folder / "rows").mkdir()
    for number in range(2):
        table()[number::2].write_parquet(folder / f"rows/{number}.parquet")
    monkeypatch.setattr("headway.data.scan.MAX_VALUES", 10_000)
    code, out, _ = run("data", "diff", folder / "rows", folder / "rows.parquet")
    assert (code, out) == (cli.PASS, "rows and rows.parquet hold the same 7,200 rows\n")
