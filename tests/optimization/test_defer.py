"""A first model without dear features answers alone where exact tests on later groups certify that it may."""

from __future__ import annotations

import dataclasses

import lightgbm
import numpy as np
import pytest
from msgspec.structs import replace
from tests.contract.subjects import echo_comparison
from tests.optimization.contexts import opened
from tests.optimization.training_rows import THREE, context_with, trained_on

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.variant import Artifact, Signature, Variant
from headway.engines.cascade import Cascade, is_changed
from headway.evaluation.metrics import cascade as metric
from headway.evaluation.selective import certify_threshold
from headway.optimization import search
from headway.optimization.screening import comes_first
from headway.optimization.transforms.defer import plugin

pytestmark = pytest.mark.slow

MANY = 400


def certify(confidence, errors, thresholds, limit, groups):
    return certify_threshold(confidence, errors, thresholds=thresholds, limit=limit, groups=groups)


def many_groups(rows: int, groups: int, *, seed: int) -> LabeledData:
    """Rows whose label follows `a`, and `b` a little."""
    draw = np.random.default_rng(seed)
    cells = draw.normal(size=(rows, 3))
    chance = 1 / (1 + np.exp(-(4 * cells[:, 0] + 0.8 * cells[:, 1])))
    labels = (draw.random(rows) < chance).astype(np.float64)
    return LabeledData(rows=cells, labels=labels, groups=np.arange(rows) * groups // rows)


LEARNED = many_groups(20_000, MANY, seed=1)


@pytest.fixture
def context(tmp_path):
    """A context that defers `b`, on 400 groups of rows."""
    context = context_with(tmp_path, many_groups(20_000, 400, seed=2), LEARNED)
    model = trained_on(context, LEARNED, trees=20)

    def retrain(features):
        columns = [THREE.names.index(name) for name in features]
        fewer = dataclasses.replace(LEARNED, rows=LEARNED.rows[:, columns])
        inputs = tuple(THREE.inputs[column] for column in columns)
        return replace(trained_on(context, fewer, trees=20), signature=replace(THREE, inputs=inputs))

    return dataclasses.replace(
        context,
        columns=THREE.names,
        deferred=("b",),
        max_changed=0.05,
        certify=certify,
        baseline=model,
        retrain=retrain,
    )


def test_the_first_model_answers_alone_within_the_certified_limit_on_new_rows(context):
    [variant] = plugin(context.baseline, context)
    model, full = opened(variant, context), opened(context.baseline, context)
    new = many_groups(20_000, 400, seed=9).rows
    dear = new.copy()
    dear[:, 1] = np.nan
    undecided = model.undecided(dear)

    assert isinstance(model, Cascade) and model.columns == (0, 2)
    assert variant.signature == THREE and variant.steps[-1].settings["features"] == "b"
    assert np.array_equal(model.predict(dear)[~undecided], model.predict(new)[~undecided]), "b is not read"
    assert np.array_equal(model.predict(new)[undecided], full.predict(new)[undecided])
    changed = (model.predict(new) >= 0.5) != (full.predict(new) >= 0.5)
    assert 0 < changed[~undecided].mean() <= 0.05
    assert 0.1 < (~undecided).mean() < 1


def test_a_first_model_of_three_classes_answers_rows_whose_likeliest_classes_are_apart(tmp_path):
    learned, judged, new = (three_classes(20_000, 400, seed=seed) for seed in (1, 2, 9))
    context = context_with(tmp_path, judged, learned)

    def trained(columns):
        few = learned.rows[:, columns]
        settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 15, "verbose": -1, "num_threads": 1}
        content = lightgbm.train(settings, lightgbm.Dataset(few, learned.labels), 20).model_to_string().encode()
        artifact = Artifact(format="lightgbm", digest=context.blobs.put(content), size_bytes=len(content))
        inputs = tuple(THREE.inputs[column] for column in columns)
        signature = Signature(inputs=inputs, classes=("x", "y", "z"))
        return Variant(artifact=artifact, engine="lightgbm", signature=signature, task="multiclass")

    baseline = trained([0, 1, 2])
    context = dataclasses.replace(
        context,
        columns=THREE.names,
        deferred=("b",),
        max_changed=0.05,
        certify=certify,
        baseline=baseline,
        retrain=lambda features: trained([THREE.names.index(name) for name in features]),
    )

    [variant] = plugin(baseline, context)

    model, full = opened(variant, context), opened(baseline, context)
    dear = new.rows.copy()
    dear[:, 1] = np.nan
    undecided = model.undecided(dear)
    assert np.array_equal(model.predict(dear)[~undecided], model.predict(new.rows)[~undecided]), "b is not read"
    assert np.array_equal(model.predict(new.rows)[undecided], full.predict(new.rows)[undecided])
    changed = is_changed(model.predict(new.rows), full.predict(new.rows), 0.5)
    assert 0 < changed[~undecided].mean() <= 0.05
    assert 0.1 < (~undecided).mean() < 1
    assert model.certificate.risk.high <= 0.05 and model.certificate.risk.n_groups == 200


def three_classes(rows: int, groups: int, *, seed: int) -> LabeledData:
    """Rows whose class follows `a`, and `b` a little."""
    draw = np.random.default_rng(seed)
    cells = draw.normal(size=(rows, 3))
    score = 3 * cells[:, 0] + 0.5 * cells[:, 1] + draw.logistic(size=rows)
    return LabeledData(
        rows=cells, labels=np.digitize(score, [-2.0, 2.0]).astype(float), groups=np.arange(rows) * groups // rows
    )


def test_the_certificate_is_in_the_artifact(context):
    [variant] = plugin(context.baseline, context)
    certificate = opened(variant, context).certificate

    assert certificate.limit == 0.05 and certificate.risk.high <= 0.05
    assert certificate.risk.n_groups == 200 and certificate.risk.level == 0.95
    assert certificate.coverage.value == pytest.approx(variant.steps[-1].settings["answers"], abs=1e-3)
    assert "betting test" in certificate.risk.method


def test_too_few_groups_are_refused_with_how_many_are_needed(context):
    few = dataclasses.replace(context, validation=many_groups(20_000, 20, seed=2))
    with pytest.raises(NotApplicable, match=r"at most 5.0% of the decisions .*: about \d+ groups like these 20 would"):
        plugin(context.baseline, few)


def test_a_first_model_that_does_not_decide_as_the_full_one_is_refused(context):
    flipped = dataclasses.replace(LEARNED, labels=1 - LEARNED.labels)

    def retrain(_):
        fewer = dataclasses.replace(flipped, rows=flipped.rows[:, [0, 2]])
        return replace(
            trained_on(context, fewer, trees=20), signature=replace(THREE, inputs=(THREE.inputs[0], THREE.inputs[2]))
        )

    with pytest.raises(NotApplicable, match="more groups like these 400 would not help"):
        plugin(context.baseline, dataclasses.replace(context, retrain=retrain))


def test_a_first_model_that_would_answer_few_rows_does_not_pay(context, monkeypatch):
    monkeypatch.setattr("headway.optimization.transforms.defer.MIN_COVERAGE", 1.0)
    with pytest.raises(NotApplicable, match="pays from 100% on"):
        plugin(context.baseline, context)


def test_only_a_model_for_classes_that_reads_the_features_and_has_groups_is_deferred(context):
    one = dataclasses.replace(
        context, validation=many_groups(1_000, 1, seed=2), sample=many_groups(1_000, 1, seed=2).rows
    )
    for model, where in (
        (replace(context.baseline, task="regression"), context),
        (replace(context.baseline, engine="cache"), context),
        (context.baseline, one),
        (context.baseline, dataclasses.replace(context, validation=None)),
        (context.baseline, dataclasses.replace(context, deferred=("x",))),
    ):
        with pytest.raises(NotApplicable):
            plugin(model, where)


def test_both_models_have_the_form_of_the_variant(context):
    found = search.generate_candidates(context.baseline, context, ["trees", "defer"])
    names = {variant.name: variant for variant in found.variants}
    [name] = [name for name in names if "trees" in name and "defer" in name]

    assert comes_first(names[name]) and not comes_first(names["trees"])
    assert b'"engine":"lightgbm"' not in context.read(names[name])


def test_evidence_has_the_coverage_and_the_risk_on_its_own_rows(context):
    [variant] = plugin(context.baseline, context)
    new = many_groups(10_000, 200, seed=9)
    model = opened(variant, context)
    subject = dataclasses.replace(
        echo_comparison(groups=4),
        variant=variant,
        model=model,
        rows=new.rows,
        labels=new.labels,
        groups=new.groups,
        scores=model.predict(new.rows),
    )

    coverage, risk = metric.plugin(subject)

    assert (coverage.name, risk.name) == ("cascade.coverage", "cascade.risk")
    assert coverage.low < coverage.value < coverage.high and coverage.n_groups == 200
    assert risk.value <= risk.high < 0.1
    assert metric.plugin(echo_comparison(groups=4)) == []
