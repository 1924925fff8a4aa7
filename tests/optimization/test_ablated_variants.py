"""A variant without one component: a step removed, a cascade's first stage alone, a layer back in float32."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from tests.optimization.contexts import opened
from tests.optimization.networks import context_of as net_bench
from tests.optimization.networks import network_variant, tabular_network, tabular_rows
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import NotApplicable
from headway.core.variant import Step
from headway.engines.lightgbm import Lightgbm
from headway.optimization.ablation import Component, iter_components, rebuild_without
from headway.optimization.transforms import cascade, quantise, trees, truncate

pytestmark = pytest.mark.slow

LEARNED = labeled_rows(seed=1)


@pytest.fixture
def context(tmp_path):
    return context_with(tmp_path, labeled_rows(20_000, seed=2), LEARNED)


@pytest.fixture
def model(context):
    return trained_on(context, LEARNED, trees=200)


def without_each(variant, origin, context):
    return dict(rebuild_without(part, context) for part in iter_components(variant, origin, context))


def test_each_step_is_removed_and_the_others_are_repeated(context, model):
    cut = next(
        found_variant
        for found_variant in truncate.plugin(model, context)
        if found_variant.steps[0].settings == {"trees": 100}
    )
    [variant] = trees.plugin(cut, context)
    found = without_each(variant, model, context)
    assert found == {"truncate(trees=100)": trees.plugin(model, context)[0], "trees": cut}


def test_a_cascade_is_ablated_into_the_full_model_and_its_first_stage(context, model, monkeypatch):
    monkeypatch.setattr(cascade, "MIN_COST_RATIO", 0.0)
    monkeypatch.setattr(cascade, "MAX_DEFERRED", 1.0)
    [variant] = cascade.plugin(model, context)
    step, stage = without_each(variant, model, context).items()
    assert step == (str(variant.steps[0]), model)
    first = Lightgbm(Lightgbm.truncate(context.read(model), 10), {}).predict(LEARNED.rows)
    assert stage[0] == "cascade: second stage"
    assert np.array_equal(opened(stage[1], context).predict(LEARNED.rows), first)


@pytest.mark.parametrize("scales", ["static", "by row"])
def test_each_layer_of_a_network_is_restored_to_float32_on_its_own(tmp_path, scales):
    context = net_bench(tmp_path, tabular_rows())
    origin = network_variant(tabular_network(), context)
    wanted = {"int8": "3 of 4", "scales": scales}
    made = quantise.plugin(origin, context)
    variant = next((found_variant for found_variant in made if found_variant.steps[-1].settings == wanted), made[-1])
    count = int(str(variant.steps[-1].settings["int8"])[0])
    found = without_each(variant, origin, context)
    layers = {name: found_variant for name, found_variant in found.items() if name.startswith("quantise: int8 of ")}
    assert found[str(variant.steps[-1])] == origin and len(layers) == count > 1
    moved = [
        np.abs(
            opened(found_variant, context).predict(tabular_rows(9)) - opened(origin, context).predict(tabular_rows(9))
        ).max()
        for found_variant in layers.values()
    ]
    full_change = np.abs(
        opened(variant, context).predict(tabular_rows(9)) - opened(origin, context).predict(tabular_rows(9))
    ).max()
    assert (
        min(moved) < full_change
        and len({found_variant.artifact.digest for found_variant in layers.values()} | {variant.artifact.digest})
        == count + 1
    )


def test_a_step_that_no_longer_applies_is_removed_with_the_component(context, model):
    cut = truncate.plugin(model, context)[0]
    name, variant = rebuild_without(
        Component(name="some", replacement=cut, later_steps=[Step(transform="recalibrate"), Step(transform="trees")]),
        context,
    )
    assert name == "some + recalibrate"
    assert variant == trees.plugin(cut, context)[0]


def test_a_variant_whose_steps_cannot_be_repeated_is_refused_with_the_step(context, model):
    other_steps = replace(model, steps=(Step(transform="truncate", settings={"trees": 13}),))
    with pytest.raises(NotApplicable, match=r"truncate\(trees=13\)"):
        list(iter_components(other_steps, model, context))


def test_the_baseline_has_no_component(context, model):
    assert list(iter_components(model, model, context)) == []
