"""Transform `bfloat16`: what it makes of a lowered network, and where it does not apply."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.optimization.contexts import opened
from tests.optimization.lowering.random_networks import Shape, random_network, rows_for
from tests.optimization.networks import context_of, image_network, image_rows, network_variant

from headway.core.errors import NotApplicable
from headway.core.variant import Variant
from headway.engines.dense import Dense
from headway.optimization.context import TransformContext
from headway.optimization.screening import answer_changing_steps
from headway.optimization.transforms import bfloat16, dense

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def any_processor(monkeypatch):
    """Offer bfloat16 on processors without AMX too: every level computes with it."""
    monkeypatch.setattr(Dense, "precisions", classmethod(lambda cls: ("f32", "bf16")))


def lowered(context: TransformContext) -> Variant:
    """An image network as a program."""
    [variant] = dense.plugin(network_variant(image_network(), context, task="multiclass"), context)
    return variant


def test_the_variant_answers_nearly_as_before_and_is_judged_as_one_that_changes_answers(tmp_path: Path):
    context = context_of(tmp_path, image_rows())
    model = lowered(context)
    [variant] = bfloat16.plugin(model, context)
    change = np.abs(opened(variant, context).predict(image_rows()) - opened(model, context).predict(image_rows()))
    assert 0 < change.max() < 0.01
    assert variant.settings["precision"] == "bf16" and variant.artifact == model.artifact
    assert [step.transform for step in answer_changing_steps(variant)] == ["bfloat16"]


def test_a_variant_in_bfloat16_and_one_of_another_engine_do_not_apply(tmp_path: Path):
    context = context_of(tmp_path, image_rows())
    [variant] = bfloat16.plugin(lowered(context), context)
    with pytest.raises(NotApplicable, match="already"):
        bfloat16.plugin(variant, context)
    with pytest.raises(NotApplicable, match="'onnxruntime'"):
        bfloat16.plugin(network_variant(image_network(), context), context)


def test_a_network_of_small_layers_does_not_apply(tmp_path: Path):
    shape = Shape(numbers=5, layers=(16,), outputs=2)
    context = context_of(tmp_path, rows_for(shape, 200))
    [model] = dense.plugin(network_variant(random_network(shape), context), context)
    with pytest.raises(NotApplicable, match="no layer"):
        bfloat16.plugin(model, context)


def test_a_processor_without_amx_does_not_apply(tmp_path: Path, monkeypatch):
    context = context_of(tmp_path, image_rows())
    model = lowered(context)
    monkeypatch.setattr(Dense, "precisions", classmethod(lambda cls: ("f32",)))
    with pytest.raises(NotApplicable, match="AMX"):
        bfloat16.plugin(model, context)
