"""Transform `dense`: the graph of a network becomes a program with the same answers, or the reason is reported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engines.boosters import text
from tests.engines.graphs import DOUBLE, softmax
from tests.optimization.contexts import baseline_of, context_in, imported, opened
from tests.optimization.exported_networks import COLUMNS, exported_network
from tests.optimization.lowering.random_networks import Shape, random_network, rows_for
from tests.optimization.networks import (
    context_of,
    image_network,
    image_rows,
    network_variant,
    tabular_network,
    tabular_rows,
)

from headway.core.errors import EngineError, NotApplicable
from headway.optimization import search
from headway.optimization.transforms import dense

pytestmark = pytest.mark.slow


def test_the_variant_has_one_step_and_predicts_as_the_baseline(tmp_path: Path):
    context = context_of(tmp_path, tabular_rows())
    model = network_variant(tabular_network(), context)
    [variant] = dense.plugin(model, context)
    answers, expected = (opened(candidate, context).predict(tabular_rows()) for candidate in (variant, model))
    assert variant.name.endswith("dense") and variant.engine == "dense"
    assert np.abs(answers - expected).max() < 1e-6


def test_the_search_tries_it_on_the_baseline_and_on_the_folded_graph(tmp_path: Path):
    context = context_of(tmp_path, np.random.default_rng(0).normal(size=(300, COLUMNS)))
    found = search.generate_candidates(
        network_variant(exported_network(), context, task="multiclass"), context, ["fold", "dense"]
    )
    steps = [[step.transform for step in candidate.steps] for candidate in found.variants]
    assert steps == [[], ["fold"], ["dense"], ["fold", "dense"]]
    assert not found.refusals


def test_rows_that_the_library_rejects_are_rejected_and_do_not_count_as_changed(tmp_path: Path):
    shape = Shape(looked=2)  # ranks are not clipped: strange ones are beyond the table
    context = context_of(tmp_path, rows_for(shape, 100))
    [variant] = dense.plugin(network_variant(random_network(shape), context), context)
    with pytest.raises(EngineError, match="reads outside a table"):
        opened(variant, context).predict(np.full((1, shape.width), 1e9))


def test_an_answer_that_moves_is_refused_with_its_row(tmp_path: Path, monkeypatch):
    context = context_of(tmp_path, tabular_rows())
    other = dense.lower_graph(tabular_network(seed=1))
    monkeypatch.setattr(dense, "lower_graph", lambda content: other)
    with pytest.raises(EngineError, match="as a lowered program the model answers"):
        dense.plugin(network_variant(tabular_network(), context), context)


def test_an_image_network_predicts_as_the_baseline(tmp_path: Path):
    context = context_of(tmp_path, image_rows())
    model = network_variant(image_network(), context, task="multiclass")
    [variant] = dense.plugin(model, context)
    answers, expected = (opened(candidate, context).predict(image_rows()) for candidate in (variant, model))
    assert np.abs(answers - expected).max() < 1e-6


def test_answers_that_the_graph_itself_rounds_are_compared_in_float64(tmp_path: Path, monkeypatch):
    content, context = image_network(steep=10), context_of(tmp_path, image_rows())
    model = network_variant(content, context, task="multiclass")
    assert dense.plugin(model, context)
    monkeypatch.setattr(dense, "exact_answers", lambda content, rows: None)
    with pytest.raises(EngineError, match="as a lowered program the model answers"):
        dense.plugin(model, context)


def test_an_answer_that_moves_by_more_than_rounding_is_not_compared_in_float64(monkeypatch):
    monkeypatch.setattr(dense, "exact_answers", lambda content, rows: np.full((len(rows), 1), 0.7))
    expected = np.full((3, 1), 0.5)
    found = expected + np.array([[0.0], [0.9 * dense.MAX_ROUNDING], [1.1 * dense.MAX_ROUNDING]])
    assert dense._or_exact(b"", found, expected, found).tolist() == [[0.5], [0.7], [0.5]]


def test_trees_and_float64_graphs_do_not_apply(tmp_path: Path):
    context = context_in(tmp_path)
    with pytest.raises(NotApplicable, match="'lightgbm'"):
        dense.plugin(baseline_of(text(trees=5), context), context)
    with pytest.raises(NotApplicable, match="not float32"):
        dense.plugin(imported("onnxruntime", softmax(3, DOUBLE), context), context)
