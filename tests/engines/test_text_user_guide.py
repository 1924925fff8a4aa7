"""Pipelines of scikit-learn's user guide on text features: taken with their answers, or refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.decomposition import NMF, LatentDirichletAllocation, TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer, FeatureHasher
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import ComplementNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC
from tests.engines.text_pipelines import CLASSES, EDGES, TEXTS

from headway.api.tables import to_series
from headway.core.errors import DataError, EngineError
from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.engines.sklearn import Sklearn

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
LABELS = np.array([["card" in text, "money" in text, "order" in text] for text in TEXTS]).astype(int)


def words(text: str) -> list[str]:
    """A tokenizer of one's own."""
    return text.split()


def logistic() -> LogisticRegression:
    return LogisticRegression()


TAKEN: dict[str, Any] = {
    "bag of words": make_pipeline(CountVectorizer(), logistic()),
    "bigrams": make_pipeline(CountVectorizer(ngram_range=(1, 2), token_pattern=r"\b\w+\b", min_df=1), logistic()),
    "stop words": make_pipeline(CountVectorizer(stop_words="english"), MultinomialNB()),
    "characters within words": make_pipeline(CountVectorizer(analyzer="char_wb", ngram_range=(2, 5)), logistic()),
    "accents": make_pipeline(TfidfVectorizer(strip_accents="unicode", sublinear_tf=True), RidgeClassifier()),
    "binary occurrences": make_pipeline(CountVectorizer(binary=True), ComplementNB()),
    "a vocabulary of its own": make_pipeline(CountVectorizer(vocabulary=["card", "money", "order"]), logistic()),
    "counts, then tf-idf": make_pipeline(CountVectorizer(), TfidfTransformer(smooth_idf=False), LinearSVC()),
    "hashing, then tf-idf": make_pipeline(HashingVectorizer(n_features=2**10), TfidfTransformer(), SGDClassifier()),
    "out of core": make_pipeline(
        HashingVectorizer(n_features=2**10, alternate_sign=False),
        SGDClassifier(loss="log_loss").partial_fit(np.zeros((1, 2**10)), ["c0"], sorted(set(CLASSES))),
    ),
    "latent semantic analysis": make_pipeline(TfidfVectorizer(), TruncatedSVD(5), Normalizer(), logistic()),
    "topics (LDA)": make_pipeline(CountVectorizer(), LatentDirichletAllocation(3, random_state=0), logistic()),
    "topics (NMF)": make_pipeline(TfidfVectorizer(), NMF(3, random_state=0), logistic()),
    "selected by chi-squared": make_pipeline(TfidfVectorizer(), SelectKBest(chi2, k=5), logistic()),
    "a union": make_pipeline(make_union(TfidfVectorizer(), CountVectorizer(analyzer="char")), logistic()),
    "neighbours": make_pipeline(TfidfVectorizer(), KNeighborsClassifier(2)),
    "nearest centroid": make_pipeline(TfidfVectorizer(), NearestCentroid()),
    "a forest": make_pipeline(TfidfVectorizer(), RandomForestClassifier(10, random_state=0)),
    "calibrated": make_pipeline(TfidfVectorizer(), CalibratedClassifierCV(LinearSVC(), cv=2)),
    "one against the rest": make_pipeline(TfidfVectorizer(), OneVsRestClassifier(logistic())),
    "the best of a grid": GridSearchCV(
        make_pipeline(TfidfVectorizer(), logistic()), {"logisticregression__C": [1.0, 10.0]}, cv=2
    ),
}
REFUSED: dict[str, tuple[Any, Any, str]] = {
    "a tokenizer of its own": (
        make_pipeline(CountVectorizer(tokenizer=words, token_pattern=None), logistic()),
        CLASSES,
        "custom Python code",
    ),
    "clusters": (make_pipeline(TfidfVectorizer(), KMeans(3)), None, "neither a regressor nor a classifier"),
    "a vectorizer alone": (TfidfVectorizer(), None, "neither a regressor nor a classifier"),
}


def opened(model: Any) -> Sklearn:
    """Import a fitted pipeline for one column of texts, and open it."""
    content = Sklearn.import_model(model).content
    signature = Signature(inputs=(Field(name="text", datatype="BYTES", is_text=True),))
    return Sklearn(Sklearn.bind(content, signature)[0], {})


def library_scores(model: Any, texts: list[str]) -> np.ndarray:
    own = model.predict_proba if hasattr(model, "predict_proba") else model.decision_function
    return np.asarray(own(texts))


@pytest.mark.parametrize("name", TAKEN)
def test_a_pipeline_of_the_user_guide_is_taken_with_its_answers(name):
    model = TAKEN[name].fit(TEXTS, CLASSES)
    texts = [*TEXTS, *EDGES]
    found = opened(model).predict(np.array(text_codes.keep(texts))[:, None])
    expected = library_scores(model, texts)
    assert found.shape == expected.shape
    if hasattr(model, "predict_proba"):
        assert np.abs(found - expected).max() <= 1e-6
    assert (found.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("name", REFUSED)
def test_a_pipeline_of_the_user_guide_is_refused_with_the_reason(name):
    model, target, reason = REFUSED[name]
    with pytest.raises(EngineError, match=reason) as refused:
        opened(model.fit(TEXTS, target))
    assert refused.value.hint


@pytest.mark.parametrize("vectorizer", [DictVectorizer(), FeatureHasher(2**10)])
def test_dictionaries_are_refused_with_what_reads_texts(vectorizer):
    model = make_pipeline(vectorizer, logistic()).fit([{"words": len(text)} for text in TEXTS], CLASSES)
    with pytest.raises(EngineError, match=f"{type(vectorizer).__name__} reads dictionaries") as refused:
        opened(model)
    assert "TfidfVectorizer" in refused.value.hint


@pytest.mark.parametrize("nested", ["alone", "in a union", "in a table"])
def test_a_vectorizer_that_opens_files_is_refused_wherever_it_is(nested, tmp_path):
    names = []
    for number, text in enumerate(TEXTS):
        (tmp_path / str(number)).write_text(text)
        names.append(str(tmp_path / str(number)))
    vectorizer, rows = TfidfVectorizer(input="filename"), names
    if nested == "in a union":
        vectorizer = make_union(vectorizer)
    if nested == "in a table":
        vectorizer, rows = make_column_transformer((vectorizer, 0)), np.array(names, dtype=object)[:, None]
    with pytest.raises(EngineError, match="opens the files that its rows name"):
        opened(make_pipeline(vectorizer, logistic()).fit(rows, CLASSES))


def test_a_target_of_several_labels_is_refused_by_a_model_of_one_with_what_to_do():
    with pytest.raises(DataError, match="expected one value for each row") as refused:
        to_series(LABELS, "target")
    assert "OneVsRestClassifier" in refused.value.hint
