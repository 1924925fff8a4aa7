"""Pairs of a model and a real table for bench/never_worse.py: six families on six tables, small, with fixed seeds."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn import datasets
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from optimization.datasets import rows as flights

MAX_ROWS, SEED = 6_000, 3
Values = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A fitted model with rows that it was not trained on: `search` for headway, `check` for the winner."""

    name: str
    model: Any
    search: tuple[Any, Values]
    check: tuple[Any, Values]


def pairs() -> Iterator[Pair]:
    """Yield every family on every table."""
    for table, load in TABLES.items():
        raw, target, task = load()
        mixed = np.random.default_rng(SEED).permutation(len(raw))[:MAX_ROWS]
        train, search, check = np.split(mixed, [int(0.4 * len(mixed)), int(0.8 * len(mixed))])
        for family, make in FAMILIES.items():
            rows = raw if family == "pipeline" else _numbers(raw)
            model = make(task).fit(_part(rows, train), target[train])
            yield Pair(
                name=f"{family} on {table}",
                model=model,
                search=(_part(rows, search), target[search]),
                check=(_part(rows, check), target[check]),
            )


def _part(rows: Any, chosen: NDArray[np.int64]) -> Any:
    return rows.iloc[chosen].reset_index(drop=True) if isinstance(rows, pd.DataFrame) else rows[chosen]


def _numbers(raw: pd.DataFrame) -> Values:
    """Return float64 [n, d] with categories as codes."""
    columns = [
        pd.Series(raw[name]).astype(float)
        if pd.api.types.is_numeric_dtype(raw[name])
        else pd.Series(pd.factorize(raw[name], sort=True)[0]).astype(float)
        for name in raw.columns
    ]
    return np.ascontiguousarray(np.column_stack([column.to_numpy() for column in columns]))


def _flights() -> tuple[pd.DataFrame, Values, str]:
    test = flights("test")
    return test.raw, test.late, "classes"


def _bundled(load: Callable[..., Any], task: str) -> Callable[[], tuple[pd.DataFrame, Values, str]]:
    def loaded() -> tuple[pd.DataFrame, Values, str]:
        frame, target = load(return_X_y=True, as_frame=True)
        return frame, target.to_numpy(), task

    return loaded


def _islp(name: str, target: str, task: str, *without: str) -> Callable[[], tuple[pd.DataFrame, Values, str]]:
    def loaded() -> tuple[pd.DataFrame, Values, str]:
        spec = importlib.util.find_spec("ISLP")  # its import needs torch, its tables do not
        if spec is None or spec.origin is None:
            raise SystemExit("the tables of ISLP are not installed; try: make .venv/.installed-dev")
        table = pd.read_csv(Path(spec.origin).with_name("data") / f"{name}.csv")
        wanted = table[target]
        values = pd.factorize(wanted, sort=True)[0] if task == "classes" else wanted.to_numpy(dtype=float)
        return table.drop(columns=[target, *without]), values, task

    return loaded


def _pipeline(task: str) -> Any:
    numbers = (make_pipeline(SimpleImputer(), StandardScaler()), make_column_selector(dtype_include="number"))
    texts = (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number"))
    return make_pipeline(
        make_column_transformer(numbers, texts), LogisticRegression(max_iter=300) if task == "classes" else Ridge()
    )


def _either(classifier: Any, regressor: Any, **settings: Any) -> Callable[[str], Any]:
    return lambda task: (classifier if task == "classes" else regressor)(random_state=SEED, **settings)


TABLES = {
    "flights": _flights,
    "breast cancer": _bundled(datasets.load_breast_cancer, "classes"),
    "digits": _bundled(datasets.load_digits, "classes"),
    "diabetes": _bundled(datasets.load_diabetes, "numbers"),
    "Default": _islp("Default", "default", "classes"),
    "Bikeshare": _islp("Bikeshare", "bikers", "numbers", "casual", "registered"),
}
FAMILIES = {
    "lightgbm": _either(LGBMClassifier, LGBMRegressor, n_estimators=60, verbose=-1),
    "xgboost": _either(XGBClassifier, XGBRegressor, n_estimators=60),
    "histgb": _either(HistGradientBoostingClassifier, HistGradientBoostingRegressor, max_iter=60),
    "forest": _either(RandomForestClassifier, RandomForestRegressor, n_estimators=60, min_samples_leaf=3),
    "tree": _either(DecisionTreeClassifier, DecisionTreeRegressor, max_depth=8),
    "pipeline": _pipeline,
}
TINY = {"MAX_ROWS": 500, "TABLES": {"digits": TABLES["digits"]}, "FAMILIES": {"lightgbm": FAMILIES["lightgbm"]}}
