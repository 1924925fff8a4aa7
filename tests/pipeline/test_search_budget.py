"""A search keeps its budget with the verdict on `test`, and says what it left out; its clock is that of plug-ins."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from tests.optimization.timed_plugins import CLOCK, install

from headway import pipeline
from headway.api.in_memory_project import create_project
from headway.api.results import OptimizationResult
from headway.optimization.screening import TimeBudget

pytestmark = [pytest.mark.slow, pytest.mark.kernels]
ROWS = np.random.default_rng(0).normal(size=(400, 4))
LABELS = (ROWS[:, 0] > 0).astype(np.int64)


@pytest.fixture
def timed(tmp_path_factory, monkeypatch):
    return install(tmp_path_factory.mktemp("timed"), monkeypatch)


def search(transforms, *, budget_s):
    """Search on the clock of the plug-ins, with a model whose compiled form is many times faster."""
    model = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1).fit(ROWS, LABELS)
    memory = create_project(model, ROWS, LABELS, transforms=transforms)
    data = memory.halves()
    budget = TimeBudget(budget_s, now=CLOCK)
    baseline = pipeline.import_model(memory.project, memory.imported, data)
    found = pipeline.optimize(memory.project, baseline, data, budget=budget)
    return OptimizationResult(found, pipeline.open_winner(memory.project, found), memory)


def test_the_time_of_the_verdict_is_kept_and_a_transform_that_would_take_it_is_left_out(timed):
    timed.metric("tick_g", seconds=10)
    lossy = timed.transform("lossy_g", seconds=8, cost='{"seconds": 8}')
    best = search(["trees", lossy], budget_s=40)
    assert best.improved and best.variant.engine == "trees"
    assert best.search.winner.evidence.period == "test"
    assert (CLOCK(), best.search.seconds, best.search.budget_s) == (30, 30, 40), "10 s for each of three evaluations"
    assert "lossy_g" in best.why and best.search.n_left_out and best.search.suggested_budget_s == 120


def test_a_search_that_found_nothing_in_time_says_so_and_returns_the_original_model(timed):
    timed.metric("tick_h", seconds=50)
    best = search(["trees"], budget_s=40)
    assert not best.improved and best.variant.steps == ()
    first, second, *_ = str(best).splitlines()
    assert first == "no faster variant was found in 40 s; try 120 s"
    assert second == f"the original model is returned; its verdict: {best.verdict.answer}"
    assert "verdict pass" not in best._repr_html_()


def test_a_search_that_tried_everything_does_not_suggest_a_longer_one(timed):
    best = search(["pipeline"], budget_s=1_000)
    assert not best.improved and best.search.suggested_budget_s == 0
    assert str(best).startswith("no faster variant was found: no transform applies to this model")
