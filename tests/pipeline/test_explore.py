"""The tables of Explore give what the metrics measure on the same rows, for any threshold and costs."""

from __future__ import annotations

import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.pipeline.explored import MULTICLASS, REGRESSION, searched, searched_for

from headway import pipeline
from headway.core.errors import DataError, StoreError
from headway.core.search_result import SearchResult
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline
from headway.evaluation.context import load_metric
from headway.evaluation.explore import USUAL, ExploreTables, grid, tables_file
from headway.registry.project import Project
from headway.registry.searches import search_digest

pytestmark = pytest.mark.slow
COSTS = (2.0, 3.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, SearchResult, Path]:
    """Return a project with a search, and the file of its tables."""
    project = searched(tmp_path_factory.mktemp("explored"))
    digest = search_digest(project)
    path = pipeline.prepare_explore(project, digest, pipeline.periods(project))
    return project, pipeline.find_search(project, digest), path


@pytest.fixture
def tables(made) -> ExploreTables:
    return ExploreTables(made[2])


def shortest(search: SearchResult) -> str:
    """Return the digest of the variant with the fewest trees."""
    cut = [row for row in search.evaluated if any(step.transform == "truncate" for step in row.variant.steps)]
    return min(cut, key=lambda row: int(row.variant.steps[0].settings["trees"])).variant.digest


@pytest.mark.parametrize("threshold", [0.25, 0.4, 0.5])
def test_costs_and_rates_are_those_of_the_metrics(made, tables, threshold):
    project, search, _ = made
    row = search.row(shortest(search))
    rows = build_evaluation_set(search.baseline, pipeline.periods(project)["validation"], project.blobs)
    subject = replace(compare_with_baseline(row.variant, rows, project.blobs), threshold=threshold, costs=COSTS)
    expected = {found.name: found for found in load_metric("decisions")(subject)}
    found = tables.outcome(row.variant.digest, USUAL, threshold, COSTS)
    for name in ("cost", "accuracy", "recall", "precision", "false_positive_rate"):
        shown, metric = found.measured[name], expected[name]
        assert shown.value == pytest.approx(metric.value), name
        # counts hold no distance of score and label, so that rates here may be wider, and never narrower
        assert shown.low < metric.low + 2e-3 and metric.high - 2e-3 < shown.high, name
        assert shown.high - shown.low < 3 * (metric.high - metric.low), name
    assert next(point.value for point in found.curve if point.threshold == threshold) == pytest.approx(
        found.measured["cost"].value
    )


def test_a_difference_is_paired_with_the_model_as_it_is(made, tables):
    _, search, _ = made
    variant, threshold = shortest(search), search.baseline.threshold
    found = tables.outcome(variant, USUAL, threshold, search.baseline.costs)
    cost = search.row(variant).evidence.find("cost.drop")
    assert [getattr(found.differences["cost"], end) for end in ("value", "low", "high")] == pytest.approx(
        [cost.value, cost.low, cost.high], rel=0.02
    )
    auc, drop = found.differences["roc_auc"], search.row(variant).evidence.find("roc_auc.drop")
    assert [auc.value, auc.low, auc.high] == pytest.approx([-drop.value, -drop.high, -drop.low])
    assert {one.slice for one in found.slices} == {"carrier=AA", "carrier=B6", "carrier=UA"}


def test_the_baseline_does_not_differ_from_itself(made, tables):
    _, search, _ = made
    found = tables.outcome(tables.index.variants[0], USUAL, search.baseline.threshold, COSTS)
    assert {name: one.value for name, one in found.differences.items() if one.value} == {}


def test_each_feature_goes_missing_and_each_later_month_is_answered(made, tables):
    assert [one.key for one in tables.index.conditions] == [
        *("usual", "missing:hour", "missing:wind", "missing:carrier"),
        *("month:2013-02", "month:2013-03", "month:2013-04"),
    ]
    hours = tables.outcome(shortest(made[1]), "missing:hour", 0.5, COSTS)
    assert hours.differences["roc_auc"].high < 0 < hours.differences["brier"].low
    april = tables.outcome(shortest(made[1]), "month:2013-04", 0.5, COSTS)
    assert not april.condition.paired and april.differences["roc_auc"].n_groups == april.condition.n_groups == 26


def test_what_was_not_measured_has_no_outcome(made, tables):
    assert tables.outcome(tables.index.variants[0], "missing:plane", 0.5, COSTS) is None
    assert tables.outcome("sha256:elsewhere", USUAL, 0.5, COSTS) is None
    assert tables.nearest_threshold(0.501) == 0.5


def test_tables_are_made_once_and_only_from_the_rows_of_the_search(made):
    project, _, path = made
    digest, data = search_digest(project), pipeline.periods(project)
    before = path.stat().st_mtime_ns
    assert pipeline.prepare_explore(project, digest, data) == path and path.stat().st_mtime_ns == before
    path.rename(path.with_suffix(".away"))
    try:
        shorter = replace(data["validation"], table=data["validation"].table.head(500))
        with pytest.raises(DataError, match="no longer those of this search"):
            pipeline.prepare_explore(project, digest, {**data, "validation": shorter})
    finally:
        path.with_suffix(".away").rename(path)


def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path):
    path = tables_file(tmp_path, "sha256:ab")
    path.parent.mkdir()
    path.write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(StoreError, match="cannot be read") as caught:
        ExploreTables(path)
    assert "delete the file" in caught.value.hint


def test_a_damaged_table_is_an_error_only_where_it_is_read(tmp_path, made):
    file = tmp_path / "tables.npz"
    content = bytearray(made[2].read_bytes())
    with zipfile.ZipFile(made[2]) as archive:
        last = [part for part in archive.infolist() if part.filename.endswith("/measured.npy")][-1]
    start = last.header_offset + 30 + len(last.filename)
    content[start + 40 : start + last.compress_size] = bytes(last.compress_size - 40)
    file.write_bytes(content)
    variant, condition, _ = last.filename.split("/")
    tables = ExploreTables(file)
    assert tables.outcome(tables.index.variants[0], USUAL, 0.5, COSTS) is not None
    with pytest.raises(StoreError, match="cannot be read"):
        tables.outcome(variant, condition, 0.5, COSTS)


def test_tables_stay_in_their_file_until_a_choice_reads_them(tmp_path, made):
    with zipfile.ZipFile(made[2]) as archive:
        index = archive.read("meta.npy")
    file = tmp_path / "tables.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.npy", index)
        archive.writestr("other.npy", bytes(50_000_000))
    tracemalloc.start()
    tables = ExploreTables(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert tables.index.variants and peak < 5_000_000


def test_thresholds_of_a_rare_class_are_quantiles_of_its_scores():
    edges = grid(0.001, np.linspace(0, 0.01, 1001))
    assert 0.001 in edges and edges[-1] < 0.01 and len(edges) >= 99


@pytest.mark.parametrize("task", [REGRESSION, MULTICLASS])
def test_slices_of_a_task_without_a_threshold_are_sums_of_row_errors(tmp_path, task):
    project = searched_for(tmp_path, task)
    data = pipeline.periods(project)
    path = pipeline.prepare_explore(project, search_digest(project), data)
    tables, search = ExploreTables(path), pipeline.last_search(project)
    rows = build_evaluation_set(search.baseline, data["validation"], project.blobs)
    short = shortest(search)
    found = {one.slice: one for one in tables.outcome(short, USUAL, 0.5, (1.0, 1.0)).slices}
    subject = compare_with_baseline(search.row(short).variant, rows, project.blobs)
    column = subject.slices["carrier"]
    inside = column.codes == list(column.values).index("AA")

    def errors(scores):
        if task == REGRESSION:
            return np.abs(scores[:, 0] - subject.labels)[inside]
        return (scores.argmax(1) != subject.labels)[inside]

    now, before = errors(subject.scores), errors(subject.reference_scores)
    one = found["carrier=AA"]
    assert one.cost.value == pytest.approx(now.mean()) and one.cost.low < one.cost.value < one.cost.high
    assert one.difference.value == pytest.approx(now.mean() - before.mean(), abs=1e-6)
    assert one.difference.high - one.difference.low < one.cost.high - one.cost.low  # paired
    if task == REGRESSION:
        assert one.bias.value == pytest.approx((subject.labels - subject.scores[:, 0])[inside].mean(), abs=1e-6)
    else:
        assert one.bias is None
    month = tables.outcome(short, "month:2013-04", 0.5, (1.0, 1.0))
    assert month.slices and not any(one.difference for one in month.slices)
    project.state.close()
