"""Fitted pipelines of many kinds on the table of strings and numbers, and a variant for each."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeRegressor
from tests.engines.boosters import table, targets
from tests.engines.estimators import NUMBERS, TEXTS, dataset, encoded, frame, target

from headway.core.variant import Variant
from headway.data.matrix import matrix
from headway.engines.sklearn import Sklearn
from headway.optimization.context import TransformContext
from headway.optimization.importers.models import import_baseline


def filled(*steps: Any) -> Any:
    """Imputed numbers, followed by more steps."""
    return make_pipeline(SimpleImputer(strategy="median"), *steps)


def texts(step: Any) -> Any:
    """Imputed and encoded strings."""
    return make_pipeline(SimpleImputer(strategy="most_frequent"), step)


def with_categories(numbers: Any, encoder: Any | None = None) -> Any:
    """A transformer of the numbers, and one of the strings."""
    return make_column_transformer((numbers, NUMBERS), (encoder or ONE_HOT, TEXTS))


def ends(transformer: Any, model: Any = None) -> Any:
    """A transformer before a model, a logistic regression by default."""
    return make_pipeline(transformer, LogisticRegression() if model is None else model)


SCALED = filled(StandardScaler())
ONE_HOT = texts(OneHotEncoder(handle_unknown="ignore"))
RANKS = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
WORDS = TfidfVectorizer(analyzer="char", ngram_range=(1, 2))
GAPS = FeatureUnion([("fill", filled()), ("gaps", MissingIndicator(features="all"))])
MINUS_SEVEN = SimpleImputer(strategy="constant", fill_value=-7.0)
NOT_FORTY = SimpleImputer(missing_values=40.0, fill_value=3.5, strategy="constant")


def bins(encode: str = "onehot") -> Any:
    """Five bins of numbers."""
    return KBinsDiscretizer(5, encode=encode, quantile_method="averaged_inverted_cdf")


STEPS: dict[str, Any] = {
    "the usual ones": encoded,
    "imputer with indicator": lambda: with_categories(
        make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    ),
    "indicator alone": lambda: with_categories(GAPS),
    "constant fill": lambda: with_categories(make_pipeline(MINUS_SEVEN, StandardScaler())),
    "fill for a number": lambda: with_categories(make_pipeline(SimpleImputer(), NOT_FORTY)),
    "min max": lambda: with_categories(filled(MinMaxScaler())),
    "min max with clip": lambda: with_categories(filled(MinMaxScaler((0.2, 0.7), clip=True))),
    "max abs": lambda: with_categories(filled(MaxAbsScaler())),
    "robust": lambda: with_categories(filled(RobustScaler())),
    "scaled, then filled": lambda: with_categories(make_pipeline(StandardScaler(), SimpleImputer())),
    "power": lambda: with_categories(filled(PowerTransformer())),
    "scaled, then power": lambda: with_categories(filled(StandardScaler(), PowerTransformer(standardize=False))),
    "bins": lambda: with_categories(filled(bins("ordinal"))),
    "scaled, then bins": lambda: with_categories(filled(StandardScaler(), bins("ordinal"))),
    "one-hot bins": lambda: with_categories(filled(bins())),
    "above": lambda: with_categories(filled(StandardScaler(), Binarizer())),
    "numbers one-hot": lambda: with_categories(filled(OneHotEncoder(handle_unknown="ignore", max_categories=12))),
    "numbers one-hot, no others": lambda: make_column_transformer((OneHotEncoder(), ["age"]), (ONE_HOT, TEXTS)),
    "products": lambda: with_categories(filled(StandardScaler(), PolynomialFeatures(3))),
    "components": lambda: make_pipeline(encoded(), PCA(4, whiten=True)),
    "rows of norm 1": lambda: make_pipeline(encoded(), Normalizer()),
    "rows of sum 1": lambda: make_pipeline(encoded(), Normalizer("l1")),
    "rows of maximum 1": lambda: make_pipeline(encoded(), Normalizer("max")),
    "selected": lambda: make_pipeline(encoded(), SelectKBest(k=6)),
    "scaled behind": lambda: make_pipeline(encoded(), StandardScaler(with_mean=False)),
    "ordinal": lambda: with_categories(SCALED, RANKS),
    "target": lambda: with_categories(SCALED, TargetEncoder(cv=2, random_state=0)),
    "one-hot less one": lambda: with_categories(SCALED, texts(OneHotEncoder(drop="first", handle_unknown="ignore"))),
    "frequent": lambda: with_categories(SCALED, OneHotEncoder(min_frequency=130, handle_unknown="infrequent_if_exist")),
    "one-hot that refuses": lambda: with_categories(SCALED, OneHotEncoder()),
    "texts alone": lambda: make_column_transformer((OneHotEncoder(handle_unknown="ignore"), TEXTS)),
    "one text alone": lambda: make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"])),
    "numbers alone": lambda: make_column_transformer((SCALED, NUMBERS)),
    "numbers as they are": lambda: make_column_transformer(("passthrough", ["age"])),
    "logarithm": lambda: make_column_transformer((FunctionTransformer(np.log1p), ["age"]), (SCALED, ["income"])),
}
TWO = [("a", LogisticRegression()), ("b", GaussianNB())]
CLASSIFIERS: dict[str, Any] = {
    "logistic": LogisticRegression,
    "descent, log": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "descent, huber": lambda: SGDClassifier(loss="modified_huber", random_state=0),
    "descent, hinge": lambda: SGDClassifier(random_state=0),
    "support": lambda: LinearSVC(random_state=0),
    "ridge": RidgeClassifier,
    "linear kernels": lambda: OneVsRestClassifier(SVC(kernel="linear")),
    "nearest centroid": NearestCentroid,
    "bells": GaussianNB,
    "bernoulli": BernoulliNB,
    "net": lambda: MLPClassifier((9, 5), random_state=0, max_iter=40),
    "net, tanh": lambda: MLPClassifier((7,), activation="tanh", random_state=0, max_iter=40),
    "each against the rest": lambda: OneVsRestClassifier(LogisticRegression()),
    "calibrated by sigmoid": lambda: CalibratedClassifierCV(LinearSVC(random_state=0), cv=3),
    "calibrated in steps": lambda: CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3),
    "calibrated probabilities": lambda: CalibratedClassifierCV(GaussianNB(), cv=2),
    "calibrated by temperature": lambda: CalibratedClassifierCV(LogisticRegression(), method="temperature", cv=2),
    "probabilities by temperature": lambda: CalibratedClassifierCV(GaussianNB(), method="temperature", cv=2),
    "bagged": lambda: BaggingClassifier(LogisticRegression(), 3, max_features=0.6, random_state=0),
    "voted": lambda: VotingClassifier(
        [("a", LogisticRegression()), ("b", GaussianNB()), ("c", "drop")], voting="soft", weights=[2, 1, 4]
    ),
    "stacked": lambda: StackingClassifier([("a", LogisticRegression()), ("b", LinearSVC(random_state=0))], cv=2),
    "stacked, passed through": lambda: StackingClassifier(
        [("a", GaussianNB()), ("b", LogisticRegression())], cv=2, passthrough=True
    ),
}
OF_TREES: dict[str, Any] = {
    "bagged trees": lambda: BaggingClassifier(n_estimators=3, random_state=0),
    "calibrated forest": lambda: CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), cv=2),
    "calibrated margins": lambda: CalibratedClassifierCV(HistGradientBoostingClassifier(max_iter=6), cv=2),
    "calibrated booster": lambda: CalibratedClassifierCV(LGBMClassifier(n_estimators=6, verbose=-1), cv=2),
    "trees and lines": lambda: VotingClassifier(
        [("a", LogisticRegression()), ("b", GradientBoostingClassifier(n_estimators=6))], voting="soft"
    ),
    "stacked trees": lambda: StackingClassifier(
        [("a", RandomForestClassifier(5, random_state=0)), ("b", LogisticRegression())], cv=2
    ),
}
COUNTS: dict[str, Any] = {"multinomial": MultinomialNB, "complement": ComplementNB}
REGRESSORS: dict[str, Any] = {
    "least squares": LinearRegression,
    "ridge": Ridge,
    "elastic": lambda: ElasticNet(alpha=0.01),
    "poisson": PoissonRegressor,
    "net": lambda: MLPRegressor(hidden_layer_sizes=(6,), random_state=0, max_iter=60),
    "trees and lines": lambda: VotingRegressor(
        [("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=4, random_state=0))]
    ),
    "bagged": lambda: BaggingRegressor(Ridge(), 3, random_state=0),
    "voted": lambda: VotingRegressor([("a", Ridge()), ("b", LinearRegression())]),
    "stacked": lambda: StackingRegressor([("a", Ridge()), ("b", LinearRegression())], cv=2),
    "target by log": lambda: TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    "target scaled": lambda: TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
}


@functools.cache
def logistic_of_numbers() -> bytes:
    """The bytes of a logistic regression on four numeric columns, imputed."""
    model = filled(StandardScaler(), LogisticRegression())
    return Sklearn.import_model(model.fit(table(), targets(table(), "binary"))).content


def variant_of(model: Any, context: TransformContext, task: str = "binary", classes: int = 2) -> Variant:
    """The baseline of a model that was fitted on the table."""
    return import_baseline(model, dataset(frame(), task=task, classes=classes), context.blobs)


def context_for(context: TransformContext, variant: Variant, rows: int = 300) -> TransformContext:
    """The transform context with a sample of the table, as a variant reads it."""
    people = dataset(frame(rows, seed=3)).table
    return TransformContext(blobs=context.blobs, sample=matrix(people, variant.signature))


def regressor(model: Any) -> Any:
    """A regressor of a positive number, after the usual transformer."""
    people = frame()
    score = target(people, 9) + np.nan_to_num(people["income"].to_numpy()) ** 2 + 0.1
    return ends(encoded(), model).fit(people, score)
