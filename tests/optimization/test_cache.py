"""A cache is put before a model if rows repeat, and returns the model's answers bit for bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tests.engines.made_forests import Shape, made, rows_for
from tests.optimization.contexts import opened
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.contracts import LabeledData
from headway.core.errors import EngineError, NotApplicable
from headway.engines.cache import Cache
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.engines.trees import Trees
from headway.optimization.transforms import cache

FOREST = made(Shape(), seed=1)
INNER = compile_forest(FOREST)


def remembering(rows: float) -> bytes:
    models = (NestedModel(engine="trees", size_bytes=len(INNER)),)
    return pack_models(NestedHeader(models=models, numbers={"rows": rows}), INNER)


def test_a_repeated_row_is_answered_from_the_cache():
    engine, rows = Cache(remembering(10), {}), rows_for(FOREST, 5)
    first = [engine.predict(row[None, :]) for row in rows]
    engine._model = None
    again = [engine.predict(row[None, :]) for row in rows]
    assert np.array_equal(first, again) and np.allclose(
        np.concatenate(first), Trees(INNER, {}).predict(rows), rtol=0, atol=1e-12
    )


def test_changing_a_returned_answer_does_not_change_the_cache():
    engine, row = Cache(remembering(10), {}), rows_for(FOREST, 1)
    before = engine.predict(row).copy()
    engine.predict(row)[:] = -1
    assert np.array_equal(engine.predict(row), before)


def test_the_cache_keeps_at_most_its_limit_and_evicts_the_oldest():
    engine, rows = Cache(remembering(3), {}), rows_for(FOREST, 5)
    for row in rows:
        engine.predict(row[None, :])
    assert list(engine._answers) == [row.tobytes() for row in rows[2:]]


@pytest.mark.slow
def test_concurrent_threads_get_their_own_answers():
    engine, rows = Cache(remembering(7), {}), rows_for(FOREST, 30)
    expected = np.array([Trees(INNER, {}).predict(row[None, :])[0] for row in rows])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda at: engine.predict(rows[at % 30][None, :])[0], range(3000)))
    assert np.array_equal(found, expected[np.arange(3000) % 30])


def test_an_empty_or_truncated_cache_is_refused():
    for broken in (remembering(0), remembering(10)[:-3]):
        with pytest.raises(EngineError):
            Cache(broken, {})


@pytest.mark.parametrize(("size", "share"), [(1, 0.0), (2, 0.5), (10, 0.5)])
def test_the_hit_rate_is_counted_in_the_order_of_the_rows(size, share):
    assert cache.hit_rate(np.array([[1.0], [2.0], [1.0], [2.0]]), size) == share


def test_distinct_rows_do_not_benefit_from_a_cache(tmp_path):
    context = context_with(tmp_path, labeled_rows(seed=2))
    with pytest.raises(NotApplicable, match=r"0\.0% of 4,000 rows repeat; a cache pays from 20% on"):
        cache.plugin(trained_on(context, labeled_rows(seed=1)), context)


@pytest.mark.slow
def test_repeated_rows_before_a_slow_model_get_the_smallest_sufficient_cache(tmp_path):
    seen = labeled_rows(100, seed=2)
    many = np.random.default_rng(0).integers(100, size=3_000)
    again = LabeledData(rows=seen.rows[many], labels=seen.labels[many], groups=seen.groups[many])
    context = context_with(tmp_path, again)
    [found] = cache.plugin(trained_on(context, labeled_rows(seed=1)), context)
    assert found.steps[-1].settings == {"rows": 1000, "found": pytest.approx(0.967, abs=0.001)}
    came = opened(trained_on(context, labeled_rows(seed=1)), context)
    assert np.array_equal(opened(found, context).predict(again.rows[:1]), came.predict(again.rows[:1]))
