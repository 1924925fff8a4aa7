"""Models that read texts: optimized, called, saved and released from Python."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.svm import SVC

import headway
from headway.core.errors import DataError

WORDS = {
    "refund": ["money", "back", "refund", "return", "paid", "twice", "charge", "card"],
    "delivery": ["parcel", "late", "courier", "where", "package", "arrive", "tracking", "door"],
    "account": ["password", "login", "locked", "reset", "email", "sign", "name", "change"],
}
ODD = [
    "",
    "no known word",
    "PARCEL, parcel!",
    "caf\u00e9 \U0001f600 \u0645\u0631\u062d\u0628\u0627",
    "x" * 5_000,
    "a\x00b\tc",
]


def messages(n=240):
    """Return messages of customers and what they want."""
    random, intents = np.random.default_rng(0), sorted(WORDS)
    labels = [intents[row % len(intents)] for row in range(n)]
    texts = [f"hello {row} {' '.join(random.choice(WORDS[label], 4))}" for row, label in enumerate(labels)]
    return texts, labels


@pytest.fixture(scope="module")
def optimized():
    """Return a pipeline over texts, and what headway made of it."""
    texts, labels = messages()
    pipeline = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression()).fit(texts, labels)
    return pipeline, headway.optimize(pipeline, texts, labels, budget=20)


def test_a_pipeline_over_texts_answers_as_the_library_does(optimized):
    pipeline, best = optimized
    for texts in (ODD, np.array(ODD), np.array(ODD, dtype=object), pl.Series(ODD), pd.Series(ODD), tuple(ODD)):
        assert np.abs(best.predict_proba(texts) - pipeline.predict_proba(ODD)).max() <= 1e-6
        assert best.predict(texts).tolist() == pipeline.predict(ODD).tolist()


def test_a_text_column_of_any_table_is_read(optimized):
    pipeline, best = optimized
    for table in (pl.DataFrame({"text": ODD}), pd.DataFrame({"text": ODD}), {"text": ODD}):
        assert best.predict(table).tolist() == pipeline.predict(ODD).tolist()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (pl.DataFrame({"text": [1.0]}), "the model reads texts"),
        (["x" * 70_000], "at most 65,536"),
        (pl.DataFrame({"text": ["a", None]}), "is missing"),
    ],
)
def test_values_other_than_texts_are_refused_with_the_column(optimized, rows, message):
    with pytest.raises(DataError, match=message):
        optimized[1].predict(rows)


def test_a_saved_model_reads_texts(optimized, tmp_path):
    _, best = optimized
    assert headway.load(best.save(tmp_path / "model.headway")).predict(ODD).tolist() == best.predict(ODD).tolist()


def test_a_release_contains_no_text_of_the_data(optimized, tmp_path):
    _, best = optimized
    best.release(folder=tmp_path)
    (file,) = (tmp_path / ".headway" / "releases").rglob("release.json")
    quoted = json.loads(file.read_bytes())["record"]["self_test"]["texts"]["text"]
    assert quoted
    assert all(word.isalpha() for text in quoted for word in text.split())  # each message has a number


def test_texts_stand_next_to_other_columns():
    texts, labels = messages()
    table = pd.DataFrame({"message": texts, "channel": ["mail", "web"] * (len(texts) // 2), "age": range(len(texts))})
    columns = make_column_transformer(
        (CountVectorizer(), "message"), (OneHotEncoder(), ["channel"]), remainder="passthrough"
    )
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=2_000)).fit(table, labels)
    best = headway.optimize(pipeline, table, labels, budget=20)
    assert np.abs(best.predict_proba(table) - pipeline.predict_proba(table)).max() <= 1e-6
    assert best.variant.signature.texts == ("message",)


FALLBACKS = {
    "neighbours": (TfidfVectorizer(), KNeighborsClassifier(3)),
    "a kernel": (TfidfVectorizer(), SVC()),
    "a method of str": (TfidfVectorizer(tokenizer=str.split, token_pattern=None), LogisticRegression()),
    "classes that tie": (TfidfVectorizer(), SGDClassifier(loss="modified_huber", random_state=0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FALLBACKS)
def test_a_pipeline_that_cannot_be_compiled_is_still_served_by_its_library(name):
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(["late", "lost", "paid", "sent", "sign", "call"], 4)) for _ in range(240)]
    labels = [("late" in text) + ("lost" in text) for text in texts]
    model = make_pipeline(*FALLBACKS[name]).fit(texts[:120], labels[:120])
    best = headway.optimize(model, texts[120:], labels[120:], transforms=["text"])
    assert best.variant.engine == "sklearn" and not best.improved
    assert np.array_equal(best.predict([*texts, "", "zz"]), model.predict([*texts, "", "zz"]))
    assert best.why.get("text", "") or best.native
