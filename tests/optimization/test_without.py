"""A variant without a part: a step left out, a stage of a cascade alone, a layer of a network in float32 again."""

from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace
from tests.optimization.benches import opened
from tests.optimization.lessons import bench_of, lesson, taught
from tests.optimization.nets import bench_of as net_bench
from tests.optimization.nets import net, rows, tabular

from headway.core.errors import NotApplicable
from headway.core.variant import Step
from headway.engines.lightgbm import Lightgbm
from headway.optimization.ablation import Component, iter_components, rebuild_without
from headway.optimization.transforms import cascade, quantise, trees, truncate

pytestmark = pytest.mark.slow

LEARNED = lesson(seed=1)


@pytest.fixture
def bench(tmp_path):
    return bench_of(tmp_path, lesson(20_000, seed=2), LEARNED)


@pytest.fixture
def model(bench):
    return taught(bench, LEARNED, trees=200)


def without_each(variant, origin, bench):
    return dict(rebuild_without(part, bench) for part in iter_components(variant, origin, bench))


def test_each_step_is_left_out_and_the_others_are_taken_again(bench, model):
    cut = next(each for each in truncate.plugin(model, bench) if each.steps[0].settings == {"trees": 100})
    [variant] = trees.plugin(cut, bench)
    found = without_each(variant, model, bench)
    assert found == {"truncate(trees=100)": trees.plugin(model, bench)[0], "trees": cut}


def test_a_cascade_is_taken_apart_into_the_whole_model_and_its_first_stage(bench, model, monkeypatch):
    monkeypatch.setattr(cascade, "MIN_COST_RATIO", 0.0)
    monkeypatch.setattr(cascade, "MAX_DEFERRED", 1.0)
    [variant] = cascade.plugin(model, bench)
    step, stage = without_each(variant, model, bench).items()
    assert step == (str(variant.steps[0]), model)
    first = Lightgbm(Lightgbm.truncate(bench.read(model), 10), {}).predict(LEARNED.rows)
    assert stage[0] == "cascade: second stage"
    assert np.array_equal(opened(stage[1], bench).predict(LEARNED.rows), first)


@pytest.mark.parametrize("scales", ["static", "by row"])
def test_each_layer_of_a_network_is_put_back_to_float32_alone(tmp_path, scales):
    bench = net_bench(tmp_path, rows())
    origin = net(tabular(), bench)
    wanted = {"int8": "3 of 4", "scales": scales}
    made = quantise.plugin(origin, bench)
    variant = next((each for each in made if each.steps[-1].settings == wanted), made[-1])
    count = int(str(variant.steps[-1].settings["int8"])[0])
    found = without_each(variant, origin, bench)
    layers = {name: each for name, each in found.items() if name.startswith("quantise: int8 of ")}
    assert found[str(variant.steps[-1])] == origin and len(layers) == count > 1
    moved = [
        np.abs(opened(each, bench).predict(rows(9)) - opened(origin, bench).predict(rows(9))).max()
        for each in layers.values()
    ]
    whole = np.abs(opened(variant, bench).predict(rows(9)) - opened(origin, bench).predict(rows(9))).max()
    assert (
        min(moved) < whole
        and len({each.artifact.digest for each in layers.values()} | {variant.artifact.digest}) == count + 1
    )


def test_a_step_that_no_longer_applies_goes_with_the_part(bench, model):
    cut = truncate.plugin(model, bench)[0]
    name, variant = rebuild_without(
        Component(name="some", instead=cut, rest=[Step(transform="recalibrate"), Step(transform="trees")]), bench
    )
    assert name == "some + recalibrate"
    assert variant == trees.plugin(cut, bench)[0]


def test_a_variant_that_its_steps_do_not_give_again_is_refused_by_the_step(bench, model):
    strange = replace(model, steps=(Step(transform="truncate", settings={"trees": 13}),))
    with pytest.raises(NotApplicable, match=r"truncate\(trees=13\)"):
        list(iter_components(strange, model, bench))


def test_the_model_as_it_came_has_no_part(bench, model):
    assert list(iter_components(model, model, bench)) == []
