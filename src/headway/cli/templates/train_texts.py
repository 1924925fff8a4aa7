"""The model of this project: word 1- and 2-grams, logistic regression. Change it; headway calls `train`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

Floats = NDArray[np.float64]
TEXTS: tuple[str, ...] = ()
NUMBERS: tuple[str, ...] = ()
CATEGORIES: tuple[str, ...] = ()
VIEWS: dict[str, dict[str, Any]] = {
    "words": {"ngram_range": (1, 2)},
    # With this line the model is right more often and surer of it, and trains about four times as long.
    # "characters": {"analyzer": "char_wb", "ngram_range": (2, 4)},
}


def train(rows: pl.DataFrame, labels: Floats, *, seed: int = 0, weights: Floats | None = None) -> BaseEstimator:
    """Train on rows (texts and categories as strings, numbers as float64) and labels (classes numbered from 0)."""
    model = LogisticRegression(C=10.0, solver="saga", tol=0.01, max_iter=1_000, random_state=seed)
    texts = rows.select(TEXTS).fill_null("")
    if len(TEXTS) == 1 and not any(name in rows.columns for name in (*NUMBERS, *CATEGORIES)):
        pipeline = make_pipeline(_views(), model)
        return pipeline.fit(texts[TEXTS[0]].to_list(), labels, **_weights(pipeline, weights))
    parts: list[tuple[str, Any, Any]] = [(name, _views(), name) for name in TEXTS]
    numbers = [name for name in NUMBERS if name in rows.columns]
    categories = [name for name in CATEGORIES if name in rows.columns]
    if numbers:
        parts.append(("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers))
    if categories:
        parts.append(("categories", OneHotEncoder(handle_unknown="ignore"), categories))
    pipeline = make_pipeline(ColumnTransformer(parts), model)
    return pipeline.fit(
        pd.DataFrame(rows.with_columns(texts).to_dict(as_series=False)), labels, **_weights(pipeline, weights)
    )


def _views() -> BaseEstimator:
    """Return TF-IDF of the n-grams of each view, next to one another."""
    found = [(name, TfidfVectorizer(sublinear_tf=True, **options)) for name, options in VIEWS.items()]
    return FeatureUnion(found) if len(found) > 1 else found[0][1]


def _weights(pipeline: BaseEstimator, weights: Floats | None) -> dict[str, Any]:
    return {} if weights is None else {f"{pipeline.steps[-1][0]}__sample_weight": weights}
