"""A small call of HistGradientBoosting runs on one thread, as its teams wait for each other on busy cores."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

from headway.engines import sklearn as engines
from headway.engines.sklearn import Sklearn

ROWS = np.random.default_rng(0).normal(size=(60, 3))
LABELS = (ROWS[:, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def content():
    with threadpool_limits(limits=1):
        model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5))
        return Sklearn.import_model(model.fit(ROWS, LABELS)).content


def threads_of_a_call(engine):
    """The OpenMP threads that the library sees during a call."""
    seen = []
    score = engine._score
    engine._score = lambda rows: (
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"),
        score(rows),
    )[1]
    engine.predict(ROWS)
    return set(seen)


@pytest.mark.slow
def test_a_small_call_has_one_thread_and_a_large_one_those_of_the_library(content, monkeypatch):
    with threadpool_limits(limits=2, user_api="openmp"):
        assert threads_of_a_call(Sklearn(content, {})) == {1}
        monkeypatch.setattr(engines, "_SMALL_CALL", 5 * len(ROWS))
        assert threads_of_a_call(Sklearn(content, {})) == {2}


def test_the_setting_threads_holds_for_its_teams(content, monkeypatch):
    monkeypatch.setattr(engines, "_SMALL_CALL", 0)
    with threadpool_limits(limits=2, user_api="openmp"):
        assert threads_of_a_call(Sklearn(content, {"threads": 1})) == {1}
