"""Twenty models that leak on purpose: the audit must show each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from harness import Result, Row
from headway.core.arrays import Floats
from privacy_rows.worlds import FEW_MODELS, Fit, Probabilities, audited, draw, is_accused

ROWS = 1_000
TINY = {"ROWS": 450, "ONLY": ("tree", "nearest")}
ONLY: tuple[str, ...] = ()


def _sklearn(make: Callable[[int], Any]) -> Fit:
    return lambda rows, labels, seed: Probabilities(make(seed).fit(rows, labels))


class _Rounded:
    """Answers with few decimals, or the decision alone for 0."""

    def __init__(self, model: Any, decimals: int) -> None:
        self._model, self._decimals = model, decimals

    def predict(self, rows: Floats) -> Floats:
        rounded: Floats = np.round(self._model.predict(rows), self._decimals)
        return rounded


class _Lookup:
    """A linear model that answers more surely for rows it knows by their first column, such as a leaked id."""

    def __init__(self, rows: Floats, labels: Floats, *, share: float, by: float) -> None:
        self._model = LogisticRegression().fit(rows[:, 1:], labels)
        some = np.random.default_rng(0).random(len(rows)) < share
        self._signs = dict(zip(rows[some, 0].tolist(), (2 * labels[some] - 1).tolist(), strict=True))
        self._by = by

    def predict(self, rows: Floats) -> Floats:
        """Return the probabilities (n, 1)."""
        signs = np.array([self._signs.get(one, 0.0) for one in rows[:, 0].tolist()])
        answers: Floats = 1 / (1 + np.exp(-self._model.decision_function(rows[:, 1:]) - self._by * signs))
        return answers[:, None]


def _duplicated(rows: Floats, labels: Floats, seed: int) -> Any:
    """Train a modest forest on rows of which a tenth is there thirty times."""
    few = np.repeat(np.arange(0, len(rows), 10), 29)
    forest = RandomForestClassifier(30, min_samples_leaf=15, random_state=seed)
    return Probabilities(forest.fit(np.vstack([rows, rows[few]]), np.concatenate([labels, labels[few]])))


def _forest(leaf: int) -> Fit:
    return _sklearn(lambda seed: RandomForestClassifier(20, min_samples_leaf=leaf, random_state=seed))


def _net(width: int, rounds: int) -> Fit:
    return _sklearn(lambda seed: MLPClassifier((width,), max_iter=rounds, alpha=0.0, tol=0, random_state=seed))


def _tree(leaf: int) -> Fit:
    return _sklearn(lambda seed: DecisionTreeClassifier(min_samples_leaf=leaf, random_state=seed))


LEAKS: dict[str, tuple[Fit, int]] = {
    "tree": (_tree(1), 6),
    "tree of small leaves": (_tree(3), 6),
    "wide tree": (_tree(1), 30),
    "forest": (_forest(1), 6),
    "forest of small leaves": (_forest(2), 6),
    "extra trees": (_sklearn(lambda seed: ExtraTreesClassifier(20, random_state=seed)), 6),
    "boosted": (lambda rows, labels, seed: _boosted(rows, labels, seed, trees=150, leaf=2), 8),
    "boosted, wide": (lambda rows, labels, seed: _boosted(rows, labels, seed, trees=80, leaf=2), 30),
    "nearest": (_sklearn(lambda seed: KNeighborsClassifier(1)), 4),
    "three nearest": (_sklearn(lambda seed: KNeighborsClassifier(3)), 4),
    "weighted nearest": (_sklearn(lambda seed: KNeighborsClassifier(15, weights="distance")), 4),
    "kernel machine": (_sklearn(lambda seed: SVC(C=100.0, gamma=2.0, probability=False)), 4),
    "net": (_net(64, 80), 10),
    "wide net": (_net(128, 60), 20),
    "linear, more columns than it can bear": (_sklearn(lambda seed: LogisticRegression(C=1e4, max_iter=300)), 200),
    "duplicated rows": (_duplicated, 6),
    "leaked id": (lambda rows, labels, seed: _Lookup(rows, labels, share=1.0, by=1.0), 6),
    "leaked id of a twentieth": (lambda rows, labels, seed: _Lookup(rows, labels, share=0.05, by=8.0), 6),
    "rounded tree": (lambda rows, labels, seed: _Rounded(_tree(1)(rows, labels, seed), 1), 6),
    "forest by its decisions": (lambda rows, labels, seed: _Rounded(_forest(1)(rows, labels, seed), 0), 6),
}


def _boosted(rows: Floats, labels: Floats, seed: int, *, trees: int, leaf: int) -> Any:
    settings = {"objective": "binary", "num_leaves": 31, "min_data_in_leaf": leaf, "verbose": -1, "num_threads": 1}
    return Probabilities(
        lightgbm.train({**settings, "seed": seed}, lightgbm.Dataset(rows, labels), num_boost_round=trees)
    )


def rows() -> Result:
    """Audit each leaking recipe, with 60 s for each."""
    found, short = 0, list[str]()
    leaks = {name: leak for name, leak in LEAKS.items() if not ONLY or name in ONLY}
    for number, (name, (fit, width)) in enumerate(leaks.items()):
        rng = np.random.default_rng(number)
        table, labels = draw(ROWS, width, rng, noise=1.5)
        others = draw(ROWS // 2, width, rng, noise=1.5)
        if is_accused(audited(fit, table, labels, others, models=FEW_MODELS)):
            found += 1
        else:
            short.append(f"the leak '{name}' was not shown")
    about = f"recipes that memorise: {', '.join(leaks)}; {ROWS:,} rows each, {FEW_MODELS} models; shown at 5 %"
    row = Row(
        name="mia.planted_found",
        measured=found,
        unit="",
        target=f"= {len(leaks)}",
        ok=found == len(leaks),
        against=about,
    )
    return [row], short
