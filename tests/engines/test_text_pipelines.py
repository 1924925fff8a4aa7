"""Text pipelines as programs: scores and decisions of the library; what a program cannot express is refused by name."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.engines.text_pipelines import CLASSES, COMPILED, EDGES, REFUSED, TEXTS, fitted

from headway.core.errors import NotApplicable
from headway.engines import _text
from headway.engines.compiled.artifact import LEVELS
from headway.engines.compiled.text import TextModel
from headway.engines.estimators.texts import text_program
from headway.engines.sklearn import _score_function

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def compiled(model) -> TextModel:
    return TextModel(text_program(model, columns=None, width=1, texts=[0]), {})


def library_scores(model, texts: list[str]) -> np.ndarray:
    """The answers of engine `sklearn` [n, k]."""
    function, outputs = _score_function(model)
    return np.asarray(function(texts), np.float64).reshape(len(texts), outputs)


def decisions(scores: np.ndarray) -> list[int]:
    return (scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0.5).tolist()


@pytest.mark.parametrize("name", COMPILED)
def test_a_pipeline_has_the_scores_and_decisions_of_the_library(name):
    texts = [*TEXTS, *EDGES]
    found, expected = compiled(fitted(name)).score(texts), library_scores(fitted(name), texts)
    assert np.abs(found - expected).max() < 1e-12
    assert decisions(found) == decisions(expected)


@functools.cache
def compiled_once(name: str) -> TextModel:
    return compiled(fitted(name))


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_text_has_the_scores_of_the_library(texts):
    for name in ("union", "hashed"):
        found, expected = compiled_once(name).score(texts), library_scores(fitted(name), texts)
        assert np.abs(found - expected).max() < 1e-12


@pytest.mark.parametrize("level", LEVELS[: _text.level() + 1])
@pytest.mark.parametrize("n_classes", [3, 7, 8, 9, 15, 16, 31, 33, 70])
def test_any_number_of_classes_has_the_probabilities_of_the_library(n_classes, level):
    texts = [f"word{number} word{number // 2} common" for number in range(n_classes)]
    model = make_pipeline(CountVectorizer(), LogisticRegression(C=1e6, max_iter=2)).fit(texts, range(n_classes))
    model[-1].coef_ *= 300  # so that some probabilities are 0
    found = TextModel(text_program(model, columns=None, width=1, texts=[0]), {"level": level}).score(texts)
    np.testing.assert_allclose(found, model.predict_proba(texts), rtol=1e-9, atol=1e-14)


def test_a_text_is_scored_alone_as_in_a_batch():
    model = compiled(fitted("union"))
    alone = np.concatenate([model.score([text]) for text in [*TEXTS, *EDGES]])
    assert np.array_equal(alone, model.score([*TEXTS, *EDGES]))
    assert model.score([]).shape == (0, 4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_program_cannot_express_is_refused_by_name(name):
    model, reason = REFUSED[name]
    with pytest.raises(NotApplicable, match=reason):
        compiled(model.fit(TEXTS, CLASSES))
