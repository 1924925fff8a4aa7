"""Certificates: equal to those of exact solvers on small models, lower bounds on large ones, and no counterexample."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import lightgbm
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from xgboost import XGBClassifier

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import LIBRARY_THRESHOLD
from headway.engines.formats.trees import Forest, Tree
from headway.evaluation.certificates import LinearCertifier, TreeCertifier, _cuts, certify_rows
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


def edge(cut):
    """Return the end of the numbers that are at most a threshold as float32, by bisection."""
    low, high = cut - 1e-6, cut + 1e-6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if np.float32(middle) <= cut else (low, middle)
    return low


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
            away = max(0.0, edge(low) - row[at] if np.isfinite(low) else 0.0)
            away = max(away, row[at] - edge(high) if np.isfinite(high) else 0.0)
            cells.append((inside, away))
        choices.append(cells)
    products = list(itertools.product(*choices))
    points = np.array([[value for value, _ in cell] for cell in products])
    away = np.array([max(far for _, far in cell) for cell in products])
    other = decisions(engine, points) != own
    return float(away[other].min()) if other.any() else math.inf


@settings(max_examples=25, deadline=None)
@example(seed=10_000, depth=3, trees=3, classes=2)  # shares that add up to .5 in the library, and to less as leaves
@given(seed=st.integers(0, 10_000), depth=st.integers(1, 3), trees=st.integers(1, 4), classes=st.sampled_from([2, 3]))
def test_forests_have_the_distance_of_brute_force_and_a_bound_at_ties(seed, depth, trees, classes):
    forest, engine, rows = fitted(
        RandomForestClassifier, seed=seed, classes=classes, n_estimators=trees, max_depth=depth, rows=60
    )
    certifier = TreeCertifier(forest, columns(), 0.5, max_boxes=100_000)
    for row in rows[:5]:
        found, nearest = certifier.certify(row), brute_force(forest, engine, row)
        if found.is_exact:
            assert found.distance == pytest.approx(nearest, abs=1e-15)
        else:
            assert found.distance <= nearest + 1e-15
        assert found.distance == 0 or found.decision == decisions(engine, row[None])[0]


def test_away_from_ties_every_distance_of_a_forest_is_exact():
    forest, _, rows = fitted(RandomForestClassifier, n_estimators=3, max_depth=3, rows=60)
    certifier = TreeCertifier(forest, columns(), LIBRARY_THRESHOLD, max_boxes=100_000)
    assert all(certifier.certify(row).is_exact for row in rows)


@pytest.mark.parametrize("classes", [2, 3])
def test_boosted_trees_have_the_distance_of_brute_force(classes):
    forest, engine, rows = fitted(GradientBoostingClassifier, classes=classes, n_estimators=4, max_depth=2)
    certifier = TreeCertifier(forest, columns(), 0.5, max_boxes=100_000)
    for row in rows[:20]:
        assert certifier.certify(row).distance == pytest.approx(brute_force(forest, engine, row), abs=1e-15)


def by_milp(forest, certifier, row, own):
    """Return the distance of the mixed-integer program of Kantchelian et al. (2016)."""
    leaves = certifier._leaves
    nodes = [
        (int(at), float(cut))
        for tree in forest.trees
        for at, cut in zip(tree.feature, _cuts(tree.threshold, forest.input_dtype), strict=True)
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
    exact = TreeCertifier(forest, columns(8), LIBRARY_THRESHOLD, max_boxes=200_000)
    short = TreeCertifier(forest, columns(8), LIBRARY_THRESHOLD, max_boxes=20)
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
    ("more", "reason"),
    [
        ({"zero_as_missing": (0,)}, "zero as missing"),
        ({"missing": -1.0}, "read -1 as missing"),
        ({"link": "exp"}, "'exp' with 1 outputs"),
    ],
)
def test_other_trees_are_refused_by_name(more, reason):
    with pytest.raises(NotApplicable, match=reason):
        TreeCertifier(stump(**more), columns(1), 0.5)


def test_an_empty_budget_is_not_applicable():
    with pytest.raises(NotApplicable, match="time ran out"):
        certify_rows(TreeCertifier(stump(), columns(1), 0.5), np.zeros((1, 2)), proceed=lambda: False)
    decisions_, distances, exact = certify_rows(
        TreeCertifier(stump(), columns(1), 0.5), np.array([[0.2, 3.0]]), proceed=lambda: True
    )
    assert decisions_.tolist() == [0] and distances.tolist() == pytest.approx([0.3]) and exact.all()


def table(seed, *, classes=2, categories=False):
    """Return rows with missing values that matter, in columns of several scales, and labels."""
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(300, 4)) * [1, 10, 0.1, 100]
    labels = ((rows[:, 0] + rows[:, 1] / 10 + 0.3 * draw.normal(size=300)) + classes / 2).clip(0, classes - 1)
    missing = draw.random(rows.shape) < 0.2
    labels = np.where(missing[:, 0], (labels.astype(int) + 1) % classes, labels.astype(int))
    rows[missing] = np.nan
    if categories:
        rows[:, 3] = draw.integers(0, 6, 300)
    return rows, labels


def lightgbm_of(rows, labels, categories):
    settings = {"verbose": -1, "num_leaves": 8, "num_threads": 1, "objective": "binary"}
    if labels.max() > 1:
        settings |= {"objective": "multiclass", "num_class": 3}
    data = lightgbm.Dataset(rows, labels, categorical_feature=categories)
    return lightgbm.train(settings, data, num_boost_round=6)


def hist_of(rows, labels, categories):
    model = HistGradientBoostingClassifier(max_iter=6, max_depth=3, categorical_features=categories or None)
    return model.fit(rows, labels)


FAMILIES = {
    "lightgbm": ("lightgbm", lightgbm_of),
    "hist": ("sklearn", hist_of),
    "xgboost": (
        "xgboost",
        lambda rows, labels, _: XGBClassifier(n_estimators=6, max_depth=3, n_jobs=1).fit(rows, labels),
    ),
    "forest": ("sklearn", lambda rows, labels, _: RandomForestClassifier(8, max_depth=4).fit(rows, labels)),
    "scaled forest": (
        "sklearn",
        lambda rows, labels, _: make_pipeline(StandardScaler(), RandomForestClassifier(8, max_depth=4)).fit(
            rows, labels
        ),
    ),
}


def changes_within(distance, row, at, draw):
    """Return rows whose columns `at` moved by almost the distance, or less, or not at all."""
    near = min(distance, 1e6) * (1 - 1e-6)
    moves = draw.uniform(-near, near, (1_000, len(row)))
    moves = np.where(draw.random(moves.shape) < 0.5, np.sign(moves) * near, moves) * (draw.random(moves.shape) < 0.7)
    moves[:, [column for column in range(len(row)) if column not in at]] = 0
    return row + moves


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_change_of_a_row_with_missing_values_below_its_distance_flips_it(family, classes, seed):
    has_categories = family in ("lightgbm", "hist")
    rows, labels = table(seed, classes=classes, categories=has_categories)
    name, fit = FAMILIES[family]
    engine = load_engine(name)
    content = engine.import_model(fit(rows, labels, [3] if has_categories else [])).content
    opened, at = engine(content, {}), range(3 if has_categories else 4)
    certifier, draw = TreeCertifier(engine.forest(content), columns(len(at)), 0.5), np.random.default_rng(seed)
    found = [certifier.certify(row) for row in rows[:20]]
    assert [one.decision for one in found] == decisions(opened, rows[:20]).tolist()
    for row, one in zip(rows, found, strict=False):
        assert (decisions(opened, changes_within(one.distance, row, at, draw)) == one.decision).all()


def test_trees_that_round_numbers_are_certified_from_the_end_of_the_rounding():
    tree = replace(STUMP, threshold=np.array([1.0, 0.0]))
    forest = Forest(width=2, trees=(tree,), base=np.zeros(1), input_dtype="float32")
    found = TreeCertifier(forest, columns(1), 0.5).certify(np.array([1.0 + 1e-6, 3.0]))
    moved = np.float32(1.0 + 1e-6 - found.distance * (1 + 1e-6))
    assert moved <= 1.0 < np.float32(1.0 + 1e-6 - found.distance * (1 - 1e-6)) and found.distance < 1e-6


def test_a_sum_in_float32_that_reaches_the_threshold_by_rounding_is_found():
    leaf = np.array([[0.1], [0.2]], dtype=np.float32).astype(float)
    grow = {"categorical": np.array([False]), "missing_left": np.array([True]), "left": np.array([-1])}
    tree = Tree(feature=np.array([0]), threshold=np.array([0.5]), right=np.array([-2]), leaf=leaf, **grow)
    total = float(np.float32(np.float32(leaf[1, 0]) + np.float32(leaf[1, 0])) + np.float32(leaf[1, 0]))
    exact = 3 * leaf[1, 0]
    assert total > exact
    forest = Forest(width=1, trees=(tree,) * 3, base=np.zeros(1), sum_dtype="float32")
    found = TreeCertifier(forest, columns(1), total).certify(np.array([0.2]))
    assert found.decision == 0 and found.distance == pytest.approx(0.3)


def test_an_infinite_value_stays():
    found = TreeCertifier(stump(), columns(1), 0.5).certify(np.array([np.inf, 3.0]))
    assert found.distance == math.inf and found.decision == 1


LINEAR = {
    "plain": LogisticRegression(max_iter=1000),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "ridge": make_pipeline(MinMaxScaler(), RidgeClassifier()),
    "some columns": make_pipeline(ColumnTransformer([("some", StandardScaler(), [2, 0])]), LogisticRegression()),
    "columns in a row": make_pipeline(ColumnTransformer([("some", StandardScaler(), [1, 2])]), LogisticRegression()),
}


def linear(model, rows, labels, threshold, at):
    engine = load_engine("sklearn")
    content = engine.import_model(model.fit(rows, labels)).content
    scaled = [replace(column, scale=2.0 + column.at, cost=1.0 + column.at) for column in columns(4) if column.at in at]
    return engine(content, {}), LinearCertifier(engine.graph(content), scaled, threshold)


def extremes(row, distance, at):
    """Return the corners of what a row may become within a distance: the farthest from a plane is one of them."""
    signs = np.array(list(itertools.product([-1, 1], repeat=len(at))), dtype=float)
    corners = np.repeat(row[None], len(signs), axis=0)
    corners[:, at] += signs * distance * (2.0 + np.array(at)) / (1.0 + np.array(at))
    return corners


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize(("classes", "threshold"), [(2, 0.5), (2, 0.1), (3, 0.5)])
def test_a_linear_model_has_the_distance_of_the_nearest_corner_that_flips(kind, classes, threshold):
    rows, labels = table(0, classes=classes)
    rows, at = np.nan_to_num(rows), [0, 1, 3]
    opened, certifier = linear(LINEAR[kind], rows, labels, threshold, at)

    def decide(some):
        scores = opened.predict(some)
        return (scores[:, 0] >= threshold).astype(int) if classes == 2 else scores.argmax(axis=1)

    for row in rows[:20]:
        found = certifier.certify(row)
        assert found.is_exact and found.decision == decide(row[None])[0]
        assert (decide(extremes(row, found.distance * (1 - 1e-6), at)) == found.decision).all()
        assert (decide(extremes(row, found.distance * (1 + 1e-6), at)) != found.decision).any()


def test_missing_values_of_a_linear_model_stay_and_a_model_of_other_columns_never_flips():
    rows, labels = table(0)
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    opened, certifier = linear(model, rows, labels, 0.5, [0, 1])
    for row in rows[:30]:
        found, at = certifier.certify(row), [at for at in (0, 1) if np.isfinite(row[at])]
        assert found.decision == decisions(opened, row[None])[0]
        assert bool(at) == math.isfinite(found.distance)
        if at:
            assert (decisions(opened, extremes(row, found.distance * (1 - 1e-6), at)) == found.decision).all()
            assert (decisions(opened, extremes(row, found.distance * (1 + 1e-6), at)) != found.decision).any()
    assert linear(model, rows, labels, 0.5, [])[1].certify(rows[0]).distance == math.inf


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nothing_is_certified_of_a_row_that_a_linear_model_rejects(value):
    rows, labels = table(0)
    _, certifier = linear(LINEAR["scaled"], np.nan_to_num(rows), labels, 0.5, [0, 1])
    found = certifier.certify(np.array([0.0, value, 0.0, 0.0]))
    assert found.distance == 0 and not found.is_exact


@pytest.mark.parametrize(
    ("model", "threshold", "reason"),
    [
        (
            make_pipeline(MinMaxScaler(clip=True), LogisticRegression()),
            0.5,
            "not the sigmoid or softmax of one weighted sum",
        ),
        (make_pipeline(StandardScaler(), MLPClassifier((3,), max_iter=5)), 0.5, "not the sigmoid or softmax"),
        (LogisticRegression(), 1.0, "on one side of the threshold 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_models_that_are_not_linear_or_always_decide_the_same_are_refused(model, threshold, reason):
    rows, labels = table(0)
    with pytest.raises(NotApplicable, match=reason):
        linear(model, np.nan_to_num(rows), labels, threshold, [0])
