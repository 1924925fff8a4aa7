"""Features are left out of a model: it is trained without them, or has a constant in their place."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace
from tests.optimization.contexts import opened
from tests.optimization.evaluated_variants import evaluated
from tests.optimization.training_rows import THREE, context_with, labeled_rows, trained_on

from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Field, Step, Variant
from headway.engines.columns import Columns
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization import search
from headway.optimization.context import TransformContext
from headway.optimization.transforms.without import plugin

pytestmark = pytest.mark.slow

LEARNED = labeled_rows(1_000, seed=1)


@pytest.fixture
def context(tmp_path) -> TransformContext:
    return dataclasses.replace(
        context_with(tmp_path, labeled_rows(seed=2), LEARNED), columns=THREE.names, without=("c",)
    )


def trained_without(context: TransformContext, model: Variant):
    """Return a function that trains on some of the columns."""

    def retrain(features):
        columns = [THREE.names.index(name) for name in features]
        inputs = tuple(THREE.inputs[column] for column in columns)
        fewer = dataclasses.replace(LEARNED, rows=LEARNED.rows[:, columns])
        return replace(trained_on(context, fewer, trees=2), signature=replace(THREE, inputs=inputs))

    return retrain


def test_a_model_with_a_training_function_is_trained_without_the_features(context):
    model = trained_on(context, LEARNED, trees=2)
    [found] = plugin(model, dataclasses.replace(context, retrain=trained_without(context, model)))

    assert found.signature.names == ("a", "b")
    assert found.name == "lightgbm · without(features=c)"
    assert opened(found, context).predict(context.sample[:, :2]).shape == (len(context.sample), 1)


def test_a_model_without_a_training_function_has_a_missing_or_a_typical_value_instead(context):
    model = trained_on(context, LEARNED, trees=20)
    missing, typical = plugin(model, context)

    rows = context.sample.copy()
    for variant, value in ((missing, np.nan), (typical, LEARNED.rows[:, 2].mean())):
        rows[:, 2] = value
        assert variant.signature.names == ("a", "b")
        assert np.array_equal(
            opened(variant, context).predict(context.sample[:, :2]), opened(model, context).predict(rows)
        )


def test_a_feature_that_may_not_be_missing_has_its_most_frequent_category(context):
    field = Field(name="c", datatype="BYTES", categories=("x", "y"), refuses=("missing",))
    model = replace(trained_on(context, LEARNED), signature=replace(THREE, inputs=(*THREE.inputs[:2], field)))
    learned = dataclasses.replace(LEARNED, rows=np.where([False, False, True], 1.0, LEARNED.rows))

    [found] = plugin(model, dataclasses.replace(context, train=lambda: learned))

    rows = context.sample.copy()
    rows[:, 2] = 1.0
    assert found.steps[0].settings["value"] == "typical"
    assert np.array_equal(opened(found, context).predict(rows[:, :2]), opened(model, context).predict(rows))


def test_a_feature_that_was_never_known_stays_missing(context):
    unknown = dataclasses.replace(LEARNED, rows=np.where([False, False, True], np.nan, LEARNED.rows))
    missing, typical = plugin(trained_on(context, LEARNED), dataclasses.replace(context, train=lambda: unknown))

    assert missing.artifact.digest == typical.artifact.digest


@pytest.mark.parametrize(("without", "reason"), [(("x",), "none of these"), (("a", "b", "c"), "no other features")])
def test_a_model_keeps_at_least_one_feature_and_loses_at_least_one(context, without, reason):
    with pytest.raises(NotApplicable, match=reason):
        plugin(trained_on(context, LEARNED), dataclasses.replace(context, without=without))


def test_a_variant_with_steps_does_not_apply(context):
    [found, _] = plugin(trained_on(context, LEARNED), context)
    with pytest.raises(NotApplicable, match="baseline only"):
        plugin(found, context)


def test_every_candidate_of_a_search_does_without_them_and_others_are_made_of_these(context):
    model = trained_on(context, LEARNED, trees=4)
    context = dataclasses.replace(context, retrain=trained_without(context, model))

    found = search.generate_candidates(model, context, ["truncate", "trees"])

    assert {variant.name for variant in found.variants[1:]} == {
        "lightgbm · without(features=c)",
        "lightgbm · without(features=c) · truncate(trees=1)",
        "trees · without(features=c)",
        "trees · without(features=c) · truncate(trees=1)",
    }
    assert {variant.signature.names for variant in found.variants[1:]} == {("a", "b")}


@pytest.mark.parametrize("step", ["without", "defer"])
def test_a_variant_that_saves_lookups_wins_without_being_faster(step):
    baseline, faster, slower = evaluated(0, us=10.0), evaluated(1, us=9.0), evaluated(2, us=11.0)

    equal = search.rank_by_objective([baseline, faster, slower], "speed", lambda _: True)
    saving = replace(slower, variant=replace(slower.variant, steps=(Step(transform=step),)))
    found = search.rank_by_objective([baseline, faster, saving], "speed", lambda _: True)

    assert (equal, found) == ([faster, baseline], [saving, faster, baseline])


def test_a_choice_of_columns_that_no_model_can_read_is_refused():
    inner = NestedModel(engine="echo", size_bytes=4)
    for columns, constants in (((), ()), ((0, -2), ()), ((0, -1), ()), ((0, 1), (0.5, 0.5))):
        content = pack_models(NestedHeader(models=(inner,), columns=columns, constants=constants), b"echo")
        with pytest.raises(EngineError, match="the model has no"):
            Columns(content, {})
    with pytest.raises(EngineError, match="no setting 'threads'"):
        Columns(b"", {"threads": 1})


def test_rows_that_are_too_narrow_are_refused():
    inner = NestedModel(engine="echo", size_bytes=4)
    engine = Columns(pack_models(NestedHeader(models=(inner,), columns=(3, 0)), b"echo"), {})
    with pytest.raises(EngineError, match="reads column 3, and a row has 2"):
        engine.predict(np.zeros((1, 2)))
