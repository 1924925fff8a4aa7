"""Other families of models, trained on what the model learned from, on the same frontier as the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
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

from headway.core.contracts import LabeledData
from headway.core.errors import ConfigError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import NUMBERS, Step, Variant
from headway.optimization.context import TransformContext

STAGE = "train"
REQUIRES = ("model_families",)

Floats = NDArray[np.float64]

_TREES, _LEAVES, _ROWS_OF_A_LEAF = 300, 31, 20
_FOREST = {"n_estimators": 100, "min_samples_leaf": _ROWS_OF_A_LEAF, "random_state": 0}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """A model of each family that was asked for, fitted on the `train` period with its usual settings and seed 0.

    Raises NotApplicable where none was asked for, or nobody knows what the model learned from; ConfigError for a family
    that there is not.
    """
    if not context.model_families:
        raise NotApplicable("no other family was asked for: headway optimize --families lightgbm,logistic")
    if variant.steps:
        raise NotApplicable("stands beside the model as it came alone")
    unknown = sorted(set(context.model_families) - set(MODEL_FAMILIES))
    if unknown:
        raise ConfigError(f"no family '{unknown[0]}'", where="[optimize] families", hint=", ".join(MODEL_FAMILIES))
    if variant.task == "embedding":
        raise NotApplicable("these families answer no vectors")
    lesson = context.train()
    if lesson is None:
        raise NotApplicable("a family is trained on the rows that the model learned from, and none are at hand")
    texts = [place for place, field in enumerate(variant.signature.inputs) if field.datatype == "BYTES"]
    return [
        _as_variant(variant, context, name, MODEL_FAMILIES[name](lesson, variant.task, texts))
        for name in context.model_families
    ]


def _as_variant(variant: Variant, context: TransformContext, name: str, model: Any) -> Variant:
    engine = "lightgbm" if isinstance(model, lightgbm.LGBMModel) else "sklearn"
    opener = load_engine(engine)
    artifact = context.save(opener.import_model(model).content, opener.formats[0])
    step = Step(transform="family", settings={"name": name})
    return variant.remade(step, artifact, engine=engine)


def _fit_boosting(lesson: LabeledData, task: str, texts: list[int]) -> Any:
    kind = lightgbm.LGBMRegressor if task in NUMBERS else lightgbm.LGBMClassifier
    model = kind(n_estimators=_TREES, num_leaves=_LEAVES, learning_rate=0.05, random_state=0, verbose=-1)
    return model.fit(lesson.rows, lesson.labels, sample_weight=lesson.weights, categorical_feature=texts)


def _fit_histogram(lesson: LabeledData, task: str, _texts: list[int]) -> Any:
    kind = HistGradientBoostingRegressor if task in NUMBERS else HistGradientBoostingClassifier
    model = kind(max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=0.05, random_state=0)
    return model.fit(lesson.rows, lesson.labels, sample_weight=lesson.weights)


def _fit_forest(lesson: LabeledData, task: str, _texts: list[int]) -> Any:
    kind = RandomForestRegressor if task in NUMBERS else RandomForestClassifier
    return kind(**_FOREST).fit(lesson.rows, lesson.labels, sample_weight=lesson.weights)


def _fit_linear(lesson: LabeledData, task: str, texts: list[int]) -> Any:
    """Gaps filled with the median and numbers scaled; the rank of a text becomes a column for each text."""
    numbers = [place for place in range(lesson.rows.shape[1]) if place not in texts]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), _one_hot()), texts),
        ]
    )
    last = Ridge() if task in NUMBERS else LogisticRegression(max_iter=1_000)
    model = make_pipeline(columns, last)
    return model.fit(lesson.rows, lesson.labels, **{f"{model.steps[-1][0]}__sample_weight": lesson.weights})


def _one_hot() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", sparse_output=False)


MODEL_FAMILIES: dict[str, Callable[[LabeledData, str, list[int]], Any]] = {
    "forest": _fit_forest,
    "histgb": _fit_histogram,
    "lightgbm": _fit_boosting,
    "logistic": _fit_linear,
}
