"""A cascade makes the decisions of the full model except for a bounded share, and is offered only where it pays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tests.engines.made_forests import Shape, made
from tests.optimization.contexts import opened
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.contracts import LabeledData
from headway.core.errors import EngineError, NotApplicable
from headway.engines.cascade import Cascade, is_changed, is_deferred
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.engines.trees import Trees
from headway.optimization.transforms import cascade

LEARNED = labeled_rows(seed=1)


def packed(quick: bytes, full: bytes, limits: dict[str, float]) -> tuple[bytes, tuple[Trees, Trees]]:
    models = tuple(NestedModel(engine="trees", size_bytes=len(stage)) for stage in (quick, full))
    content = pack_models(NestedHeader(models=models, numbers=limits), quick, full)
    return content, (Trees(quick, {}), Trees(full, {}))


def two(low: float, high: float) -> tuple[bytes, Trees, Trees]:
    quick, full = (compile_forest(made(Shape(width=3, trees=trees, link="sigmoid"), seed=trees)) for trees in (2, 40))
    content, models = packed(quick, full, {"low": low, "high": high})
    return content, *models


def test_only_rows_inside_the_band_are_deferred_to_the_full_model():
    content, quick, full = two(0.4, 0.6)
    rows = LEARNED.rows
    found, fast = Cascade(content, {}).predict(rows), quick.predict(rows)
    inside = (fast >= 0.4) & (fast <= 0.6)
    assert 0 < inside.mean() < 1
    assert np.array_equal(found, np.where(inside, full.predict(rows), fast))


def test_of_several_classes_rows_whose_two_likeliest_are_close_are_deferred():
    shape = Shape(width=3, outputs=4, link="softmax")
    quick, full = (compile_forest(made(dataclasses.replace(shape, trees=trees), seed=trees)) for trees in (4, 40))
    content, models = packed(quick, full, {"margin": 0.2})
    rows, model = LEARNED.rows, Cascade(content, {})
    fast, slow = (stage.predict(rows) for stage in models)
    ordered = np.sort(fast, axis=1)
    close = ordered[:, -1] - ordered[:, -2] <= 0.2
    assert 0 < close.mean() < 1
    assert np.array_equal(model.predict(rows), np.where(close[:, None], slow, fast))
    assert np.array_equal(model.undecided(rows), close)


def test_a_margin_of_a_model_with_one_score_is_refused():
    quick, full = (compile_forest(made(Shape(width=3, trees=trees, link="sigmoid"), seed=trees)) for trees in (2, 40))
    with pytest.raises(EngineError, match="one score"):
        Cascade(packed(quick, full, {"margin": 0.2})[0], {}).predict(LEARNED.rows)


def test_a_truncated_cascade_is_refused():
    content, _, _ = two(0.4, 0.6)
    for broken in (content[:-5], content[5:], content.replace(b'"low"', b'"lax"')):
        with pytest.raises(EngineError):
            Cascade(broken, {})


def test_the_band_keeps_the_bound_on_unseen_rows():
    draw = np.random.default_rng(0)
    truth = draw.random(40_000)
    rough = np.clip(truth + draw.normal(0, 0.05, 40_000), 0, 1)
    seen = LabeledData(rows=truth[:, None], labels=truth, groups=np.arange(40_000) // 200)
    band = cascade.narrowest_band(rough[:20_000, None], truth[:20_000, None], _half(seen), 0.5)
    later = slice(20_000, None)
    outside = (rough[later] < band.limits["low"]) | (rough[later] > band.limits["high"])
    changed = ((rough[later] >= 0.5) != (truth[later] >= 0.5)) & outside
    assert changed.mean() <= cascade.MAX_DISAGREEMENT and 0.01 < band.deferred < 0.5


def test_the_margin_of_several_classes_keeps_the_bound_on_unseen_rows():
    draw = np.random.default_rng(0)
    truth = draw.dirichlet(np.full(5, 0.3), 40_000)
    rough = np.clip(truth + draw.normal(0, 0.03, truth.shape), 1e-6, None)
    rough /= rough.sum(axis=1, keepdims=True)
    seen = LabeledData(rows=truth, labels=truth.argmax(axis=1).astype(float), groups=np.arange(40_000) // 200)
    band = cascade.narrowest_band(rough[:20_000], truth[:20_000], _half(seen), 0.5)
    later = slice(20_000, None)
    changed = is_changed(rough[later], truth[later], 0.5) & ~is_deferred(rough[later], band.limits)
    assert changed.mean() <= cascade.MAX_DISAGREEMENT and 0.01 < band.deferred < 0.5


def _half(data: LabeledData) -> LabeledData:
    return LabeledData(rows=data.rows[:20_000], labels=data.labels[:20_000], groups=data.groups[:20_000])


@pytest.mark.slow
def test_a_cascade_that_does_not_pay_is_not_offered_with_the_measurement(tmp_path):
    context = context_with(tmp_path, labeled_rows(seed=2))
    with pytest.raises(NotApplicable, match=r"costs \d+\.\d times its first trees|deferred to the full model"):
        cascade.plugin(trained_on(context, LEARNED), context)


@pytest.mark.slow
def test_a_cascade_that_pays_makes_the_same_decisions(tmp_path, monkeypatch):
    monkeypatch.setattr(cascade, "MIN_COST_RATIO", 0.0)
    monkeypatch.setattr(cascade, "MAX_DEFERRED", 1.0)
    context = context_with(tmp_path, labeled_rows(20_000, seed=2))
    model = trained_on(context, LEARNED)
    [found] = cascade.plugin(model, context)
    decisions = [opened(variant, context).predict(context.sample)[:, 0] >= 0.5 for variant in (model, found)]
    assert 0 < np.mean(decisions[0] != decisions[1]) <= cascade.MAX_DISAGREEMENT
