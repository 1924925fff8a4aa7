"""What every transform must keep: one step more, an artifact that is kept and opens, the variant left as it was."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
from tests.engines.boosters import text
from tests.engines.pipelines import logistic_of_numbers
from tests.optimization.benches import as_it_came, bench_in, came, opened
from tests.optimization.exported import exported
from tests.optimization.lessons import bench_of, lesson, repeated, taught
from tests.optimization.nets import tabular

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.record import read, write
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.optimization.transforms import cascade

pytestmark = pytest.mark.slow

# Tested in an environment of its own (tests/engines/test_openvino_engine.py), where these libraries are.
APART = ("openvino", "nncf")
TRANSFORMS = [name for name in plugins.names("transform") if name not in APART or importlib.util.find_spec(name)]
ANY = ("cache", "family")  # these ask nothing of a model
NETS = {"dense": tabular, "fold": exported, "nncf": tabular, "openvino": tabular, "quantise": tabular}


LEARNED = lesson(seed=1)
# The rows of validation on which a transform has something to offer, where the table is not enough.
CHOOSE = {
    "cache": lambda: repeated(lesson(100, seed=2), times=30),
    "cascade": lambda: lesson(20_000, seed=2),
    "distil": lambda: lesson(seed=2),
    "family": lambda: lesson(seed=2),
    "recalibrate": lambda: lesson(seed=3, shift=1.5),
}


@pytest.fixture
def bench(tmp_path, monkeypatch, request):
    name = request.node.callspec.params.get("name")
    monkeypatch.setattr(cascade, "MIN_COST_RATIO", 0.0)  # a booster of a test is too quick for it
    monkeypatch.setattr(cascade, "MAX_DEFERRED", 1.0)
    bench = bench_of(tmp_path, CHOOSE[name](), LEARNED) if name in CHOOSE else bench_in(tmp_path)
    return dataclasses.replace(bench, families=("forest", "logistic") if name == "family" else ())


def made(name, bench):
    if name in CHOOSE:
        model = taught(bench, LEARNED, trees=200)
    elif name == "pipeline":
        model = came("sklearn", logistic_of_numbers(), bench)
    else:
        model = came("onnxruntime", NETS[name](), bench) if name in NETS else as_it_came(text(trees=20), bench)
    return model, plugins.load_transform(name)(model, bench)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_new_variant_has_one_step_more_of_its_own_name(name, bench):
    model, variants = made(name, bench)
    assert variants
    for variant in variants:
        assert variant.steps[:-1] == model.steps and variant.steps[-1].transform == name
        assert (variant.signature, variant.task) == (model.signature, model.task)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_new_variant_is_another_under_another_name(name, bench):
    model, variants = made(name, bench)
    assert len({each.digest for each in (model, *variants)}) == len(variants) + 1
    assert len({each.name for each in (model, *variants)}) == len(variants) + 1


@pytest.mark.parametrize("name", TRANSFORMS)
def test_each_new_variant_opens_and_answers_in_the_same_form(name, bench):
    model, variants = made(name, bench)
    rows = bench.sample[:500]
    expected = opened(model, bench).predict(rows)
    for variant in variants:
        answers = opened(variant, bench).predict(rows)
        assert answers.shape == expected.shape and np.all(np.isfinite(answers))
        assert variant.artifact.format in plugins.load_engine(variant.engine).formats
        assert len(bench.read(variant)) == variant.artifact.size_bytes


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_same_variant_gives_the_same_variants_again(name, bench):
    assert made(name, bench) == made(name, bench)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_new_variants_come_back_from_disk_as_they_were(name, bench):
    assert all(read(Variant, write(variant)) == variant for variant in made(name, bench)[1])


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name not in ANY])
def test_a_model_of_another_kind_does_not_apply(name, bench):
    artifact = Artifact(format="echo", digest=bench.blobs.put(b"echo"), size_bytes=4)
    signature = Signature(inputs=(Field(name="a"),))
    with pytest.raises(NotApplicable) as reason:
        plugins.load_transform(name)(Variant(artifact=artifact, engine="echo", signature=signature), bench)
    assert reason.value.what
