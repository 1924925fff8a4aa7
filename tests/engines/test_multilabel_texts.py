"""Classifiers of several labels a row over texts: the kernel gives scikit-learn's probabilities and decisions."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC
from tests.engines.text_pipelines import EDGES, TEXTS

from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.texts import text_codes
from headway.core.variant import LIBRARY_THRESHOLD, Field, Signature
from headway.engines.sklearn import Sklearn

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
LABELS = np.array([["card" in text, "money" in text, "order" in text] for text in TEXTS]).astype(int)
NEVER = LABELS * [1, 0, 1]
MODELS: dict[str, tuple[Any, np.ndarray]] = {
    "logistic regression": (OneVsRestClassifier(LogisticRegression()), LABELS),
    "linear SVC": (OneVsRestClassifier(LinearSVC()), LABELS),
    "stochastic gradient descent": (OneVsRestClassifier(SGDClassifier(random_state=0)), LABELS),
    "ridge": (RidgeClassifier(), LABELS),
    "naive Bayes": (OneVsRestClassifier(MultinomialNB()), LABELS),
    "calibrated": (OneVsRestClassifier(CalibratedClassifierCV(LinearSVC(), cv=2)), LABELS),
    "one model for each output": (MultiOutputClassifier(LogisticRegression()), LABELS),
    "one SVC for each output": (MultiOutputClassifier(LinearSVC()), LABELS),
    "a network": (MLPClassifier((8,), max_iter=20, random_state=0), LABELS),
    "a network of two labels": (MLPClassifier((8,), max_iter=20, random_state=0), LABELS[:, :2]),
    "a label that no row has": (OneVsRestClassifier(LogisticRegression()), NEVER),
    "an SVC and a label that no row has": (OneVsRestClassifier(LinearSVC()), NEVER),
}
NATIVE: dict[str, tuple[Any, str]] = {
    "a chain": (ClassifierChain(LogisticRegression()), "ClassifierChain cannot be compiled"),
    "a forest": (RandomForestClassifier(3, random_state=0), "it predicts 3 targets"),
}
ODD = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.lists(
            st.sampled_from(["card", "money", "order", "ORDER", "caf\u00e9", "\U0001f600", "\x00"]), max_size=9
        ).map(" ".join),
    ),
    min_size=1,
    max_size=8,
)


@cache
def opened(name: str) -> tuple[Any, Sklearn, Any]:
    """Return a fitted pipeline, its engine, and that of its program."""
    model, labels = MODELS[name]
    pipeline = make_pipeline(TfidfVectorizer(), model).fit(TEXTS, labels)
    content, engine = native(pipeline)
    return pipeline, engine, load_engine("text")(Sklearn.text_program(content), {})


def native(pipeline: Any) -> tuple[bytes, Sklearn]:
    imported = Sklearn.import_model(pipeline)
    assert imported.task == "multilabel"
    signature = Signature(inputs=(Field(name="text", datatype="BYTES", is_text=True),))
    content = Sklearn.bind(imported.content, signature)[0]
    return content, Sklearn(content, {})


def codes(texts: list[str]) -> np.ndarray:
    return np.array(text_codes.keep(texts))[:, None]


def library_scores(pipeline: Any, texts: list[str]) -> np.ndarray:
    """Return the probability of each label as its user gets it, or the sigmoid of its decision."""
    if hasattr(pipeline, "predict_proba"):
        found = pipeline.predict_proba(texts)
        return np.column_stack([of[:, 1] for of in found]) if isinstance(found, list) else found
    if hasattr(pipeline, "decision_function"):
        return 1 / (1 + np.exp(-pipeline.decision_function(texts)))
    rows, last = pipeline[:-1].transform(texts), pipeline[-1]
    return 1 / (1 + np.exp(-np.column_stack([of.decision_function(rows) for of in last.estimators_])))


@pytest.mark.parametrize("name", MODELS)
@given(texts=ODD)
@settings(max_examples=15)
def test_the_kernel_gives_the_probability_and_the_decision_of_each_label_on_odd_texts(name, texts):
    pipeline, engine, kernel = opened(name)
    texts = [*texts, *EDGES]
    rows, decided = codes(texts), np.asarray(pipeline.predict(texts))
    found = kernel.predict(rows)
    assert np.abs(found - library_scores(pipeline, texts)).max() <= 1e-6
    assert np.abs(engine.predict(rows) - found).max() <= 1e-6
    assert ((found >= LIBRARY_THRESHOLD) == decided).all()
    assert (engine.decide(rows) == decided).all()


@pytest.mark.parametrize("name", NATIVE)
def test_a_model_that_is_not_compiled_is_answered_by_the_library(name):
    model, reason = NATIVE[name]
    pipeline = make_pipeline(TfidfVectorizer(), model).fit(TEXTS, LABELS)
    content, engine = native(pipeline)
    assert (engine.decide(codes(EDGES)) == pipeline.predict(EDGES)).all()
    assert np.abs(engine.predict(codes(EDGES)) - library_scores(pipeline, EDGES)).max() <= 1e-12
    assert engine.predict(codes([])).shape == engine.decide(codes([])).shape == (0, 3)
    with pytest.raises(NotApplicable, match=reason):
        Sklearn.text_program(content)


def test_outputs_of_other_values_are_refused_with_what_to_do():
    several = make_pipeline(TfidfVectorizer(), MultiOutputClassifier(LogisticRegression())).fit(TEXTS, LABELS * 2)
    with pytest.raises(EngineError, match="output 0 of the MultiOutputClassifier has the values 0, 2") as refused:
        Sklearn.import_model(several)
    assert "MultiLabelBinarizer" in refused.value.hint
