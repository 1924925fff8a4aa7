"""Pruned trees have fewer nodes, change answers least, and are complete trees again."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.boosters import table, text
from tests.engines.forest_walk import answers
from tests.engines.made_forests import Shape, made, rows_for
from tests.optimization.contexts import baseline_of, context_in, opened

from headway.core.errors import NotApplicable
from headway.core.variant import Step
from headway.engines.compiled.forest import compile_forest
from headway.engines.trees import Trees
from headway.optimization.context import TransformContext
from headway.optimization.transforms.prune import plugin, prune_forest


def nodes(forest):
    return sum(len(tree.feature) for tree in forest.trees)


def distance(forest, other, rows):
    return float(((answers(forest, rows) - answers(other, rows)) ** 2).mean())


@pytest.mark.slow
@pytest.mark.parametrize("shape", [Shape(leaves=60), Shape(leaves=60, categories=9), Shape(leaves=60, zeros=True)])
def test_fewer_nodes_are_further_from_the_forest(shape):
    forest, rows = made(shape, seed=2), rows_for(made(shape, seed=2), 500)
    found = prune_forest(forest, rows, (0.8, 0.5, 0.2))
    assert [nodes(pruned) / nodes(forest) for pruned in found] == pytest.approx([0.8, 0.5, 0.2], abs=0.05)
    moved = [distance(pruned, forest, rows) for pruned in found]
    assert moved == sorted(moved)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), share=st.floats(0, 1), outputs=st.integers(1, 3), together=st.booleans())
def test_a_pruned_forest_is_complete_and_the_kernels_predict_it_exactly(seed, share, outputs, together):
    forest = made(Shape(trees=6, leaves=30, categories=5, outputs=outputs, together=together), seed)
    rows = rows_for(forest, 100, seed)
    [found] = prune_forest(forest, rows, (share,))
    assert np.allclose(Trees(compile_forest(found), {}).predict(rows), answers(found, rows), rtol=0, atol=1e-9)
    assert nodes(found) <= nodes(forest)


def test_a_subtree_with_equal_leaves_is_pruned_first_at_no_cost():
    forest = made(Shape(trees=1, leaves=40), seed=3)
    equal_leaves = forest.trees[0].leaf * 0 + 1.5
    flat = dataclasses.replace(forest, trees=(dataclasses.replace(forest.trees[0], leaf=equal_leaves),))
    [found] = prune_forest(flat, np.zeros((9, 5)), (0.5,))
    assert nodes(found) == 0 and found.trees[0].leaf == pytest.approx(1.5)


@pytest.fixture
def context(tmp_path) -> TransformContext:
    return context_in(tmp_path)


@pytest.mark.slow
def test_a_half_and_a_quarter_are_offered_and_opened_by_the_kernels(context):
    model = baseline_of(text(trees=20), context)
    variants = plugin(model, context)
    assert [pruned.name for pruned in variants] == ["trees · prune(nodes=0.5)", "trees · prune(nodes=0.25)"]
    came = opened(model, context).predict(table())
    near, far = (np.abs(opened(pruned, context).predict(table()) - came) for pruned in variants)
    assert 0 < near.mean() < far.mean() < 0.2


def test_only_the_baseline_is_pruned_and_only_with_rows(context):
    model = baseline_of(text(trees=20), context)
    with pytest.raises(NotApplicable, match="baseline only"):
        plugin(model.with_step(Step(transform="truncate")), context)
    with pytest.raises(NotApplicable, match="0 rows"):
        plugin(model, TransformContext(blobs=context.blobs, sample=np.zeros((0, 4))))
