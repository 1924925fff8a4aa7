"""Small fitted scikit-learn estimators for tests, and the table of strings and numbers that they were fitted on."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from tests.engines.boosters import table, targets

from headway.core.dataset import Dataset, Roles
from headway.engines.sklearn import Sklearn

NUMBERS = ["age", "income"]
TEXTS = ["carrier", "city"]


def frame(rows: int = 400, seed: int = 0) -> pd.DataFrame:
    """Two numeric and two string columns, one of each with missing values, in mixed order."""
    random = np.random.default_rng(seed)
    income = np.where(random.random(rows) < 0.2, np.nan, random.normal(size=rows))
    city = random.choice(["Bern", "Lima", "Oslo", "Pune"], rows).astype(object)
    city[random.random(rows) < 0.2] = np.nan
    return pd.DataFrame(
        {
            "carrier": random.choice(["AA", "DL", "UA"], rows).astype(object),
            "age": random.integers(18, 90, rows),
            "city": city,
            "income": income,
        }
    )


def unseen_rows(rows: int = 60) -> pd.DataFrame:
    """Rows with unseen strings, and with missing values in columns that had none."""
    table = frame(rows, seed=1)
    table.loc[::3, "carrier"] = "ZZ"
    table.loc[::4, "city"] = "Rome"
    table.loc[::5, "income"] = np.nan
    return table


def target(table: pd.DataFrame, classes: int = 2) -> np.ndarray:
    """Classes that depend on every column."""
    score = table["age"] / 40 + np.nan_to_num(table["income"]) + (table["carrier"] == "AA") + (table["city"] == "Oslo")
    return np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1]))


def encoded(unknown: str = "ignore", **options: Any) -> ColumnTransformer:
    """Imputed and scaled numbers, and imputed and one-hot encoded strings."""
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown=unknown, **options))
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return ColumnTransformer([("numbers", numbers, NUMBERS), ("texts", texts, TEXTS)])


def ordinal() -> ColumnTransformer:
    """Ranks of strings, unknown as -1, and unchanged numbers."""
    ranks = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return make_column_transformer((ranks, TEXTS), remainder=SimpleImputer())


def fitted(model: Any, classes: int = 2) -> Any:
    """A model fitted on the table; the target of a regressor is the index of the class."""
    table = frame()
    return model.fit(table, target(table, classes))


@functools.cache
def numbers() -> bytes:
    """The bytes of a forest on four numeric columns, imputed."""
    model = make_pipeline(SimpleImputer(), RandomForestClassifier(5, random_state=0))
    return Sklearn.import_model(model.fit(table(), targets(table(), "multiclass"))).content


@functools.cache
def logistic() -> Pipeline:
    """The most common first pipeline."""
    return fitted(make_pipeline(encoded(), LogisticRegression()))


@functools.cache
def calibrated() -> CalibratedClassifierCV:
    """Calibration around a pipeline, which is fitted once for each fold."""
    return fitted(CalibratedClassifierCV(make_pipeline(ordinal(), LogisticRegression(max_iter=500)), cv=3))


def dataset(table: pd.DataFrame, *, task: str = "binary", classes: int = 2) -> Dataset:
    """The table as headway reads it, with its target."""
    columns = [pl.Series(name, [None if cell != cell else cell for cell in table[name]]) for name in table.columns]
    frame_with_target = pl.DataFrame(columns).with_columns(y=pl.Series(target(table, classes)))
    return Dataset(name="people", table=frame_with_target, roles=Roles(target="y", task=task))
