"""Models of several labels a row from Python: optimized, judged, called, saved, and refused with what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

import headway
from headway.core.errors import ConfigError, DataError

pytestmark = pytest.mark.slow
WORDS = {
    "account": ["password", "login", "locked", "email"],
    "billing": ["money", "charged", "invoice", "card"],
    "delivery": ["parcel", "late", "courier", "tracking"],
}


def tickets(n=320):
    """Return messages of customers, and the subjects of each, of which there may be several or none."""
    random, texts, sets = np.random.default_rng(0), [], []
    for row in range(n):
        own = [name for name in WORDS if random.random() < 0.4]
        words = [word for name in own for word in random.choice(WORDS[name], 2)]
        texts.append(f"hello {' '.join(words)} {row % 7}")
        sets.append(own)
    return texts, sets


@pytest.fixture(scope="module")
def made():
    texts, sets = tickets()
    binarizer = MultiLabelBinarizer()
    labels = pd.DataFrame(binarizer.fit_transform(sets), columns=binarizer.classes_)
    model = make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LogisticRegression())).fit(texts[:200], labels[:200])
    return model, texts[200:], labels[200:].reset_index(drop=True)


@pytest.fixture(scope="module")
def best(made):
    return headway.optimize(*made, name="tickets", transforms=["text"])


def test_the_compiled_model_gives_the_labels_and_probabilities_of_the_original(made, best):
    model, texts, _ = made
    assert best.improved and best.verdict.answer == "pass"
    assert next(step.transform for step in best.variant.steps) == "text"
    odd = [*texts, "", "caf\u00e9 \U0001f600", "x" * 5_000]
    assert (best.predict(odd) == model.predict(odd)).all()
    assert np.abs(best.predict_proba(odd) - model.predict_proba(odd)).max() <= 1e-6
    assert best.classes_.tolist() == ["account", "billing", "delivery"]


def test_each_label_is_judged_and_the_score_is_that_of_scikit_learn(made, best, tmp_path):
    model, texts, labels = made
    found = headway.evaluate(best, texts, labels)
    judged = {one.slice for one in found.evidence.measurements if one.name == "f1"}
    assert judged == {"label=account", "label=billing", "label=delivery"}
    assert best.score(texts, labels) == model.score(texts, labels)
    opened = headway.load(best.save(tmp_path / "model"))
    assert (opened.predict(texts[:5]) == best.predict(texts[:5])).all()


def test_a_model_whose_labels_have_names_is_judged_by_names(made, best):
    _, texts, labels = made
    strings = ["|".join(labels.columns[row == 1]) or "|" for row in labels.to_numpy()]
    lists = [value.strip("|").split("|") if value != "|" else [] for value in strings]
    values = [headway.evaluate(best, texts, y).evidence.find("micro_f1") for y in (labels, strings, lists)]
    assert values[0].value == values[1].value == values[2].value


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_tables_of_numbers_are_taken_too():
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 3))
    labels = (rows[:, :2] + 0.3 * random.normal(size=(400, 2)) > 0).astype(int)
    model = MLPClassifier((4,), max_iter=50, random_state=0).fit(rows[:200], labels[:200])
    best = headway.optimize(model, rows[200:], labels[200:], transforms=["pipeline"])
    assert (best.predict(rows) == model.predict(rows)).all() and best.predict(rows).shape == (400, 2)
    assert best.search.baseline.model.task == "multilabel"


@pytest.mark.parametrize(
    ("change", "reason", "hint"),
    [
        (lambda y: y.to_numpy() * 2, "other values than 0 and 1", "MultiLabelBinarizer"),
        (lambda y: y.to_numpy()[:, :2], "y has 2 columns, and the model has 3 labels", "indicator matrix"),
        (lambda y: ["billing"] * len(y), "the model numbers its labels", "binarizer"),
        (lambda y: y.rename(columns={"billing": "a|b"}), "cannot be the name of a label", "rename it"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_what_to_do(made, change, reason, hint):
    model, texts, labels = made
    with pytest.raises(DataError, match=reason) as refused:
        headway.evaluate(model, texts, change(labels))
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"answer_limit": 0.05}, "a certificate is about one answer a row, and a multilabel model gives several"),
        ({"costs": {"false_positive": 1, "false_negative": 4}}, "costs set a threshold between two classes"),
    ],
)
def test_what_needs_one_class_a_row_is_refused_before_the_search(made, arguments, reason):
    with pytest.raises(ConfigError, match=reason) as refused:
        headway.optimize(*made, **arguments)
    assert refused.value.hint


def test_labels_in_another_order_are_refused_and_a_table_of_polars_is_read(made, best):
    _, texts, labels = made
    with pytest.raises(DataError, match="not the labels of the model, in their order") as refused:
        headway.evaluate(best, texts, labels[labels.columns[::-1]])
    assert refused.value.hint == "y = y[['account', 'billing', 'delivery']]"
    assert headway.evaluate(best, texts, pl.DataFrame(labels.to_dict("list"))).evidence.find("micro_f1") is not None


def test_a_model_of_classes_is_not_judged_by_sets_of_labels(made):
    _, texts, labels = made
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels["billing"])
    with pytest.raises(DataError, match="the model is a binary model, and the task of the data is 'multilabel'"):
        headway.evaluate(model, texts, labels[["billing", "delivery"]], task="multilabel")
