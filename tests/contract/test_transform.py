"""Test every installed transform: one more step, an artifact that opens, and the variant left unchanged."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from msgspec.structs import replace
from tests.engines.boosters import text
from tests.engines.encoders import labeled_texts, pipeline_of, static_encoder
from tests.engines.pipelines import logistic_of_numbers
from tests.optimization.contexts import NUMBERS, baseline_of, context_in, imported, opened
from tests.optimization.exported_networks import exported_network
from tests.optimization.networks import tabular_network
from tests.optimization.text_variants import imported_pipeline, text_rows
from tests.optimization.training_rows import THREE, context_with, labeled_rows, repeat_rows, trained_on

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.record import read, write
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.engines.dense import Dense
from headway.evaluation.selective import certify_threshold
from headway.optimization.context import TransformContext, load_transform
from headway.optimization.screening import answer_changing_steps
from headway.optimization.search import STAGES
from headway.optimization.transforms import cascade

pytestmark = pytest.mark.slow

# Tested in an environment of its own (tests/engines/test_openvino_engine.py), where these libraries are.
APART = {"encoder": "tokenizers", "nncf": "nncf", "openvino": "openvino", "static": "tokenizers"}
OF_AMX = ("bfloat16",)  # of a CPU that has it
TRANSFORMS = [
    name
    for name in plugins.names("transform")
    if (name not in APART or importlib.util.find_spec(APART[name]))
    and (name not in OF_AMX or "bf16" in Dense.precisions())
]
ANY = ("cache", "family", "self_distil", "without")  # these ask nothing of a model
NETS = {
    "dense": tabular_network,
    "fold": exported_network,
    "nncf": tabular_network,
    "openvino": tabular_network,
    "quantise": tabular_network,
}


LEARNED = labeled_rows(seed=1)
# The rows of choose on which a transform has something to offer, where the table is not enough.
CHOOSE = {
    "cache": lambda: repeat_rows(labeled_rows(100, seed=2), times=30),
    "cascade": lambda: labeled_rows(20_000, seed=2),
    "defer": lambda: labeled_rows(seed=2),
    "distil": lambda: labeled_rows(seed=2),
    "family": lambda: labeled_rows(seed=2),
    "fipe": lambda: labeled_rows(seed=2),
    "pine": lambda: labeled_rows(seed=2),
    "recalibrate": lambda: labeled_rows(seed=3, shift=1.5),
    "round": lambda: labeled_rows(seed=2),
    "self_distil": lambda: labeled_rows(seed=2),
    "temperature": lambda: labeled_rows(seed=2),
}


def context_of(name: str, folder: Path) -> TransformContext:
    """Return a context in which a transform has something to offer."""
    context = context_with(folder, CHOOSE[name](), LEARNED) if name in CHOOSE else context_in(folder)
    if name in ("encoder", "static", "text"):
        context = dataclasses.replace(context, sample=text_rows(), train=labeled_texts)
    if name == "half":  # the mean of a row with a missing value is missing
        context = dataclasses.replace(context, sample=np.nan_to_num(context.sample))
    if name in ("defer", "pine"):
        context = dataclasses.replace(context, max_changed=0.5, certify=_certify)
    if name == "defer":
        return dataclasses.replace(
            context,
            columns=THREE.names,
            deferred=("c",),
            baseline=trained_on(context, LEARNED, trees=200),
        )
    return dataclasses.replace(
        context,
        model_families=("forest", "logistic") if name == "family" else (),
        without=("gaps",) if name == "without" else (),
        private=name in ("round", "self_distil", "temperature", "top"),
        columns=NUMBERS.names if name == "without" else (),
    )


def _certify(confidence, errors, thresholds, limit, groups):
    return certify_threshold(confidence, errors, thresholds=thresholds, limit=limit, groups=groups)


def apply(name: str, context: TransformContext) -> tuple[Variant, Sequence[Variant]]:
    """Return a model, and the variants that a transform makes of it."""
    if name in ("fipe", "pine"):
        model = trained_on(context, LEARNED, trees=30, leaves=2)
    elif name in CHOOSE:
        model = trained_on(context, LEARNED, trees=200)
    elif name == "top":
        classes = replace(NUMBERS, classes=tuple("abcdef"))
        model = baseline_of(text("multiclass", trees=20), context, task="multiclass", signature=classes)
    elif name == "pipeline":
        model = imported("sklearn", logistic_of_numbers(), context)
    elif name in ("encoder", "static"):
        model = imported_pipeline(pipeline_of(static_encoder()), context)
    elif name == "text":
        model = imported_pipeline("union", context)
    elif name == "half":
        model = _echo(context)
    elif name == "bfloat16":
        [model] = load_transform("dense")(imported("onnxruntime", tabular_network(), context), context)
    else:
        model = imported("onnxruntime", NETS[name](), context) if name in NETS else baseline_of(text(trees=20), context)
    return model, load_transform(name)(model, context)


class Made(NamedTuple):
    """A model, and the variants that a transform made of it, once for all tests."""

    name: str
    context: TransformContext
    model: Variant
    variants: Sequence[Variant]


@pytest.fixture(scope="module", autouse=True)
def any_cascade() -> Iterator[None]:
    """Let a cascade be made of a booster that is too quick for one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cascade, "MIN_COST_RATIO", 0.0)
        patch.setattr(cascade, "MAX_DEFERRED", 1.0)
        yield


@pytest.fixture(scope="module", params=TRANSFORMS)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, any_cascade: None) -> Made:
    context = context_of(request.param, tmp_path_factory.mktemp(request.param))
    return Made(request.param, context, *apply(request.param, context))


def test_each_new_variant_has_one_step_more_of_its_own_name(made):
    assert made.variants
    for variant in made.variants:
        assert variant.steps[:-1] == made.model.steps and variant.steps[-1].transform == made.name
        assert variant.task == made.model.task
        fewer = [field for field in made.model.signature.inputs if field.name not in made.context.without]
        assert variant.signature == replace(made.model.signature, inputs=tuple(fewer))


def test_each_new_variant_is_another_under_another_name(made):
    models = (made.model, *made.variants)
    assert len({model.digest for model in models}) == len({model.name for model in models}) == len(models)


def test_each_new_variant_opens_and_answers_in_the_same_form(made):
    rows = made.context.sample[:500]
    expected = opened(made.model, made.context).predict(rows)
    for variant in made.variants:
        answers = opened(variant, made.context).predict(made.context.for_variant(variant).sample[:500])
        assert answers.shape == expected.shape and np.all(np.isfinite(answers))
        assert variant.artifact.format in plugins.load_engine(variant.engine).formats
        assert len(made.context.read(variant)) == variant.artifact.size_bytes


def test_the_same_variant_gives_the_same_variants_again(made):
    assert apply(made.name, made.context) == (made.model, made.variants)


def test_new_variants_come_back_from_disk_as_they_were(made):
    assert all(read(Variant, write(variant)) == variant for variant in made.variants)


@pytest.mark.parametrize("name", [name for name in TRANSFORMS if name not in ANY])
def test_a_model_of_another_kind_does_not_apply(name, tmp_path):
    context = context_of(name, tmp_path)
    model = baseline_of(text(trees=20), context) if name == "half" else _echo(context)
    with pytest.raises(NotApplicable) as reason:
        load_transform(name)(model, context)
    assert reason.value.what


def test_each_declares_its_stage_whether_answers_stay_and_what_it_requires():
    context_fields = {field.name for field in dataclasses.fields(TransformContext)}
    for name in plugins.names("transform"):
        assert plugins.declaration("transform", name, "STAGE") in STAGES, name
        assert plugins.declaration("transform", name, "KEEPS_ANSWERS", False) in (True, False), name
        assert plugins.declaration("transform", name, "KEEPS_DECISIONS", False) or not plugins.declaration(
            "transform", name, "PROVES_DECISIONS", False
        )
        assert set(plugins.declaration("transform", name, "REQUIRES", ())) <= context_fields, name


@pytest.mark.parametrize(
    "made", [name for name in TRANSFORMS if plugins.declaration("transform", name, "KEEPS_ANSWERS")], indirect=True
)
def test_a_transform_that_declares_unchanged_answers_keeps_them(made):
    rows = made.context.sample[:500]
    expected = opened(made.model, made.context).predict(rows)
    for variant in made.variants:
        assert np.allclose(opened(variant, made.context).predict(rows), expected, rtol=0, atol=1e-6)
        assert answer_changing_steps(variant) == answer_changing_steps(made.model)


def _echo(context):
    artifact = Artifact(format="echo", digest=context.blobs.put(b"echo"), size_bytes=4)
    return Variant(artifact=artifact, engine="echo", signature=Signature(inputs=(Field(name="a"),)))
