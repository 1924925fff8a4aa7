"""Fitted text pipelines of many kinds, on a small corpus in several scripts."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import NMF, LatentDirichletAllocation, TruncatedSVD
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel, SelectKBest, chi2
from sklearn.linear_model import (
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline, make_union
from sklearn.preprocessing import Binarizer, FunctionTransformer, MaxAbsScaler, Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from xgboost import XGBClassifier

_WORDS = "card lost money transfer hello bye café naïve weather rain Ünder order refund 42 x1 the of and 東京 привет"
_random = np.random.default_rng(0)
TEXTS = [" ".join(_random.choice(_WORDS.split(), _random.integers(0, 9))) for _ in range(240)]
CLASSES = np.array([f"c{sum(map(ord, text)) % 4}" for text in TEXTS])
BINARY = np.where(CLASSES > "c1", "yes", "no")
NUMBERS = np.array([1 + len(text) / 10 for text in TEXTS])
EDGES = [
    "",
    "!!!",
    "card CARD card",
    "😀 money e\u0301 \x00",
    "x" * 3000 + " card",
    "\u2028\x1c\x85",
    "١٢٣ İstanbul ﬁne",
]


def _words(**options: Any) -> TfidfVectorizer:
    return TfidfVectorizer(**options)


COMPILED: dict[str, tuple[Any, np.ndarray]] = {
    "logistic regression": (make_pipeline(_words(), LogisticRegression()), CLASSES),
    "logistic regression, two classes": (make_pipeline(_words(), LogisticRegression()), BINARY),
    "linear SVC": (make_pipeline(_words(ngram_range=(1, 3)), LinearSVC()), CLASSES),
    "linear SVC, two classes": (make_pipeline(_words(), LinearSVC()), BINARY),
    "SVC with a linear kernel": (make_pipeline(_words(), SVC(kernel="linear")), BINARY),
    "sigmoid calibration": (make_pipeline(_words(), CalibratedClassifierCV(LinearSVC(), cv=3)), CLASSES),
    "isotonic calibration": (
        make_pipeline(_words(), CalibratedClassifierCV(LinearSVC(), cv=3, method="isotonic")),
        CLASSES,
    ),
    "calibration of pipelines": (CalibratedClassifierCV(make_pipeline(_words(), LinearSVC()), cv=3), CLASSES),
    "calibration of one model": (
        make_pipeline(_words(), CalibratedClassifierCV(LinearSVC(), cv=3, ensemble=False)),
        BINARY,
    ),
    "SGD, log loss": (make_pipeline(_words(), SGDClassifier(loss="log_loss")), CLASSES),
    "SGD, modified huber": (make_pipeline(_words(), SGDClassifier(loss="modified_huber")), BINARY),
    "SGD, hinge": (make_pipeline(_words(), SGDClassifier()), CLASSES),
    "ridge": (make_pipeline(_words(), RidgeClassifier()), CLASSES),
    "perceptron": (make_pipeline(_words(), Perceptron()), CLASSES),
    "multinomial naive Bayes": (make_pipeline(CountVectorizer(), MultinomialNB()), CLASSES),
    "complement naive Bayes": (make_pipeline(_words(), ComplementNB(norm=True)), CLASSES),
    "Bernoulli naive Bayes": (make_pipeline(_words(), BernoulliNB(binarize=0.3)), CLASSES),
    "Bernoulli naive Bayes, two classes": (make_pipeline(CountVectorizer(), BernoulliNB()), BINARY),
    "nearest centroid": (make_pipeline(_words(), NearestCentroid(shrink_threshold=0.1)), CLASSES),
    "nearest centroid, two classes": (make_pipeline(_words(), NearestCentroid(priors="empirical")), BINARY),
    "one against the rest": (make_pipeline(_words(), OneVsRestClassifier(LogisticRegression())), CLASSES),
    "one SVC against the rest": (make_pipeline(_words(), OneVsRestClassifier(LinearSVC())), CLASSES),
    "multi-layer perceptron": (make_pipeline(_words(), MLPClassifier((20, 8), max_iter=30)), CLASSES),
    "latent semantic analysis": (
        make_pipeline(_words(), TruncatedSVD(10), Normalizer(copy=False), LogisticRegression()),
        CLASSES,
    ),
    "latent semantic analysis, largest norm": (
        make_pipeline(_words(), TruncatedSVD(10), Normalizer("max"), StandardScaler(), GaussianNB()),
        BINARY,
    ),
    "selected words": (make_pipeline(_words(), SelectKBest(chi2, k=9), LogisticRegression()), CLASSES),
    "selected before tf-idf": (
        make_pipeline(CountVectorizer(), SelectKBest(chi2, k=9), TfidfTransformer(sublinear_tf=True), LinearSVC()),
        CLASSES,
    ),
    "selected by a model": (
        make_pipeline(_words(), SelectFromModel(LinearSVC(penalty="l1", dual=False)), LogisticRegression()),
        CLASSES,
    ),
    "scaled": (make_pipeline(_words(), MaxAbsScaler(), LogisticRegression()), CLASSES),
    "scaled, then normalized": (
        make_pipeline(_words(), StandardScaler(with_mean=False), Normalizer("l1"), LogisticRegression()),
        CLASSES,
    ),
    "binarized": (make_pipeline(CountVectorizer(), Binarizer(), LogisticRegression()), CLASSES),
    "union": (
        make_pipeline(
            make_union(_words(), _words(analyzer="char_wb", ngram_range=(2, 4)), CountVectorizer(binary=True)),
            LogisticRegression(),
        ),
        CLASSES,
    ),
    "weighted union": (
        make_pipeline(
            FeatureUnion(
                [("words", _words()), ("characters", make_pipeline(_words(analyzer="char"), TruncatedSVD(5)))],
                transformer_weights={"words": 2.0, "characters": 0.5},
            ),
            LogisticRegression(),
        ),
        CLASSES,
    ),
    "hashed": (make_pipeline(HashingVectorizer(n_features=2**12), LogisticRegression()), CLASSES),
    "hashed, tf-idf": (
        make_pipeline(
            HashingVectorizer(n_features=2**12, alternate_sign=False, norm=None), TfidfTransformer(), LinearSVC()
        ),
        CLASSES,
    ),
    "vote of pipelines": (
        VotingClassifier(
            [
                ("words", make_pipeline(_words(), LogisticRegression())),
                ("counts", make_pipeline(CountVectorizer(), MultinomialNB())),
            ],
            voting="soft",
        ),
        CLASSES,
    ),
    "stack": (
        make_pipeline(
            _words(),
            StackingClassifier([("svc", LinearSVC()), ("bayes", MultinomialNB())], LogisticRegression(), cv=3),
        ),
        CLASSES,
    ),
    "bagging": (make_pipeline(_words(), BaggingClassifier(LogisticRegression(), 3)), CLASSES),
    "regression": (make_pipeline(_words(), Ridge()), NUMBERS),
    "regression with a link": (make_pipeline(_words(), FunctionTransformer(), PoissonRegressor()), NUMBERS),
}

_CODES = np.unique(CLASSES, return_inverse=True)[1]
TREES: dict[str, tuple[Any, np.ndarray]] = {
    "random forest": (make_pipeline(_words(), RandomForestClassifier(9)), CLASSES),
    "extra trees, two classes": (make_pipeline(_words(sublinear_tf=True), ExtraTreesClassifier(9)), BINARY),
    "gradient boosting": (
        make_pipeline(_words(ngram_range=(1, 2)), MaxAbsScaler(), GradientBoostingClassifier(n_estimators=5)),
        CLASSES,
    ),
    "forest of components": (make_pipeline(_words(), TruncatedSVD(8), RandomForestClassifier(9)), CLASSES),
    "forest of numbers": (make_pipeline(_words(), RandomForestRegressor(9)), NUMBERS),
    "LightGBM": (make_pipeline(_words(), LGBMClassifier(n_estimators=8, verbose=-1, min_child_samples=3)), CLASSES),
    "XGBoost, with missing words": (make_pipeline(_words(), XGBClassifier(n_estimators=8)), _CODES),
    "XGBoost over a union": (
        make_pipeline(make_union(_words(), CountVectorizer(analyzer="char")), XGBClassifier(n_estimators=8)),
        _CODES > 1,
    ),
    "XGBoost over selected words": (
        make_pipeline(CountVectorizer(), SelectKBest(chi2, k=9), TfidfTransformer(), XGBClassifier(n_estimators=8)),
        _CODES,
    ),
}

REFUSED: dict[str, tuple[Any, str]] = {
    "own tokenizer": (make_pipeline(_words(tokenizer=str.split), LogisticRegression()), "own tokenizer"),
    "own preprocessor": (make_pipeline(_words(preprocessor=str.strip), LogisticRegression()), "own preprocessor"),
    "own analyzer": (make_pipeline(_words(analyzer=str.split), LogisticRegression()), "own analyzer"),
    "own accents": (make_pipeline(_words(strip_accents=str.lower), LogisticRegression()), "own strip_accents"),
    "a pattern": (make_pipeline(_words(token_pattern=r"[a-z]+"), LogisticRegression()), "token_pattern='"),
    "topics": (make_pipeline(CountVectorizer(), LatentDirichletAllocation(3), LogisticRegression()), "Dirichlet"),
    "factors": (make_pipeline(_words(), NMF(3), LogisticRegression()), "NMF over texts"),
    "neighbours": (make_pipeline(_words(), KNeighborsClassifier()), "KNeighborsClassifier"),
    "pairs of classes": (make_pipeline(_words(), OneVsOneClassifier(LinearSVC())), "OneVsOneClassifier"),
    "pairs of classes in libsvm": (make_pipeline(_words(), SVC(kernel="linear")), "LinearSVC can"),
    "a kernel": (make_pipeline(_words(), SVC()), "kernel 'rbf'"),
    "boosted stumps": (make_pipeline(_words(), AdaBoostClassifier(n_estimators=3)), "AdaBoostClassifier"),
    "classes that tie": (make_pipeline(_words(), SGDClassifier(loss="modified_huber")), "so that classes tie"),
    "classes that tie, one by one": (
        make_pipeline(_words(), OneVsRestClassifier(SGDClassifier(loss="modified_huber"))),
        "so that classes tie",
    ),
    "one norm of two vectorizers": (
        make_pipeline(make_union(_words(), CountVectorizer()), Normalizer(), LogisticRegression()),
        "Normalizer over several vectorizers",
    ),
    "logarithm of signed counts": (
        make_pipeline(
            HashingVectorizer(n_features=2**12, binary=True), TfidfTransformer(sublinear_tf=True), LogisticRegression()
        ),
        "signed hashes",
    ),
}


@functools.cache
def fitted(name: str) -> Any:
    """Return a pipeline of COMPILED or TREES, fitted."""
    model, labels = {**COMPILED, **TREES}[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few iterations, on purpose
        return model.fit(TEXTS, labels)
