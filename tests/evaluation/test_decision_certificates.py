"""Certificates of trees: equal to those of exact solvers on small models, and lower bounds on large ones."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.engines.formats.trees import Forest, Tree
from headway.evaluation.certificates import TreeCertifier, certify_rows
from headway.evaluation.decision_attack import AttackColumn

WIDTH = 3


def columns(width: int = WIDTH, *, cost: float = 1.0) -> list[AttackColumn]:
    limits = {"min_value": 0.0, "max_value": 1.0, "max_move": 1.0}
    return [AttackColumn(at=at, name=str(at), scale=1.0, cost=cost, **limits) for at in range(width)]


def fitted(kind, *, width=WIDTH, classes=2, seed=0, rows=200, **settings):
    draw = np.random.default_rng(seed)
    x = draw.random((rows, width)).astype(np.float32).astype(float)
    y = np.minimum((x.sum(axis=1) + 0.2 * draw.normal(size=rows)) * classes / width, classes - 1).astype(int)
    model = kind(random_state=seed, **settings).fit(x, y)
    engine = load_engine("sklearn")
    content = engine.import_model(model).content
    return engine.forest(content), engine(content, {}), x


def decisions(engine, rows):
    scores = engine.predict(rows)
    return (scores[:, 0] >= 0.5).astype(int) if scores.shape[1] == 1 else scores.argmax(axis=1)


def brute_force(forest, engine, row):
    """Return the distance to the nearest cell between thresholds that is decided otherwise."""
    own = decisions(engine, row[None])[0]
    choices = []
    for at in range(forest.width):
        cuts = np.unique(np.concatenate([tree.threshold[tree.feature == at] for tree in forest.trees]))
        ends = np.concatenate([[-np.inf], cuts, [np.inf]])
        cells = []
        for low, high in itertools.pairwise(ends):
            inside = np.nextafter(np.float32(low), np.float32(np.inf)) if np.isfinite(low) else np.float32(high)
            inside = float(inside) if np.isfinite(inside) else 0.0
            inside = inside if inside <= high else float(np.nextafter(np.float32(high), np.float32(-np.inf)))
            cells.append((inside, max(0.0, low - row[at], row[at] - high)))
        choices.append(cells)
    products = list(itertools.product(*choices))
    points = np.array([[value for value, _ in cell] for cell in products])
    away = np.array([max(far for _, far in cell) for cell in products])
    other = decisions(engine, points) != own
    return float(away[other].min()) if other.any() else math.inf


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), depth=st.integers(1, 3), trees=st.integers(1, 4), classes=st.sampled_from([2, 3]))
def test_forests_have_the_distance_of_brute_force(seed, depth, trees, classes):
    forest, engine, rows = fitted(
        RandomForestClassifier, seed=seed, classes=classes, n_estimators=trees, max_depth=depth, rows=60
    )
    certifier = TreeCertifier(forest, columns(), 0.5, max_boxes=100_000)
    for row in rows[:5]:
        found = certifier.certify(row)
        assert found.is_exact and found.distance == brute_force(forest, engine, row)


@pytest.mark.parametrize("classes", [2, 3])
def test_boosted_trees_have_the_distance_of_brute_force(classes):
    forest, engine, rows = fitted(GradientBoostingClassifier, classes=classes, n_estimators=4, max_depth=2)
    certifier = TreeCertifier(forest, columns(), 0.5, max_boxes=100_000)
    for row in rows[:20]:
        assert certifier.certify(row).distance == brute_force(forest, engine, row)


def by_milp(forest, certifier, row, own):
    """Return the distance of the mixed-integer program of Kantchelian et al. (2016)."""
    leaves = certifier._leaves
    nodes = [
        (int(at), float(cut)) for tree in forest.trees for at, cut in zip(tree.feature, tree.threshold, strict=True)
    ]
    cuts = sorted(set(nodes))
    n_leaves, n_cuts = len(leaves.values), len(cuts)
    n = n_leaves + n_cuts + 1
    rules, lows, highs = [], [], []

    def add(terms, low, high):
        rule = np.zeros(n)
        for index, value in terms:
            rule[index] += value
        rules.append(rule)
        lows.append(low)
        highs.append(high)

    ends = [*leaves.tree_starts[1:].tolist(), n_leaves]
    for start, end in zip(leaves.tree_starts.tolist(), ends, strict=True):
        add([(leaf, 1.0) for leaf in range(start, end)], 1, 1)
    for number, (at, cut) in enumerate(cuts):
        is_below = n_leaves + number
        for leaf in range(n_leaves):
            if leaves.high[leaf, at] == cut:
                add([(leaf, 1.0), (is_below, -1.0)], -np.inf, 0)
            if leaves.low[leaf, at] == cut:
                add([(leaf, 1.0), (is_below, 1.0)], -np.inf, 1)
        if number + 1 < n_cuts and cuts[number + 1][0] == at:
            add([(is_below, 1.0), (is_below + 1, -1.0)], -np.inf, 0)
        away = abs(row[at] - cut)
        if row[at] > cut:
            add([(n - 1, 1.0), (is_below, -away)], 0, np.inf)
        else:
            add([(n - 1, 1.0), (is_below, away)], away, np.inf)
    limit = 0.5 - forest.base[0]
    terms = [(leaf, float(leaves.values[leaf, 0])) for leaf in range(n_leaves)]
    add(terms, -np.inf if own else limit, limit - 1e-6 if own else np.inf)
    integral = np.array([1.0] * (n - 1) + [0.0])
    upper = np.array([1.0] * (n - 1) + [np.inf])
    found = milp(
        np.eye(n)[-1],
        constraints=LinearConstraint(np.array(rules), lows, highs),
        integrality=integral,
        bounds=Bounds(np.zeros(n), upper),
        options={"mip_rel_gap": 0.0},
    )
    return found.fun if found.success else math.inf


def test_a_forest_has_the_distance_of_a_mixed_integer_program():
    forest, engine, rows = fitted(RandomForestClassifier, width=6, n_estimators=7, max_depth=3)
    certifier = TreeCertifier(forest, columns(6), 0.5, max_boxes=100_000)
    for row in rows[:8]:
        expected = by_milp(forest, certifier, row, decisions(engine, row[None])[0])
        assert certifier.certify(row).distance == pytest.approx(expected, abs=1e-6)


def test_a_search_that_ends_early_gives_a_lower_bound():
    forest, _, rows = fitted(RandomForestClassifier, width=8, n_estimators=20, rows=300)
    exact = TreeCertifier(forest, columns(8), 0.5, max_boxes=200_000)
    short = TreeCertifier(forest, columns(8), 0.5, max_boxes=20)
    found = [(short.certify(row), exact.certify(row)) for row in rows[:6]]
    assert all(few.distance <= all_.distance and all_.is_exact for few, all_ in found)
    assert not all(few.is_exact for few, _ in found)


def test_a_cost_multiplies_the_distance_and_columns_that_stay_do_not_count():
    forest, _, rows = fitted(RandomForestClassifier, n_estimators=3, max_depth=2)
    once, twice = (TreeCertifier(forest, columns(cost=cost), 0.5).certify(rows[0]).distance for cost in (1.0, 2.0))
    assert twice == pytest.approx(2 * once)
    assert TreeCertifier(forest, columns()[:1], 0.5).certify(rows[0]).distance >= once
    assert TreeCertifier(forest, [], 0.5).certify(rows[0]).distance == math.inf


STUMP = Tree(
    feature=np.array([0, 1]),
    threshold=np.array([0.5, 0.0]),
    categorical=np.array([False, True]),
    missing_left=np.array([True, False]),
    left=np.array([-1, -2]),
    right=np.array([1, -3]),
    leaf=np.array([[0.0], [0.2], [1.0]]),
    sets=(np.array([1, 2]),),
)


def stump(**more):
    return Forest(width=2, trees=(STUMP,), base=np.zeros(1), **more)


@pytest.mark.parametrize("cast", ["truncated", "floored", "exact"])
@pytest.mark.parametrize(
    ("row", "expected"), [([0.2, 3.0], 0.3), ([0.9, 3.0], 0.4), ([0.2, 1.0], math.inf), ([np.nan, 3.0], math.inf)]
)
def test_categories_and_missing_values_stay(row, expected, cast):
    certifier = TreeCertifier(stump(category_cast=cast), columns(1), 0.5)
    found = certifier.certify(np.array(row))
    assert found.distance == pytest.approx(expected) and found.is_exact


@pytest.mark.parametrize(
    ("more", "reason"), [({"zero_as_missing": (0,)}, "zero as missing"), ({"link": "exp"}, "'exp' with 1 outputs")]
)
def test_other_trees_are_refused_by_name(more, reason):
    with pytest.raises(NotApplicable, match=reason):
        TreeCertifier(stump(**more), columns(1), 0.5)


def test_an_empty_budget_is_not_applicable():
    with pytest.raises(NotApplicable, match="time ran out"):
        certify_rows(TreeCertifier(stump(), columns(1), 0.5), np.zeros((1, 2)), proceed=lambda: False)
    distances, exact = certify_rows(
        TreeCertifier(stump(), columns(1), 0.5), np.array([[0.2, 3.0]]), proceed=lambda: True
    )
    assert distances.tolist() == pytest.approx([0.3]) and exact.all()
