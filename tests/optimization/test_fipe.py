"""Pruned ensembles decide every row as before: all combinations of cells are tried one by one."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time

import lightgbm
import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import ensemble
from tests.engines.boosters import text
from tests.engines.forest_walk import answers
from tests.engines.made_forests import Shape, made, rows_for
from tests.optimization.contexts import baseline_of, context_in
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import accepted_rows, constant_tree
from headway.optimization.context import TransformContext
from headway.optimization.equal_decisions import DecisionSearch
from headway.optimization.parity import column_edges
from headway.optimization.screening import proves_decisions
from headway.optimization.transforms import fipe
from headway.optimization.transforms._weights import (
    DecidingTrees,
    average_probabilities,
    count_nodes,
    decide_by,
    merged,
)

COMBINATIONS = 60_000


def all_rows(forest):
    """Rows with every combination of the values at the edges of each column; None if there are too many."""
    used = {int(column) for tree in forest.trees for column in tree.feature}
    random = np.random.default_rng(0)
    values = [
        np.unique(column_edges(forest, column, random)) if column in used else np.zeros(1)
        for column in range(forest.width)
    ]
    if math.prod(map(len, values)) > COMBINATIONS:
        return None
    return np.array(list(itertools.product(*values)))


def decisions(forest, rows, threshold=0.5):
    return decide_by(lambda some: answers(forest, some), threshold)(rows)


SHAPES = [
    Shape(width=2, trees=5, leaves=4, thresholds=4, link="sigmoid"),
    Shape(width=2, trees=5, leaves=4, thresholds=4, link="sigmoid", rows="float32", sums="float32"),
    Shape(width=2, trees=5, leaves=4, thresholds=4, link="sigmoid", zeros=True),
    Shape(width=2, trees=5, leaves=4, thresholds=4, link="sigmoid", missing=0.0),
    Shape(width=2, trees=5, leaves=4, thresholds=4, link="sigmoid", categories=4),
    Shape(width=2, trees=5, leaves=4, thresholds=4, link="sigmoid", values=3, rows="float32"),
    *(
        Shape(width=2, trees=trees, leaves=4, thresholds=4, outputs=outputs, together=together, **kinds)
        for trees, outputs, together, kinds in (
            (6, 3, False, {"link": "softmax"}),
            (6, 3, False, {"link": "softmax", "rows": "float32", "sums": "float32"}),
            (8, 4, False, {"link": "softmax", "missing": 0.0}),
            (4, 3, True, {"link": "softmax", "categories": 4}),
            (5, 3, True, {"link": "identity"}),
        )
    ),
]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from(SHAPES), changed=st.floats(0.0, 0.6), twice=st.booleans())
def test_a_row_is_found_exactly_if_some_combination_of_values_is_decided_differently(seed, shape, changed, twice):
    forest = made(shape, seed)
    forest = dataclasses.replace(forest, trees=forest.trees * (2 if twice else 1))
    rows = all_rows(forest)
    if rows is None:
        return
    random = np.random.default_rng(seed)
    trees = tuple(
        dataclasses.replace(tree, leaf=(tree.leaf * random.uniform(1 - changed, 1 + changed)).astype(np.float32) * 1.0)
        for tree in forest.trees
    )
    other = dataclasses.replace(forest, trees=trees)

    def differs(some):
        return decisions(forest, some) != decisions(other, some)

    found = DecisionSearch(forest, 0.5).differences(other, differs, until=time.monotonic() + 60)
    assert bool(len(found.rows)) == bool(differs(rows).any())
    assert differs(found.rows).all() and (found.is_complete or len(found.rows))


def probable(forest):
    """The forest, whose trees of several outputs add probabilities if nothing comes after their sum."""
    if len(forest.base) == 1 or forest.link != "identity":
        return forest
    shares = [np.exp(tree.leaf) / np.exp(tree.leaf).sum(axis=1, keepdims=True) for tree in forest.trees]
    trees = tuple(
        dataclasses.replace(tree, leaf=share / len(shares)) for tree, share in zip(forest.trees, shares, strict=True)
    )
    return dataclasses.replace(forest, trees=trees, base=np.zeros(len(forest.base)))


def pruned(forest, sample, threshold=0.5):
    decide = decide_by(load_engine("trees")(compile_forest(forest), {}).predict, threshold)
    model = DecidingTrees(forest=forest, threshold=threshold, decide=decide)
    return fipe.proved_forest(model, DecisionSearch(forest, threshold), sample, until=time.monotonic() + 20)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from(SHAPES), twice=st.booleans())
def test_a_pruned_forest_decides_every_combination_of_values_as_before(seed, shape, twice):
    forest = probable(made(shape, seed))
    forest = dataclasses.replace(forest, trees=forest.trees * (2 if twice else 1))
    rows = all_rows(forest)
    if rows is None or not any(len(tree.feature) for tree in forest.trees):
        return
    try:
        found = pruned(forest, np.zeros((1, forest.width)))
    except NotApplicable as reason:
        assert "nodes decide" in reason.what or "no weights" in reason.what
        return
    assert count_nodes(found) < count_nodes(forest)
    after, before = (
        decide_by(load_engine("trees")(compile_forest(one), {}).predict, 0.5)(rows) for one in (found, forest)
    )
    assert np.array_equal(after, before)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), shape=st.sampled_from(SHAPES))
def test_trees_with_the_same_splits_become_one_that_adds_what_they_did(seed, shape):
    forest = made(shape, seed)
    random = np.random.default_rng(seed)
    copies = [
        dataclasses.replace(tree, leaf=random.normal(size=(len(tree.leaf), 1)), outputs=(output,))
        for tree in forest.trees
        for output in random.integers(len(forest.base), size=3).tolist()
    ]
    idle = [dataclasses.replace(tree, leaf=np.zeros_like(tree.leaf)) for tree in made(shape, seed + 1).trees]
    order = random.permutation(len(copies))
    many = dataclasses.replace(forest, trees=(*idle, *(copies[index] for index in order)))
    found, rows = merged(many), rows_for(forest, 200, seed)
    assert len(found.trees) == len({str(tree) for tree in (dataclasses.replace(c, leaf=0, outputs=()) for c in copies)})
    of_packed, of_many = (load_engine("trees")(compile_forest(one), {}).predict(rows) for one in (found, many))
    assert np.allclose(of_packed, of_many, atol=1e-5)


def test_an_ensemble_of_many_equal_splits_is_proved_whatever_its_size(context):
    data = labeled_rows(600, seed=1)
    coarse = dataclasses.replace(data, rows=np.sign(data.rows))
    [found] = fipe.plugin(trained_on(context, coarse, trees=400, leaves=2), context)
    assert 0 < found.steps[0].settings["trees"] <= 3


@pytest.fixture
def context(tmp_path) -> TransformContext:
    return context_with(tmp_path, labeled_rows(600, seed=2))


def test_stumps_of_a_booster_become_few_and_no_decision_changes(context):
    model = trained_on(context, labeled_rows(600, seed=1), trees=30, leaves=2)
    [found] = fipe.plugin(model, context)
    step = found.steps[0]
    assert step.transform == "fipe" and step.settings["threshold"] == 0.5 and 0 < step.settings["trees"] < 20
    rows = np.concatenate([context.sample, np.full((1, 3), np.nan)])
    after, before = (context.open(variant).predict(rows)[:, 0] for variant in (found, model))
    assert np.array_equal(after >= 0.5, before >= 0.5)
    assert 0 < np.abs(after - before).mean() < 0.1
    assert proves_decisions(found) and not proves_decisions(model)
    assert not proves_decisions(found.with_step(Step(transform="threads")))


def read_by_library(name, data, classes):
    """A small ensemble of a library, and the engine that reads it."""
    labels = data.labels if classes == 2 else np.where(data.rows[:, 1] > 0.5, 2, data.labels)
    if name == "xgboost":
        model = xgboost.XGBClassifier(n_estimators=60 // classes, max_depth=1, max_bin=8, n_jobs=1)
    else:
        model = ensemble.HistGradientBoostingClassifier(max_iter=60 // classes, max_leaf_nodes=2, max_bins=8)
    engine = load_engine("xgboost" if name == "xgboost" else "sklearn")
    return engine, engine.import_model(model.fit(data.rows[:, :2], labels)).content


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["xgboost", "sklearn"])
def test_libraries_decide_every_combination_of_values_as_their_pruned_trees(name, classes):
    data = labeled_rows(400, seed=1)
    engine, content = read_by_library(name, data, classes)
    forest, library = engine.forest(content), engine(content, {})
    model = DecidingTrees(forest=forest, threshold=0.5, decide=decide_by(library.predict, 0.5))
    found = fipe.proved_forest(model, DecisionSearch(forest, 0.5), data.rows[:, :2], until=time.monotonic() + 20)
    rows = all_rows(forest)
    assert count_nodes(found) < count_nodes(forest) and len(rows) > 100
    assert len(set(model.decide(rows).tolist())) == classes
    assert not model.differs_from(found)(rows[accepted_rows(forest, rows)]).any()


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_of_a_random_forest_remain_probabilities(context, classes):
    data = labeled_rows(600, seed=1)
    labels = data.labels if classes == 2 else data.labels + (data.rows[:, 0] > 0)
    model = ensemble.RandomForestClassifier(30, max_leaf_nodes=2, random_state=0).fit(data.rows, labels)
    engine = load_engine("sklearn")
    forest = engine.forest(engine.import_model(model).content)
    found = pruned(forest, data.rows)
    scores = load_engine("trees")(compile_forest(found), {}).predict(data.rows)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert classes == 2 or np.allclose(scores.sum(axis=1), 1)
    assert np.array_equal(decide_by(lambda _: scores, 0.5)(data.rows), decisions(forest, data.rows))


def test_a_booster_of_three_classes_predicts_every_class_as_before(context):
    data = labeled_rows(600, seed=1)
    three = dataclasses.replace(data, labels=np.where(data.rows[:, 1] > 0.5, 2, data.labels))
    settings = {"objective": "multiclass", "num_class": 3, "num_leaves": 2, "verbose": -1, "max_bin": 15}
    booster = lightgbm.train(settings, lightgbm.Dataset(three.rows, three.labels), 20)
    model = baseline_of(booster.model_to_string(), context, task="multiclass")
    [found] = fipe.plugin(model, context)
    after, before = (context.open(variant).predict(context.sample).argmax(axis=1) for variant in (found, model))
    assert np.array_equal(after, before) and len(set(before)) == 3
    assert 0 < found.steps[0].settings["trees"] < 50 and proves_decisions(found)


def test_scores_that_average_no_probabilities_and_sums_that_are_not_finite_are_refused(context):
    forest = made(Shape(width=2, trees=5, leaves=4, outputs=3, together=True), 0)
    endless = dataclasses.replace(forest, base=np.full(3, np.inf))
    with pytest.raises(NotApplicable, match="not finite"):
        DecisionSearch(forest, 0.5).differences(endless, lambda rows: rows[:, 0] > 0, until=time.monotonic() + 9)
    assert not average_probabilities(forest) and average_probabilities(probable(forest))


def test_without_a_proof_in_time_no_variant_is_offered(context, monkeypatch):
    model = trained_on(context, labeled_rows(600, seed=1), trees=30, leaves=2)
    monkeypatch.setattr(fipe, "LIMIT_S", 0.0)
    with pytest.raises(NotApplicable, match="could not be certified"):
        fipe.plugin(model, context)


def test_models_without_a_proof_are_refused_by_name(context, tmp_path):
    of_strings = context_in(tmp_path / "strings")
    model = trained_on(context, labeled_rows(600, seed=1), trees=3, leaves=2)
    with pytest.raises(NotApplicable, match="baseline only"):
        fipe.plugin(model.with_step(Step(transform="truncate")), context)
    with pytest.raises(NotApplicable, match="tree models of classes"):
        fipe.plugin(baseline_of(text("regression", trees=3), of_strings, task="regression"), of_strings)
    with pytest.raises(NotApplicable, match="leaves; equal decisions are proved up to 600"):
        fipe.plugin(trained_on(context, labeled_rows(4_000, seed=1), trees=40, leaves=31), context)
    with pytest.raises(NotApplicable, match="2 outputs, which no certificate covers"):
        DecisionSearch(made(Shape(outputs=2, link="sigmoid"), 0), 0.5)
    with pytest.raises(NotApplicable, match="0 rows"):
        fipe.plugin(model, TransformContext(blobs=context.blobs, sample=np.zeros((0, 3))))


def test_a_column_that_is_a_number_and_a_category_is_refused():
    number, category = (
        made(Shape(width=1, trees=1, leaves=9), 3),
        made(Shape(width=1, trees=1, leaves=9, categories=3), 3),
    )
    both = dataclasses.replace(number, trees=(*number.trees, *category.trees))
    assert both.categorical
    with pytest.raises(NotApplicable, match="a number and as a category"):
        DecisionSearch(both, 0.5)


def test_a_forest_without_nodes_is_decided_alike_everywhere():
    forest = dataclasses.replace(made(Shape(width=2), 0), trees=(constant_tree([0.7], (0,)),), base=np.zeros(1))
    search = DecisionSearch(forest, 0.5)
    found = search.differences(forest, lambda rows: np.zeros(len(rows), bool), until=time.monotonic() + 9)
    assert found.is_complete and not len(found.rows)
