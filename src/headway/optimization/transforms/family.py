"""Train models of other families on the rows the model was trained on, as alternatives to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lightgbm
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
from headway.optimization.transforms._students import with_listed_categories

STAGE = "train"
REQUIRES = ("model_families",)
COST = {"seconds": 20}


_TREES, _LEAVES, _ROWS_OF_A_LEAF = 300, 31, 20
_FOREST = {"n_estimators": 100, "min_samples_leaf": _ROWS_OF_A_LEAF, "random_state": 0}


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return one model of each requested family, trained on the `train` period with its usual settings and seed 0.

    Raises
    ------
    NotApplicable
        If no family was requested, or the training rows are unknown.
    ConfigError
        If a family is unknown.
    """
    if not context.model_families:
        raise NotApplicable("no other model family was requested: headway optimize --families lightgbm,logistic")
    if variant.steps:
        raise NotApplicable("applies to the baseline only")
    unknown = sorted(set(context.model_families) - set(MODEL_FAMILIES))
    if unknown:
        raise ConfigError(
            f"unknown model family '{unknown[0]}'", where="[optimize] families", hint=", ".join(MODEL_FAMILIES)
        )
    if variant.task == "embedding":
        raise NotApplicable("these families do not predict vectors")
    if variant.signature.texts:
        raise NotApplicable(f"no model here learns from texts, such as '{variant.signature.texts[0]}'")
    data = context.train()
    if data is None:
        raise NotApplicable("the rows that the model was trained on are not available")
    data = with_listed_categories(data, variant)
    categorical = [index for index, field in enumerate(variant.signature.inputs) if field.datatype == "BYTES"]
    return [
        _as_variant(variant, context, name, MODEL_FAMILIES[name](data, variant.task, categorical))
        for name in context.model_families
    ]


def _as_variant(variant: Variant, context: TransformContext, name: str, model: Any) -> Variant:
    engine = "lightgbm" if isinstance(model, lightgbm.LGBMModel) else "sklearn"
    opener = load_engine(engine)
    artifact = context.save(opener.import_model(model).content, opener.formats[0])
    step = Step(transform="family", settings={"name": name})
    return variant.remade(step, artifact, engine=engine)


def _fit_boosting(data: LabeledData, task: str, categorical: list[int]) -> Any:
    kind = lightgbm.LGBMRegressor if task in NUMBERS else lightgbm.LGBMClassifier
    model = kind(n_estimators=_TREES, num_leaves=_LEAVES, learning_rate=0.05, random_state=0, verbose=-1)
    return model.fit(data.rows, data.labels, sample_weight=data.weights, categorical_feature=categorical)


def _fit_histogram(data: LabeledData, task: str, _categorical: list[int]) -> Any:
    kind = HistGradientBoostingRegressor if task in NUMBERS else HistGradientBoostingClassifier
    model = kind(max_iter=_TREES, max_leaf_nodes=_LEAVES, learning_rate=0.05, random_state=0)
    return model.fit(data.rows, data.labels, sample_weight=data.weights)


def _fit_forest(data: LabeledData, task: str, _categorical: list[int]) -> Any:
    kind = RandomForestRegressor if task in NUMBERS else RandomForestClassifier
    return kind(**_FOREST).fit(data.rows, data.labels, sample_weight=data.weights)


def _fit_linear(data: LabeledData, task: str, categorical: list[int]) -> Any:
    """Fit a linear model: median imputation, scaled numbers, one-hot categories."""
    numbers = [index for index in range(data.rows.shape[1]) if index not in categorical]
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
            ("categorical", make_pipeline(SimpleImputer(strategy="most_frequent"), _one_hot()), categorical),
        ]
    )
    last = Ridge() if task in NUMBERS else LogisticRegression(max_iter=1_000)
    model = make_pipeline(columns, last)
    return model.fit(data.rows, data.labels, **{f"{model.steps[-1][0]}__sample_weight": data.weights})


def _one_hot() -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", sparse_output=False)


MODEL_FAMILIES: dict[str, Callable[[LabeledData, str, list[int]], Any]] = {
    "forest": _fit_forest,
    "histgb": _fit_histogram,
    "lightgbm": _fit_boosting,
    "logistic": _fit_linear,
}
