"""A limit on wrong answers: Python certifies which texts are answered, and releases that with the model."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

import headway
from headway.core.errors import ConfigError
from headway.registry.bundle import open_release

pytestmark = pytest.mark.slow
WORDS = {"delivery": "parcel", "refund": "money", "invoice": "bill"}


def _messages(n, seed):
    """Return messages of which one in three says little of its intent."""
    random = np.random.default_rng(seed)
    labels = [str(label) for label in random.choice(list(WORDS), n)]
    texts = [f"please {WORDS[label] if random.random() < 0.7 else ''} {n % 50}" for n, label in enumerate(labels)]
    return texts, labels


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline(CountVectorizer(), MultinomialNB()).fit(
        ["parcel parcel", "money money", "bill bill"], list(WORDS)
    )


def _optimized(pipeline, tmp_path, n=1_200, **options):
    return headway.optimize(
        pipeline, *_messages(n, 1), budget="20s", transforms=["text"], folder=tmp_path / "shop", **options
    )


def test_a_certified_plan_is_printed_reported_and_released(pipeline, tmp_path):
    best = _optimized(pipeline, tmp_path, answer_limit=0.1)

    assert best.answers.certificate.is_certified
    assert "of 100 rows alone" in str(best)
    assert "certified to be at most 0.1" in str(best)
    evidence = best.search.winner.evidence
    assert evidence.find("answer.coverage").value == best.answers.certificate.coverage.value
    assert evidence.find("answer.risk").high <= 0.1
    assert evidence.find("answer.risk", "answer=refund").n_rows > 0
    assert "Selective answering" in best.report(tmp_path / "report.html").read_text("utf-8")

    update = best.release(who="ann")
    bundle = best._memory.project.registry.resolve(f"{update.name}@live")
    assert open_release(bundle) is not None
    assert bundle.release.answers == best.answers


def test_an_uncertified_plan_answers_nothing_and_says_what_would_do(pipeline, tmp_path):
    best = _optimized(pipeline, tmp_path, n=200, answer_limit=0.02)

    assert best.answers.thresholds == {}
    assert "answers nothing alone" in str(best)
    assert any(finding.code == "E009" for finding in best.search.winner.evidence.findings)
    assert best.search.winner.evidence.find("answer.coverage").value == 0


def test_a_rule_on_coverage_refuses_a_release(pipeline, tmp_path):
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "headway.toml").write_text(
        '[project]\nname = "shop"\n[answer]\nlimit = 0.1\n[policy]\nfloor = "none"\n'
        '[[policy.release]]\nmeasure = "answer.coverage"\nat_least = 0.999\n'
        '[[policy.release]]\nmeasure = "answer.risk"\nat_most = 0.1\n'
    )

    best = _optimized(pipeline, tmp_path)

    results = {result.rule.measure: result.answer for result in best.verdict.rule_results}
    assert results == {"answer.coverage": "fail", "answer.risk": "pass"}


def test_without_a_limit_every_row_is_answered(pipeline, tmp_path):
    best = _optimized(pipeline, tmp_path, n=200)
    assert best.answers is None
    assert best.search.winner.evidence.find("answer.coverage") is None


def test_a_limit_on_weighted_rows_is_refused_before_the_search(pipeline, tmp_path):
    with pytest.raises(ConfigError, match="certified by counting rows") as error:
        _optimized(pipeline, tmp_path, n=200, answer_limit=0.1, sample_weight=np.ones(200))
    assert error.value.where == "[data] sample_weight"


@pytest.mark.parametrize("limit", [-0.1, 1.0])
def test_a_limit_outside_its_range_is_refused(pipeline, tmp_path, limit):
    with pytest.raises(ConfigError, match="expected a share"):
        _optimized(pipeline, tmp_path, n=20, answer_limit=limit)


def test_a_regression_has_no_classes_to_answer(tmp_path):
    rows = np.random.default_rng(0).normal(size=(200, 2))
    model = LinearRegression().fit(rows, rows.sum(axis=1))
    with pytest.raises(ConfigError, match="no classes"):
        headway.optimize(model, rows, rows.sum(axis=1), answer_limit=0.1, budget="5s")
