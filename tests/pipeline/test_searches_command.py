"""`headway searches` and `headway compare` on a real project, and the commands that take a search by its digest."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from headway import pipeline
from headway.cli import main as cli
from headway.registry.project import open_project
from headway.registry.searches import list_searches

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def twice(searched) -> tuple[Path, str, str]:
    """Return a project in which was searched twice: its folder, and the digests of the first and of the last search."""
    project, _, folder = searched
    data = pipeline.periods(project)
    pipeline.optimize(project, pipeline.train(project, data), data)
    last, first = (saved.record.search for saved in list_searches(project))
    return folder, first, last


def test_all_searches_are_listed(run, twice):
    folder, first, last = twice
    code, out, err = run("searches", "--project", folder)
    assert code == cli.PASS, err
    assert first[7:19] in out and last[7:19] in out
    listed = json.loads(run("searches", "--project", folder, "--json")[1])
    assert [one["search"]["search"] for one in listed] == [last, first]
    assert listed[0]["search"]["n_evaluated"] == 2
    page = run("searches", "--project", folder, "--last", 1)[1]
    assert f"headway searches --before {listed[0]['position']}" in page and first[7:19] not in page


def test_a_search_is_shown_with_every_variant_and_why_it_lost(run, twice):
    folder, first, _ = twice
    code, out, err = run("searches", first[7:15], "--project", folder)
    assert code == cli.PASS, err
    assert "lightgbm" in out and "onnxruntime" in out and f"headway release --search {first[7:15]}" in out
    assert json.loads(run("searches", first, "--project", folder, "--json")[1])["name"] == "small"


def test_filters_leave_out_what_does_not_match(run, twice):
    folder, _, _ = twice
    assert "no search matches" in run("searches", "--project", folder, "--winner", "no such model")[1]
    assert run("searches", "--project", folder, "--last", "0")[0] == cli.USAGE


def test_an_earlier_search_is_judged_reported_and_evaluated(run, twice):
    folder, first, last = twice
    assert run("gate", "--first-model", "--project", folder, "--search", first)[0] == cli.PASS
    code, _, err = run("report", "--project", folder, "--search", first[7:17], "--out", folder / "r.html")
    assert code == cli.PASS, err
    code, _, err = run("evaluate", "--project", folder, "--search", first, "--audit", "start", "--json")
    assert code == cli.PASS, err
    listed = json.loads(run("searches", "--project", folder, "--json")[1])
    assert [one["search"]["is_evaluation"] for one in listed] == [True, False, False]
    project = open_project(folder)
    assert pipeline.last_search(project) == pipeline.find_search(project, last)


def test_an_earlier_search_is_released(run, twice):
    folder, first, _ = twice
    code, _, err = run("release", "--project", folder, "--search", first, "--why", "the first one")
    assert code == cli.PASS, err
    code, _, err = run("release", "--project", folder, "--search", "ffffffff")
    assert code == cli.USAGE and "no search has the digest 'ffffffff'" in err and "headway searches" in err


def test_two_variants_are_compared_point_by_point(run, twice):
    folder, first, _ = twice
    code, out, err = run("compare", "onnxruntime", "lightgbm (baseline)", "--project", folder, "--search", first)
    assert code == cli.PASS, err
    for word in ("Ranking (AUC)", "Decisions that differ", "carrier=AA", "observed", "paired by group"):
        assert word in out
    found = json.loads(
        run("compare", "onnxruntime", "lightgbm (baseline)", "--project", folder, "--time", "0.2", "--json")[1]
    )
    drop = next(one for one in found["differences"] if one["name"] == "roc_auc.drop")
    assert abs(drop["value"]) < 1e-6 and found["flips"][0]["n_flips"] == 0
    assert found["times"]["busy"] or sum(found["times"]["first"]) == sum(found["times"]["second"])


def test_a_comparison_that_cannot_be_made_says_why(run, twice):
    folder, _, _ = twice
    for words, what in (
        (("onnxruntime", "no such"), "no variant of this search is called 'no such'"),
        (("onnxruntime", "small@canary"), "small@canary"),
        (("onnxruntime", "onnxruntime", "--period", "live"), "models are not compared on 'live'"),
    ):
        code, _, err = run("compare", *words, "--project", folder)
        assert code == cli.USAGE and what in err


def test_two_searches_that_end_in_the_same_second_differ_in_microseconds(twice):
    folder, first, last = twice
    project = open_project(folder)
    ends = [datetime.fromisoformat(pipeline.find_search(project, digest).at) for digest in (first, last)]
    assert ends[0] < ends[1] and any(end.microsecond for end in ends)
