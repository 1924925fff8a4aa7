"""A search keeps its budget with the verdict on `test`, and says what it left out; its clock is that of plug-ins."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from tests.optimization.timed_plugins import CLOCK, install

from headway import pipeline
from headway.api.in_memory_project import create_project
from headway.api.results import OptimizationResult
from headway.core.evidence import AS_CALLED, Measurement
from headway.optimization import screening
from headway.optimization import search as searching
from headway.optimization.screening import TimeBudget

pytestmark = [pytest.mark.slow, pytest.mark.kernels]
ROWS = np.random.default_rng(0).normal(size=(400, 4))
LABELS = (ROWS[:, 0] > 0).astype(np.int64)


@pytest.fixture
def timed(tmp_path_factory, monkeypatch):
    return install(tmp_path_factory.mktemp("timed"), monkeypatch)


def search(transforms, *, budget_s, measure_calls=None):
    """Search on the clock of the plug-ins, with a model whose compiled form is many times faster."""
    model = lightgbm.LGBMClassifier(n_estimators=20, n_jobs=1, verbose=-1).fit(ROWS, LABELS)
    memory = create_project(model, ROWS, LABELS, transforms=transforms)
    data = memory.halves()
    budget = TimeBudget(budget_s, now=CLOCK)
    baseline = pipeline.import_model(memory.project, memory.imported, data)
    found = pipeline.optimize(memory.project, baseline, data, budget=budget, measure_calls=measure_calls)
    return OptimizationResult(found, pipeline.open_winner(memory.project, found), memory)


def test_the_time_of_the_verdict_is_kept_and_a_transform_that_would_take_it_is_left_out(timed):
    timed.metric("tick_g", seconds=10)
    lossy = timed.transform("lossy_g", seconds=8, cost='{"seconds": 8}')
    best = search(["trees", lossy], budget_s=40)
    assert best.improved and best.variant.engine == "trees"
    assert best.search.winner.evidence.period == "test"
    assert (CLOCK(), best.search.seconds, best.search.budget_s) == (30, 30, 40), "10 s for each of three evaluations"
    assert "lossy_g" in best.why and best.search.n_left_out and best.search.suggested_budget_s == 120


def test_an_exact_form_wins_where_an_interval_of_few_rounds_is_above_1(timed, monkeypatch):
    monkeypatch.setattr(searching, "is_shown_faster", screening.is_shown_faster)
    best = search(["trees"], budget_s=0.2)  # 5 ms for the timing of both models
    (row,) = [row for row in best.search.evaluated if row.variant.steps]
    names = ("latency.speedup", "cost.cpu_s.one_row.speedup")
    ratios = [ratio for name in names if (ratio := row.evidence.find(name))]
    assert ratios and all(ratio.n_groups < 20 for ratio in ratios)
    assert all(0 < ratio.low < ratio.value < ratio.high < 1e100 for ratio in ratios), "an interval with an error"
    assert best.improved is any(ratio.low > 1 for ratio in ratios), "what a busy machine could show decides"


@pytest.mark.parametrize(("low", "high", "returned"), [(0.7, 0.9, ()), (0.7, 1.1, ("trees",)), (1.5, 2.0, ("trees",))])
def test_a_form_that_is_slower_than_the_model_as_called_is_not_returned(timed, low, high, returned):
    called = Measurement(
        name=AS_CALLED, value=(low + high) / 2, low=low, high=high, se=0.1, dof=39.0, method="", n_rows=40, unit="x"
    )
    best = search(["trees"], budget_s=100, measure_calls=lambda result: [called] if result.improved else [])
    assert tuple(step.transform for step in best.variant.steps) == returned
    assert best.search.measured(AS_CALLED) == (called if returned else None)
    assert ("slower than the model as called: x 0.8 [0.7, 0.9]" in best.why.get("trees", "")) is not bool(returned)


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


@pytest.mark.parametrize(
    ("opens", "others", "where"), [(0, ["trees"], "screened_out"), (1, ["trees"], "screened_out"), (2, [], "evaluated")]
)
def test_a_candidate_that_raises_is_left_out_with_its_reason_and_the_search_goes_on(timed, opens, others, where):
    failing = timed.failing(f"brittle_{opens}", opens=opens)
    best = search([*others, failing], budget_s=0)
    assert best.variant.engine == (others or ["lightgbm"])[0]
    [(name, why)] = [(name, why) for name, why in best.why.items() if failing in name]
    assert why == f"engine {failing}: raised LibraryError: no such border"
    assert name in [row.variant.name for row in getattr(best.search, where)]
    assert best.search.n_left_out == 0
