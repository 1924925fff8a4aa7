"""Pruned ensembles change few decisions of rows like those known, which other groups certify."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest
from tests.engines.boosters import text
from tests.optimization.contexts import baseline_of, context_in
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import NotApplicable
from headway.core.variant import Step
from headway.evaluation.selective import certify_threshold
from headway.optimization.context import TransformContext
from headway.optimization.transforms import fipe, pine


def certify(confidence, errors, thresholds, limit, groups):
    return certify_threshold(confidence, errors, thresholds=thresholds, limit=limit, groups=groups)


@functools.cache
def learned():
    return labeled_rows(2_000, seed=1)


@pytest.fixture
def context(tmp_path) -> TransformContext:
    context = context_with(tmp_path, labeled_rows(4_000, seed=2))
    return dataclasses.replace(context, certify=certify, max_changed=0.3)


def test_few_decisions_change_and_the_certificate_holds_on_other_rows(context):
    model = trained_on(context, learned(), trees=40, leaves=3)
    [found] = pine.plugin(model, context)
    step = found.steps[0]
    assert step.transform == "pine" and step.settings["alpha"] == 0.3 and step.settings["trees"] < 30
    rows = labeled_rows(20_000, seed=3).rows
    after, before = (context.open(variant).predict(rows)[:, 0] >= 0.5 for variant in (found, model))
    assert (after != before).mean() < step.settings["changed_at_most"] <= 0.3


def test_fewer_nodes_remain_than_with_a_proof_for_every_row(context):
    model = trained_on(context, learned(), trees=30, leaves=2)
    trees = [plugin(model, context)[0].steps[0].settings["trees"] for plugin in (fipe.plugin, pine.plugin)]
    assert trees[1] <= trees[0]


def test_too_few_groups_certify_nothing_and_the_reason_counts_them(context):
    model = trained_on(context, learned(), trees=20, leaves=3)
    with pytest.raises(NotApplicable, match=r"40 groups change, and at most 1.0% is not certified"):
        pine.plugin(model, dataclasses.replace(context, max_changed=0.01))


def test_weights_are_found_on_other_groups_than_those_that_certify(context):
    model = trained_on(context, learned(), trees=30, leaves=2)
    data = context.validation
    late = data.groups >= 20
    moved = dataclasses.replace(data, rows=np.where(late[:, None], data.rows[::-1], data.rows))
    first, second = (
        pine.plugin(model, dataclasses.replace(context, validation=validation))[0] for validation in (data, moved)
    )
    assert first.artifact == second.artifact


def test_other_models_and_missing_rows_are_refused_by_name(context, tmp_path, monkeypatch):
    model = trained_on(context, learned(), trees=3, leaves=2)
    with pytest.raises(NotApplicable, match="baseline only"):
        pine.plugin(model.with_step(Step(transform="truncate")), context)
    of_classes = context_in(tmp_path / "classes")
    with pytest.raises(NotApplicable, match="two classes"):
        pine.plugin(baseline_of(text("multiclass", trees=3), of_classes, task="multiclass"), of_classes)
    with pytest.raises(NotApplicable, match="requires groups of validation rows"):
        pine.plugin(model, dataclasses.replace(context, validation=None))
    monkeypatch.setattr(pine, "MAX_NODES", 2)
    with pytest.raises(NotApplicable, match="3 nodes; weights are found for up to 2"):
        pine.plugin(model, context)


def test_without_time_nothing_is_offered(context, monkeypatch):
    monkeypatch.setattr(pine, "LIMIT_S", -1.0)
    with pytest.raises(NotApplicable, match="in time"):
        pine.plugin(trained_on(context, learned(), trees=20, leaves=3), context)
