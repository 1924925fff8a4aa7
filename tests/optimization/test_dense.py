"""Transform `dense`: a network's graph becomes a tape that answers as it did, or says why it does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.engines.boosters import text
from tests.engines.graphs import DOUBLE, softmax
from tests.optimization.benches import as_it_came, bench_in, came, opened
from tests.optimization.exported import COLUMNS, exported
from tests.optimization.lowering.networks import Shape, network, rows_for
from tests.optimization.nets import bench_of, net, pictures, pixels, rows, tabular

from headway.core.errors import EngineError, NotApplicable
from headway.optimization import search
from headway.optimization.transforms import dense

pytestmark = pytest.mark.slow


def test_the_variant_has_one_step_and_answers_as_the_model_as_it_came(tmp_path: Path):
    bench = bench_of(tmp_path, rows())
    model = net(tabular(), bench)
    [variant] = dense.plugin(model, bench)
    answers, expected = (opened(each, bench).predict(rows()) for each in (variant, model))
    assert variant.name.endswith("dense") and variant.engine == "dense"
    assert np.abs(answers - expected).max() < 1e-6


def test_the_search_tries_it_on_the_model_as_it_came_and_on_the_folded_one(tmp_path: Path):
    bench = bench_of(tmp_path, np.random.default_rng(0).normal(size=(300, COLUMNS)))
    found = search.generate_candidates(net(exported(), bench, task="multiclass"), bench, ["fold", "dense"])
    steps = [[step.transform for step in each.steps] for each in found.variants]
    assert steps == [[], ["fold"], ["dense"], ["fold", "dense"]]
    assert not found.refusals


def test_rows_that_the_library_refuses_are_refused_and_do_not_count_as_moved(tmp_path: Path):
    shape = Shape(looked=2)  # ranks are not clipped: strange ones are beyond the table
    bench = bench_of(tmp_path, rows_for(shape, 100))
    [variant] = dense.plugin(net(network(shape), bench), bench)
    with pytest.raises(EngineError, match="a place that is not there"):
        opened(variant, bench).predict(np.full((1, shape.width), 1e9))


def test_an_answer_that_moves_is_refused_with_its_row(tmp_path: Path, monkeypatch):
    bench = bench_of(tmp_path, rows())
    other = dense.taped(tabular(seed=1))
    monkeypatch.setattr(dense, "lower_graph", lambda content: other)
    with pytest.raises(EngineError, match="as a tape of steps the model answers otherwise"):
        dense.plugin(net(tabular(), bench), bench)


def test_trees_pictures_and_graphs_of_float64_do_not_apply(tmp_path: Path):
    bench = bench_in(tmp_path)
    with pytest.raises(NotApplicable, match="'lightgbm'"):
        dense.plugin(as_it_came(text(trees=5), bench), bench)
    with pytest.raises(NotApplicable, match="not float32"):
        dense.plugin(came("onnxruntime", softmax(3, DOUBLE), bench), bench)
    bench = bench_of(tmp_path / "pictures", pixels())
    with pytest.raises(NotApplicable, match="Conv"):
        dense.plugin(net(pictures(), bench, task="multiclass"), bench)
