"""Audit `components`: harmful and useless parts are named, useful ones are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.contract.subjects import echo_comparison
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.calibrator import Calibrator
from headway.core.errors import EngineError, NotApplicable
from headway.core.feature_view import FeatureView
from headway.evaluation.audits import components
from headway.evaluation.comparison import open_variant
from headway.evaluation.context import AuditContext
from headway.optimization.transforms import trees
from headway.storage.blobs.files import Files

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("whole_rounds")]


class Mean:
    """Predicts the mean of a row; refuses a row without its first column."""

    def predict(self, rows):
        if np.isnan(rows[:, 0]).any():
            raise EngineError("row 0 has no 'a'")
        return np.nan_to_num(rows).mean(1, keepdims=True)


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setattr(components, "ROUNDS", 20)
    return AuditContext(blobs=Files(tmp_path), budget_s=60)


@pytest.fixture
def subject():
    """Outcomes occur as often as the model predicts."""
    found, model = echo_comparison(groups=40), Mean()
    scores = model.predict(found.rows)
    labels = (np.random.default_rng(3).random(len(scores)) < scores[:, 0]).astype(np.float64)
    return replace(found, model=model, labels=labels, scores=scores)


def of(found, name):
    return {measurement.slice: measurement for measurement in found if measurement.name == f"components.{name}"}


def test_a_part_that_truly_hurts_is_named_harmful(subject, context):
    """Outcomes follow the predictions on rows without `c`."""
    without = np.nan_to_num(subject.rows * [1, 1, 0]).mean(1)
    labels = (np.random.default_rng(3).random(len(without)) < without).astype(np.float64)
    found = components.plugin(replace(subject, labels=labels), replace(context, feature_groups=(("c",),)))
    assert of(found, "brier.drop")["c"].high < 0
    assert set(of(found, "harmful")) == {"", "c"}
    assert "components.brier.drop -0.0" in of(found, "harmful")["c"].method


def test_a_part_that_changes_nothing_buys_nothing(subject, context):
    empty = replace(subject, rows=subject.rows * [1, 1, 0])
    empty = replace(empty, scores=empty.model.predict(empty.rows))
    found = components.plugin(empty, replace(context, feature_groups=(("c",),)))
    assert set(of(found, "nothing")) == {"", "c"}
    assert set(of(found, "harmful")) == {""}


def test_a_calibrator_that_spoils_probabilities_costs_time_and_quality(subject, context):
    found = components.plugin(subject, replace(context, calibrator=Calibrator(shift=1.5)))
    assert of(found, "brier.drop")["calibrator"].high < 0
    assert of(found, "cost.one_row.ratio")["calibrator"].value < 1
    assert "calibrator" not in of(found, "nothing")


def test_a_step_that_saves_time_is_not_flagged_and_its_saving_is_measured(context, tmp_path):
    bench = context_with(tmp_path, labeled_rows(seed=2), labeled_rows(seed=1))
    origin = changed(trained_on(bench, labeled_rows(seed=1)), settings={"threads": 1})
    [variant] = trees.plugin(origin, bench)
    known = labeled_rows(seed=3)
    model = open_variant(variant, bench.blobs)
    scores = model.predict(known.rows)
    subject = replace(
        echo_comparison(groups=40),
        variant=variant,
        model=model,
        rows=known.rows,
        labels=known.labels,
        groups=known.groups,
        scores=scores,
        reference_scores=scores,
        slices={},
        sensitive_features={},
    )
    found = components.plugin(
        subject, replace(context, blobs=bench.blobs, baseline=origin, transform_context=lambda: bench)
    )
    for name in ("latency.speedup", "throughput.speedup", "cost.one_row.ratio", "cost.batch.ratio"):
        assert of(found, name)["trees"].low > 1 and of(found, name)["trees"].unit == "x"
    assert of(found, "latency.p99.speedup")["trees"].value > 1
    assert of(found, "brier.drop")["trees"].value == pytest.approx(0, abs=1e-12)
    assert [len(of(found, word)) for word in ("harmful", "nothing", "unsettled")] == [1, 1, 1]


def test_a_view_and_features_that_belong_together_are_missing_in_every_row_and_change_no_time(subject, context):
    weather = FeatureView(name="weather", table="t", columns=("b", "c"))
    found = components.plugin(subject, replace(context, views=(weather,), feature_groups=(("c",),)))
    assert set(of(found, "brier.drop")) == {"view weather", "c"}
    assert of(found, "brier.drop")["view weather"].low > 0
    assert of(found, "latency.speedup") == {}


def test_parts_without_answers_or_time_are_not_decided(subject, context):
    refused = of(components.plugin(subject, replace(context, feature_groups=(("a",),))), "unsettled")
    late = of(components.plugin(subject, replace(context, feature_groups=(("c",),), budget_s=1e-9)), "unsettled")
    assert "row 0 has no 'a'" in refused["a"].method
    assert "no time" in late["c"].method and late[""].value == 1


def test_the_baseline_has_no_part_to_leave_out(subject, context):
    with pytest.raises(NotApplicable, match="the baseline has no parts"):
        components.plugin(subject, context)
