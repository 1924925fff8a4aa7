"""Variants whose answers say less: rounded, flattened, of the top classes, or learned out of fold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from msgspec.structs import replace as changed
from tests.optimization.contexts import opened
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Step
from headway.engines.coarse import Coarse, flatten_scores, round_scores, top_classes
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.evaluation.quality.row_errors import decide_class
from headway.optimization.screening import comes_first
from headway.optimization.transforms import round as round_
from headway.optimization.transforms import self_distil, temperature, top

PROBABILITIES = st.floats(0, 1, width=64)


@given(
    arrays(np.float64, (20, 1), elements=PROBABILITIES),
    st.one_of(st.floats(0.01, 0.99), st.sampled_from([0.25, 0.3, 0.5, 0.1 + 0.2, 0.5 + 2.0**-40])),
    st.sampled_from([1, 2]),
)
def test_no_score_of_two_classes_crosses_the_threshold(scores, threshold, decimals):
    for found in (
        round_scores(scores, decimals, threshold=threshold),
        flatten_scores(scores, 2.0, threshold=threshold),
    ):
        assert np.array_equal(decide_class(found, threshold), decide_class(scores, threshold))
    rounded = round_scores(scores, decimals, threshold=threshold)
    assert np.array_equal(rounded, np.round(rounded, decimals)) and np.abs(rounded - scores).max() <= 10.0**-decimals


@given(arrays(np.float64, (20, 6), elements=st.floats(0.001, 1, width=64)))
@example(np.tile([np.nextafter(0.3, 0), *[0.3] * 5], (20, 1)))  # the mean of others is rounded to the first
def test_the_most_probable_of_several_classes_stays(raw):
    scores = raw / raw.sum(axis=1, keepdims=True)
    decided = scores.argmax(axis=1)
    flat = flatten_scores(scores, 2.0, threshold=0.5)
    for found in (round_scores(scores, 1, threshold=0.5), top_classes(scores, 3), flat):
        assert np.array_equal(found.argmax(axis=1), decided)
    assert np.allclose(top_classes(scores, 3).sum(axis=1), 1)


def test_a_score_above_a_threshold_that_rounds_to_one_decimal_stays_above_it():
    found = round_scores(np.array([[0.3125], [0.3]]), 1, threshold=0.1 + 0.2)
    assert found.ravel().tolist() == [0.4, 0.3]


def test_the_top_classes_keep_their_scores_and_the_others_share_the_rest():
    assert top_classes(np.array([[0.1, 0.5, 0.3, 0.06, 0.04]]), 2).round(4).tolist() == [
        [0.0667, 0.5, 0.3, 0.0667, 0.0667]
    ]
    few = np.array([[0.4, 0.6]])
    assert top_classes(few, 3) is few


@pytest.fixture
def context(tmp_path):
    return replace(context_with(tmp_path, labeled_rows(seed=2), labeled_rows(seed=1), threshold=0.3), private=True)


@pytest.mark.parametrize(("transform", "count"), [(round_, 2), (temperature, 1)])
def test_the_new_engine_answers_coarsely_and_decides_as_before(context, transform, count):
    model = trained_on(context, labeled_rows(seed=1))
    variants = transform.plugin(model, context)
    before = opened(model, context).predict(context.sample)
    assert len(variants) == count and all(variant.engine == "coarse" and comes_first(variant) for variant in variants)
    for variant in variants:
        after = opened(variant, context).predict(context.sample)
        assert np.array_equal(decide_class(after, 0.3), decide_class(before, 0.3)) and not np.array_equal(after, before)
        assert np.array_equal(after[:1], opened(variant, context).predict(context.sample[:1]))
        with pytest.raises(NotApplicable, match="engine 'coarse' comes last"):
            transform.plugin(variant, context)
    assert not comes_first(model)
    unknown = changed(model, steps=(Step(transform="of another machine"),))
    assert not comes_first(unknown)


def test_a_student_of_out_of_fold_answers_learned_no_row_by_heart(context):
    train = labeled_rows(seed=1)
    model = trained_on(context, train, trees=400, leaves=200)
    (student,) = self_distil.plugin(model, context)
    own, learned = (opened(variant, context).predict(train.rows)[:, 0] for variant in (model, student))
    fresh = labeled_rows(seed=9)
    gap = [
        np.square(opened(variant, context).predict(fresh.rows)[:, 0] - fresh.labels).mean()
        - np.square(answers - train.labels).mean()
        for variant, answers in ((model, own), (student, learned))
    ]
    assert gap[1] < gap[0] / 4


def test_what_has_no_coarse_answers_is_refused_by_name(context):
    model = trained_on(context, labeled_rows(seed=1))
    number = changed(model, task="regression")
    for transform in (round_, temperature):
        with pytest.raises(NotApplicable, match="a regression model makes no decisions"):
            transform.plugin(number, context)
    with pytest.raises(NotApplicable, match="fewer than 5 classes"):
        top.plugin(model, context)
    with pytest.raises(NotApplicable, match="a student predicts classes or one number"):
        self_distil.plugin(changed(model, task="embedding"), context)
    with pytest.raises(NotApplicable, match="only the baseline"):
        self_distil.plugin(changed(model, steps=(Step(transform="prune"),)), context)
    with pytest.raises(NotApplicable, match="not available"):
        self_distil.plugin(model, replace(context, train=lambda: None))
    few = labeled_rows(seed=1)
    with pytest.raises(NotApplicable, match="fewer than 5 groups"):
        self_distil.plugin(model, replace(context, train=lambda: replace(few, groups=few.groups * 0)))
    with pytest.raises(NotApplicable, match="no row to answer"):
        round_.plugin(model, replace(context, sample=context.sample[:0]))


def test_an_artifact_that_does_not_say_what_to_do_is_refused(context):
    model = trained_on(context, labeled_rows(seed=1))
    content = context.read(model)
    inner = NestedModel(engine="lightgbm", settings={}, size_bytes=len(content))
    for numbers in ({"decimals": 2.0}, {"decimals": 2.0, "top": 3.0, "threshold": 0.5}, {"top": 0.0, "threshold": 0.5}):
        with pytest.raises(EngineError, match="does not say what becomes of the answers"):
            Coarse(pack_models(NestedHeader(models=(inner,), numbers=numbers), content), {})
    made = pack_models(NestedHeader(models=(inner,), numbers={"decimals": 2.0, "threshold": 0.5}), content)
    with pytest.raises(EngineError, match="has no setting 'threads'"):
        Coarse(made, {"threads": 1})
    with pytest.raises(NotApplicable, match="is not a model with coarse answers"):
        Coarse.import_model(object())
