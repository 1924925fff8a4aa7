"""Searches of strangers' models: does the budget hold, how long does a small table take, is a faster form found?

`search.budget_overrun` is the longest of twelve searches divided by its budget, slow models among them.
`search.small_seconds` is the median over eight families on a table of 400 rows and 8 columns; the figure of a family is
the median of three searches. `search.small_seconds.longest` is that of the slowest family.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier

import headway as hw
from harness import Result, Row, shown
from headway.api.results import OptimizationResult
from headway.core.errors import HeadwayError
from headway.optimization.screening import answer_changing_steps

BUDGET_S, MAX_OVERRUN = 20, 1.1
ROWS, COLUMNS, FOREST = 6_000, 12, 500
SMALL_ROWS, SMALL_COLUMNS, MAX_SMALL_S, REPEATS = 400, 8, 15, 3
SMALL_BUDGET = "30s"
LIMITED: tuple[str, ...] = ()
TINY = {"BUDGET_S": 3, "ROWS": 600, "FOREST": 20, "REPEATS": 1, "SMALL_BUDGET": "3s", "LIMITED": ("svc", "lightgbm")}


def _boosters() -> dict[str, Callable[[], Any]]:
    """Return the classifiers of the boosting libraries."""
    return {
        "lightgbm": lambda: LGBMClassifier(n_estimators=100, verbose=-1, n_jobs=1),
        "xgboost": lambda: XGBClassifier(n_estimators=100, n_jobs=1),
        "catboost": lambda: CatBoostClassifier(
            iterations=100, verbose=False, thread_count=1, allow_writing_files=False
        ),
    }


def _slow_models() -> dict[str, Callable[[], Any]]:
    """Return twelve models, most of them slow."""
    few = {
        "forest": RandomForestClassifier(n_estimators=100, random_state=0),
        "neighbours": KNeighborsClassifier(),
        "logistic": LogisticRegression(max_iter=1_000),
    }
    return _boosters() | {
        "forest": lambda: RandomForestClassifier(n_estimators=FOREST, random_state=0),
        "extra_trees": lambda: ExtraTreesClassifier(n_estimators=FOREST, random_state=0, n_jobs=2),
        "histgb": lambda: HistGradientBoostingClassifier(max_iter=300, random_state=0),
        "svc": lambda: SVC(C=100, gamma=1, probability=True, random_state=0),
        "neighbours": lambda: KNeighborsClassifier(n_neighbors=15, algorithm="brute"),
        "stacking": lambda: StackingClassifier(list(few.items()), cv=3),
        "voting": lambda: VotingClassifier(list(few.items()), voting="soft"),
        "strings": lambda: make_pipeline(
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["word"]), remainder=StandardScaler()),
            LogisticRegression(max_iter=1_000),
        ),
        "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier((100, 50), max_iter=30, random_state=0)),
    }


TREES = ("lightgbm", "xgboost", "catboost", "forest", "extra_trees", "histgb")


def _small_models() -> dict[str, Callable[[], Any]]:
    """Return eight families with the settings that most people leave as they are."""
    return _boosters() | {
        "forest": lambda: RandomForestClassifier(random_state=0),
        "extra_trees": lambda: ExtraTreesClassifier(random_state=0),
        "histgb": lambda: HistGradientBoostingClassifier(random_state=0),
        "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
        "mlp": lambda: make_pipeline(StandardScaler(), MLPClassifier(max_iter=200, random_state=0)),
    }


def _table(rows: int, columns: int, *, words: bool = False) -> tuple[pd.DataFrame, Any]:
    values, labels = make_classification(rows, columns, n_informative=columns // 2, flip_y=0.1, random_state=17)
    table = pd.DataFrame(values, columns=[f"x{index}" for index in range(columns)])
    if words:
        table["word"] = np.random.default_rng(17).choice(["red", "green", "blue", "grey"], rows)
    return table, labels


def _search(
    make: Callable[[], Any], table: pd.DataFrame, labels: Any, **options: Any
) -> tuple[OptimizationResult, float]:
    """Fit on the first half of the rows, search on the second, and return the seconds of the search."""
    half = len(table) // 2
    model = make().fit(table[:half], labels[:half])
    began = perf_counter()
    found = hw.optimize(model, table[half:], labels[half:], callback=lambda _: None, **options)
    return found, perf_counter() - began


def budget() -> Result:
    """Search variants of twelve models within a budget."""
    rows, short, overruns = [], [], []
    for name, make in _slow_models().items():
        if LIMITED and name not in LIMITED:
            continue
        table, labels = _table(ROWS, COLUMNS, words=name == "strings")
        try:
            found, seconds = _search(make, table, labels, budget=f"{BUDGET_S}s")
        except HeadwayError as error:
            short.append(f"{name} was not searched: {error}")
            continue
        overruns.append(seconds / BUDGET_S)
        rows.append(shown(f"search.seconds.{name}", seconds, "s", found.variant.name))
    worst = max(overruns, default=np.inf)
    target = f"<= {MAX_OVERRUN}"
    rows.append(Row(name="search.budget_overrun", measured=worst, unit="x", target=target, ok=worst <= MAX_OVERRUN))
    return rows, short


def small() -> Result:
    """Search variants of eight families on a small table, and count the tree families with a faster exact form."""
    rows, medians, exact = [], [], []
    table, labels = _table(2 * SMALL_ROWS, SMALL_COLUMNS)
    for name, make in _small_models().items():
        if LIMITED and name not in LIMITED:
            continue
        found = [_search(make, table, labels) for _ in range(REPEATS)]
        medians.append(median(seconds for _, seconds in found))
        rows.append(shown(f"search.small_seconds.{name}", medians[-1], "s", found[0][0].variant.name))
        if name in TREES:
            best, _ = _search(make, table, labels, budget=SMALL_BUDGET)
            exact.append(best.improved and not answer_changing_steps(best.variant))
    middle, share = median(medians), float(np.mean(exact))
    target = f"<= {MAX_SMALL_S}"
    return [
        *rows,
        Row(name="search.small_seconds", measured=middle, unit="s", target=target, ok=middle <= MAX_SMALL_S),
        shown("search.small_seconds.longest", max(medians), "s", "the family that takes longest"),
        Row(name="search.small_exact_found", measured=share, unit="", target=">= 1", ok=share == 1),
    ], []
