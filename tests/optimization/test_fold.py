"""Folding: fewer nodes, and every answer unchanged, on rows that exercise each node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.engines.boosters import text
from tests.optimization.contexts import baseline_of, context_in
from tests.optimization.exported_networks import COLUMNS, LARGEST, exported_network
from tests.optimization.networks import context_of, image_network, image_rows, network_variant

from headway.core.errors import EngineError, NotApplicable
from headway.engines.onnxruntime import OnnxRuntime
from headway.optimization.context import TransformContext
from headway.optimization.transforms import fold
from headway.optimization.transforms.fold import fold_graph

STRANGE = np.array([np.nan, np.inf, -np.inf, 0.0, 2.0, -7.0, 3e38, -3e38, 1e300])


def edge_rows() -> np.ndarray:
    """Every edge value in every column among plain ones, and rows of plain ones."""
    plain = np.random.default_rng(1).integers(-3, 9, size=(200, COLUMNS)).astype(np.float64)
    rows = np.repeat(plain[:1], COLUMNS * len(STRANGE), axis=0)
    rows[np.arange(len(rows)), np.arange(len(rows)) % COLUMNS] = np.repeat(STRANGE, COLUMNS)
    return np.concatenate([plain, rows])


def kinds(content: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def answers_equal(content: bytes, other: bytes) -> bool:
    answers, expected = (OnnxRuntime(graph, {}).predict(edge_rows()) for graph in (other, content))
    return np.array_equal(answers, expected, equal_nan=True)


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_of(tmp_path, edge_rows()[:200])


def test_28_exported_nodes_are_folded_into_19_that_are_equal_bit_for_bit():
    found, rules = fold_graph(exported_network())
    assert rules == ("unexpanded", "unbounded", "one_table")
    assert (len(kinds(exported_network())), len(kinds(found))) == (28, 19)
    assert not {"Shape", "Expand", "IsInf", "And", "Less", "Greater"} & set(kinds(found))
    assert answers_equal(exported_network(), found)


def test_the_variant_has_one_step_and_predicts_as_the_baseline(context):
    [variant] = fold.plugin(network_variant(exported_network(), context, task="multiclass"), context)
    assert variant.name.endswith("fold")
    assert answers_equal(exported_network(), context.read(variant))


@pytest.mark.parametrize(
    ("content", "unchanged"),
    [
        (exported_network(high=1000), "one_table"),  # a rank beyond a table is an error, and would become another's row
        (exported_network(low=-2), "one_table"),  # and one below 0 counts from the end of its own
        (exported_network(number=-5), "unbounded"),  # a small number in place of an infinity is meant
        (exported_network(number=LARGEST), "unbounded"),  # of the other sign, too
        (exported_network(other="rows"), "unexpanded"),  # zeros of another shape
    ],
)
def test_a_rewrite_that_would_change_answers_is_not_applied(content, unchanged):
    found, rules = fold_graph(content)
    gone = {"one_table": "Reshape", "unbounded": "IsInf", "unexpanded": "Expand"}[unchanged]
    assert (gone in kinds(found)) == (unchanged != "one_table")
    assert unchanged == "unbounded" or unchanged not in rules


def test_an_answer_that_moves_is_refused_with_its_row(context, monkeypatch):
    monkeypatch.setattr(fold, "fold_graph", lambda content: (exported_network(high=2), ("unbounded",)))
    with pytest.raises(EngineError, match="as a folded graph the model answers"):
        fold.plugin(network_variant(exported_network(), context, task="multiclass"), context)


def test_trees_and_graphs_with_nothing_to_fold_do_not_apply(tmp_path):
    context = context_in(tmp_path)
    with pytest.raises(NotApplicable, match="'lightgbm'"):
        fold.plugin(baseline_of(text(trees=5), context), context)
    context = context_of(tmp_path / "pictures", image_rows())
    with pytest.raises(NotApplicable, match="nothing in the graph"):
        fold.plugin(network_variant(image_network(), context, task="multiclass"), context)
