"""Rows of floors: destroyed models do not pass the default policy, and sound ones are not failed by it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_friedman1,
    make_regression,
)
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from harness import Result, Row, shown
from headway import pipeline
from headway.api.in_memory_project import create_project
from headway.core.contracts import LabeledData
from headway.core.verdict import Answer
from headway.evaluation.comparison import build_evaluation_set
from headway.evaluation.reference_model import floor_rows

METRICS = ("quality", "floor", "parity", "calibration", "decisions", "missing")
TABLES, FAMILIES, SEEDS = 8, 6, 3
TINY = {"TABLES": 1, "FAMILIES": 2, "SEEDS": 1}
_FLOOR = "gain_over_"

Array = NDArray[np.float64]


class Table(NamedTuple):
    """Rows and labels, half of which are new to every model; classes or numbers."""

    name: str
    rows: Array
    labels: Array
    classes: bool


def _weak(classes: bool) -> tuple[Array, Array]:
    """Simulate a table with much noise: a fifth of the labels, or nine tenths of the variance."""
    if classes:
        found: tuple[Array, Array] = make_classification(
            3000, 12, n_informative=4, weights=[0.8], flip_y=0.2, class_sep=0.5, random_state=1
        )
        return found
    rows, labels = make_regression(3000, 10, n_informative=4, random_state=2)
    return rows, labels + 3 * labels.std() * np.random.default_rng(3).normal(size=len(labels))


_LOADERS: tuple[tuple[str, Callable[[], tuple[Array, Array]], bool], ...] = (
    ("breast cancer", lambda: load_breast_cancer(return_X_y=True), True),
    ("diabetes", lambda: load_diabetes(return_X_y=True), False),
    ("digits", lambda: load_digits(return_X_y=True), True),
    ("weak classes", lambda: _weak(True), True),
    ("weak numbers", lambda: _weak(False), False),
    ("friedman", lambda: make_friedman1(2000, noise=2.0, random_state=4), False),
    ("wine", lambda: load_wine(return_X_y=True), True),
    ("iris", lambda: load_iris(return_X_y=True), True),
)


def _families(classes: bool) -> dict[str, Any]:
    if classes:
        return {
            "lightgbm": LGBMClassifier(n_estimators=60, verbose=-1, n_jobs=1),
            "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
            "balanced": make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, class_weight="balanced")),
            "forest": RandomForestClassifier(60, n_jobs=1, random_state=0),
            "naive bayes": GaussianNB(),
            "histgb": HistGradientBoostingClassifier(max_iter=60),
        }
    return {
        "lightgbm": LGBMRegressor(n_estimators=60, verbose=-1, n_jobs=1),
        "ridge": make_pipeline(StandardScaler(), Ridge()),
        "tree": DecisionTreeRegressor(max_depth=5),
        "forest": RandomForestRegressor(60, n_jobs=1, random_state=0),
        "neighbours": make_pipeline(StandardScaler(), KNeighborsRegressor(15)),
        "histgb": HistGradientBoostingRegressor(max_iter=60),
    }


def _destroyed(family: Any, table: Table, rows: Array, labels: Array, rng: Any) -> Iterator[tuple[str, Any]]:
    """Yield models that were destroyed: each is fitted, and knows nothing about this table, or the reverse."""
    permuted = rng.permutation(labels)
    yield "permuted labels", clone(family).fit(rows, permuted)
    stump: Any = DecisionTreeClassifier(max_depth=4) if table.classes else DecisionTreeRegressor(max_depth=4)
    yield "one tree on permuted labels", stump.fit(rows, permuted)
    dummy: Any = DummyClassifier() if table.classes else DummyRegressor()
    yield "constant", dummy.fit(rows, labels)
    other = rng.normal(size=rows.shape) * (rows.std(0) + 1e-9) + rows.mean(0)
    order = np.argsort(np.argsort(other @ rng.normal(size=rows.shape[1])))
    yield "another table", clone(family).fit(other, np.sort(labels)[order])
    turned = (labels + 1) % (labels.max() + 1) if table.classes else 2 * labels.mean() - labels
    yield "sign flipped", clone(family).fit(rows, turned)


def _answer(model: Any, rows: Array, labels: Array) -> tuple[Answer, bool]:
    """Judge a model by the default policy, and return also whether its floor failed."""
    memory = create_project(model, rows, labels)
    blobs, data = memory.project.blobs, memory.halves()
    baseline = pipeline.import_model(memory.project, memory.imported, data)
    validation = build_evaluation_set(baseline, data["validation"], blobs)
    fitted = LabeledData(rows=validation.rows, labels=validation.labels, groups=validation.groups)
    test = build_evaluation_set(baseline, data["test"], blobs, floor=floor_rows(lambda: fitted))
    verdict = pipeline.evaluate(memory.project, baseline.model, test, metrics=METRICS).verdict
    floor = [result.answer for result in verdict.rule_results if result.rule.measure.startswith(_FLOOR)]
    return verdict.answer, "fail" in floor


def _cases() -> Iterator[tuple[str, Table, Any, Any, Array, Array]]:
    """Yield each table, family and split: a name, the table, the family, a generator, and rows seen and new."""
    for name, load, classes in _LOADERS[:TABLES]:
        table = Table(name, *map(np.asarray, load()), classes)
        for seed, (family_name, family) in product(range(SEEDS), list(_families(classes).items())[:FAMILIES]):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(table.labels))
            half = len(order) // 2
            yield f"{family_name}, {name}, seed {seed}", table, family, rng, order[:half], order[half:]


def floors() -> Result:
    """Judge sound and destroyed models of several families and tables by the default policy, without a search."""
    warnings.simplefilter("ignore")
    sentences: list[str] = []
    broken: list[Answer] = []
    sound: list[tuple[Answer, bool]] = []
    for name, table, family, rng, seen, new in _cases():
        sound.append(_answer(clone(family).fit(table.rows[seen], table.labels[seen]), *_part(table, new)))
        sentences += [f"sound, but its floor fails: {name}"] if sound[-1][1] else []
        for how, model in _destroyed(family, table, *_part(table, seen), rng):
            broken.append(_answer(model, *_part(table, new))[0])
            sentences += [f"passed: {how}, {name}"] if broken[-1] == "pass" else []
    refused = float(np.mean([answer != "pass" for answer in broken]))
    against, of_sound = f"{len(broken)} destroyed models", f"{len(sound)} sound models"
    rows = [
        Row(name="floors.broken_refused", measured=refused, unit="", target="1", ok=refused == 1, against=against),
        shown("floors.broken_failed", float(np.mean([answer == "fail" for answer in broken])), "", against),
        shown("floors.good_passed", float(np.mean([answer == "pass" for answer, _ in sound])), "", of_sound),
        shown("floors.good_not_failed", float(np.mean([not failed for _, failed in sound])), "", of_sound),
    ]
    return rows, sentences


def _part(table: Table, which: NDArray[np.int64]) -> tuple[Array, Array]:
    return table.rows[which], table.labels[which]
