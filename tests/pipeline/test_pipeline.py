"""The pipeline functions on a real project: search, verdict, release, serve."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.pipeline.projects import TOML, table, write

from headway import pipeline
from headway.core.errors import DataError, EngineError, Refused, StoreError
from headway.core.provenance import TrainingDigests
from headway.core.verdict import Rule
from headway.data.settings.policy import PolicySection
from headway.data.split import labeled_rows
from headway.evaluation.comparison import build_evaluation_set, compare_with_baseline
from headway.registry.judge import judge
from headway.registry.project import open_project
from headway.serving.client import Client

pytestmark = pytest.mark.slow


def test_the_winner_is_an_exact_variant_that_passes_every_rule(searched):
    _, search_result, _ = searched

    assert search_result.winner.variant.engine == "onnxruntime"
    assert search_result.winner.verdict.answer == "pass"
    assert search_result.winner.evidence.find("max_change").value <= 1e-6


def test_validation_is_judged_by_the_relative_rules_and_test_by_all_rules(searched):
    _, search_result, _ = searched

    assert {str(r.rule.measure) for row in search_result.evaluated for r in row.verdict.rule_results} == {
        "roc_auc.drop"
    }
    assert [rule_result.rule.measure for rule_result in search_result.winner.verdict.rule_results] == [
        "roc_auc.drop",
        "ece",
    ]


def test_the_verdict_counts_every_evaluation_of_the_test_set(searched):
    project, search_result, _ = searched

    assert (
        search_result.winner.verdict.test_evaluations
        == project.state.test_evaluations("small", search_result.winner.evidence.dataset)
        >= 1
    )


def test_evidence_on_test_counts_its_evaluations_and_a_policy_may_limit_them(searched):
    _, search_result, _ = searched
    found = search_result.winner.evidence
    policies = [PolicySection(release=(Rule(measure="test_evaluations", at_most=limit),)) for limit in (0, 100)]

    assert found.find("test_evaluations").value == search_result.winner.verdict.test_evaluations
    assert all(row.evidence.find("test_evaluations") is None for row in search_result.evaluated)
    assert [judge(found, policy).answer for policy in policies] == ["fail", "pass"]


def test_the_search_result_is_saved_and_loaded(searched):
    project, search_result, _ = searched

    assert pipeline.last_search(project) == search_result


def test_a_served_release_gives_the_same_predictions_as_in_process(searched):
    project, search_result, folder = searched
    released = pipeline.release(project, search_result, who="ada")
    rows = labeled_rows(pipeline.periods(project)["test"])
    comparison = compare_with_baseline(
        search_result.winner.variant, build_evaluation_set(search_result.baseline, rows, project.blobs), project.blobs
    )

    with served(folder) as address, Client(address) as client:
        names = search_result.baseline.model.signature.names
        answers = client.infer("small", {name: rows.table[name].to_list()[:200] for name in names})

    np.testing.assert_array_equal(answers, comparison.scores[:200])
    assert project.registry.head("small@live") == released.move


def test_a_server_refuses_a_release_with_one_changed_byte(searched):
    project, search_result, folder = searched
    released = pipeline.release(project, search_result, who="ada")
    model = folder / ".headway/releases/small" / released.move.release.removeprefix("sha256:") / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])

    ended = subprocess.run(command("serve", "small@live", folder), capture_output=True, text=True, timeout=60)
    model.write_bytes(content)

    assert ended.returncode == 1
    assert "model.onnx" in ended.stderr


def test_a_search_finds_slices_for_the_winner_only_unless_a_rule_needs_them(searched, tmp_path):
    def has_found_slices(judged):
        return any(measurement.name.startswith("discovered.") for measurement in judged.evidence.measurements)

    search_result = searched[1]
    assert has_found_slices(search_result.winner) and not any(has_found_slices(row) for row in search_result.evaluated)
    rule = '[[policy.release]]\nmeasure = "worst_slice.discovered.brier.drop"\nat_most = 1.0\n'
    project = open_project(write(tmp_path, TOML + rule))
    data = pipeline.periods(project)
    assert all(
        has_found_slices(row) for row in pipeline.optimize(project, pipeline.train(project, data), data).evaluated
    )


def test_nothing_is_released_unless_the_verdict_is_pass(searched):
    project, search_result, _ = searched
    undecided = replace(search_result.winner, verdict=replace(search_result.winner.verdict, answer="undecided"))

    with pytest.raises(Refused, match="nothing is released: the verdict on onnxruntime"):
        pipeline.release(project, replace(search_result, winner=undecided), who="ada")


def test_training_refuses_a_column_that_is_known_only_after_the_outcome(searched):
    project, _, _ = searched
    data = pipeline.periods(project)

    with pytest.raises(DataError, match="refused to train on late"):
        pipeline.train(project, data, features=["hour", "late"])


def test_training_refuses_if_a_check_stops_it(tmp_path):
    folder = write(tmp_path)
    leak = table().with_columns(leak=pl.col("late") * 2.0)
    leak.write_parquet(folder / "table.parquet")
    project = open_project(folder)

    with pytest.raises(DataError, match="refused to train: D003 'leak' alone reaches"):
        pipeline.train(project, pipeline.periods(project))


def test_a_model_file_becomes_the_baseline_unchanged(searched, tmp_path):
    _, search_result, folder = searched
    project = open_project(write(tmp_path, TOML.replace('train = "mine:train"', 'file = "model.txt"')))
    blobs = open_project(folder).blobs
    (tmp_path / "model.txt").write_bytes(blobs.get(search_result.baseline.model.artifact.digest))

    baseline, from_file = search_result.baseline, pipeline.train(project, pipeline.periods(project))
    threads = baseline.model.settings  # of the fitted object; the file does not say how many predict
    assert from_file.training == TrainingDigests(), "nothing is known of what a file was trained with"
    known = replace(from_file, model=replace(from_file.model, settings=threads), training=baseline.training)
    assert known == baseline


def test_a_model_that_no_engine_accepts_is_refused(tmp_path):
    folder = write(tmp_path)
    (folder / "mine.py").write_text("def train(rows, labels): return object()")
    project = open_project(folder)

    with pytest.raises(EngineError, match=r"no engine imports a builtins\.object"):
        pipeline.train(project, pipeline.periods(project))


def test_a_project_without_a_search_has_no_search_result(tmp_path):
    with pytest.raises(StoreError, match="no variant was searched for yet"):
        pipeline.last_search(open_project(write(tmp_path)))


def command(name: str, reference: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "headway.cli", name, reference, "--project", str(folder)]


class served:
    """A server process of the project for the duration of the block."""

    def __init__(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            command("serve", "small@live", folder), stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> str:
        return next(word for word in self.process.stdout.readline().split() if word.startswith("http://"))

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=20)
        assert self.process.returncode == 0


def test_rows_of_training_in_the_test_are_found_for_a_boolean_target_too(searched):
    project, search_result, _ = searched
    data = pipeline.periods(project)
    assert not pipeline._copied_rows(search_result.baseline, data)
    names = search_result.baseline.model.signature.names
    copied = data["test"].table.with_columns(data["train"].table.select(*names, "late"))
    copies = {**data, "test": dataclasses.replace(data["test"], table=copied)}
    booleans = {
        name: dataclasses.replace(period, table=period.table.with_columns(pl.col("late").cast(pl.Boolean)))
        for name, period in copies.items()
    }
    for periods in (copies, booleans):
        [finding] = pipeline._copied_rows(search_result.baseline, periods)
        assert (finding.code, finding.severity, finding.measured) == ("E007", "undecided", 1.0)
