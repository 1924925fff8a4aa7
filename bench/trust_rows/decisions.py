"""Decisions: the class that a result predicts for each row, next to that of the user's own model.

Every family meets every kind of table: real ones with two or more classes, and simulated ones with ties. A row whose
class differs must be counted in the result's own `decision_churn`; a value for which the model raises must raise here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.base import clone
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

import headway
from harness import Result, Row, shown
from headway.api.model import Model
from headway.core.errors import HeadwayError
from headway.core.verdict import EvaluatedVariant
from headway.evaluation.comparison import open_variant

BUDGET = "6s"
TABLES: tuple[str, ...] = ("cancer", "wine", "digits", "noise")
FAMILIES: tuple[str, ...] = ()
"""Families to try; all if empty."""
TINY = {"BUDGET": "1s", "TABLES": ("wine",), "FAMILIES": ("forest", "naive_bayes")}
BAD_VALUES = {"missing": np.nan, "infinite": np.inf, "beyond float32": 1e39}
NOISE_ROWS = 1_600

Table = tuple[NDArray[np.float64], NDArray[np.int64]]


def _noise() -> Table:
    """Return rows whose few distinct values and noisy labels give votes that are often tied."""
    random = np.random.default_rng(17)
    rows = random.integers(0, 4, (NOISE_ROWS, 6)).astype(np.float64)
    odds = rows[:, 0] - rows[:, 1] + 0.5 * rows[:, 2] * (rows[:, 3] > 1) - 0.5
    return rows, (random.random(NOISE_ROWS) < 1 / (1 + np.exp(-odds))).astype(np.int64)


_LOADERS: dict[str, Callable[[], Table]] = {
    "cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "noise": _noise,
}
_SCALED_LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression())
_MODELS: dict[str, Any] = {
    "forest": RandomForestClassifier(60, random_state=0),
    "extra_trees": ExtraTreesClassifier(60, min_samples_leaf=2, random_state=0),
    "tree": DecisionTreeClassifier(max_depth=5, random_state=0),
    "boosting": GradientBoostingClassifier(n_estimators=20, random_state=0),
    "histgb": HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "lightgbm": LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1),
    "xgboost": XGBClassifier(n_estimators=20, n_jobs=1),
    "adaboost": AdaBoostClassifier(n_estimators=20, random_state=0),
    "bagging": BaggingClassifier(n_estimators=20, random_state=0),
    "logistic": _SCALED_LOGISTIC,
    "ridge": make_pipeline(StandardScaler(), RidgeClassifier()),
    "sgd": make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
    "svc": make_pipeline(StandardScaler(), SVC(probability=True, random_state=0)),
    "svc_decision": make_pipeline(StandardScaler(), SVC()),
    "naive_bayes": GaussianNB(),
    "lda": LinearDiscriminantAnalysis(),
    "qda": QuadraticDiscriminantAnalysis(reg_param=0.1),
    "neighbours": KNeighborsClassifier(4),
    "mlp": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=60, random_state=0)),
    "voting": VotingClassifier([("a", _SCALED_LOGISTIC), ("b", GaussianNB())], voting="soft"),
    "stacking": StackingClassifier([("a", _SCALED_LOGISTIC), ("b", GaussianNB())], cv=3),
}


def rows() -> Result:
    """Return the rows of this part, and what could not be tried."""
    uncounted, different, judged, answered, pairs, forms = 0, 0, 0, 0, 0, 0
    short: list[str] = []
    for name, model, fresh, labels in _pairs():
        try:
            best = headway.optimize(model, fresh, labels, budget=BUDGET, callback=lambda _: None)
        except HeadwayError as error:
            short.append(f"decisions: {name} was not optimized: {error.what}")
            continue
        pairs += 1
        for form, table, counted in _forms(best):
            changed = int((np.asarray(form.predict(table)) != np.asarray(model.predict(table))).sum())
            uncounted += abs(changed - counted)
            different, judged, forms = different + changed, judged + len(table), forms + bool(form.variant.steps)
            if changed != counted:
                short.append(f"decisions: {form.variant.name} of {name} changes {changed} rows, and counts {counted}")
            wrong = [kind for kind in BAD_VALUES if _answers_alone(model, form, fresh, kind)]
            answered += len(wrong)
            short += [f"decisions: {form.variant.name} of {name} answers {', '.join(wrong)} values"] if wrong else []
    return [
        Row(
            name="decisions.different",
            measured=uncounted,
            unit="rows",
            target="0, not counted in the own churn",
            ok=uncounted == 0 and pairs > 0,
            against=f"model.predict; {judged:,} rows, {pairs} pairs of family and table, {forms} other forms of models",
        ),
        Row(
            name="decisions.answers_refused",
            measured=answered,
            unit="values",
            target="0",
            ok=answered == 0,
            against="missing, infinite and too large values for which the model raises",
        ),
        shown("decisions.changed", different / max(judged, 1), "share", "model.predict, counted rows included"),
    ], short


def _forms(best: Any) -> Iterator[tuple[Any, NDArray[np.float64], int]]:
    """Yield the result with the rows that judged it, and every form that the search evaluated with those of the search.

    The last part is the number of rows whose class differs according to the evidence of the form.
    """
    tables = {
        period: data.table.select(list(best.feature_names_in_)).to_numpy()
        for period, data in best._memory.halves().items()
    }
    yield best, tables["test"], _counted(best.search.winner)
    baseline = best.search.baseline
    for judged in best.search.evaluated:
        engine = open_variant(judged.variant, best._memory.project.blobs)
        rule = baseline.threshold_rule
        yield (
            Model(judged.variant, engine, threshold=baseline.threshold, threshold_rule=rule),
            tables["validation"],
            _counted(judged),
        )


def _counted(judged: EvaluatedVariant) -> int:
    churn = judged.evidence.find("decision_churn")
    return round(churn.value * churn.n_rows) if churn else 0


def _pairs() -> Iterator[tuple[str, Any, NDArray[np.float64], NDArray[np.int64]]]:
    """Yield the name of each pair, the model fitted on one half of a table, and the rows and labels of the other."""
    for table in TABLES:
        features, labels = _LOADERS[table]()
        order = np.random.default_rng(0).permutation(len(features))
        old, new = np.array_split(order, 2)
        for family in FAMILIES or tuple(_MODELS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = clone(_MODELS[family]).fit(features[old], labels[old])
            yield f"{family} on {table}", model, features[new], labels[new]


def _answers_alone(model: Any, form: Any, fresh: NDArray[np.float64], kind: str) -> bool:
    """Return whether a form answers a row for which the model raises."""
    row = fresh[:1].copy()
    row[0, 0] = BAD_VALUES[kind]
    return _raises(model, row) and not _raises(form, row)


def _raises(model: Any, row: NDArray[np.float64]) -> bool:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model.predict(row)
        except ValueError:
            return True
    return False
