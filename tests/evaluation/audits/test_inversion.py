"""Audit `inversion`: how much of a row is rebuilt from the answer to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from tests.evaluation.conftest import subject_from

from headway.core.contracts import LabeledData
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.plugins import load_engine
from headway.core.variant import Artifact, Field, Signature, Step
from headway.evaluation.audits import inversion
from headway.evaluation.context import AuditContext
from headway.storage.in_memory import InMemoryBlobs


class First:
    """Answers by the first column alone, in steps of 1 / `steps`."""

    def __init__(self, steps):
        self.steps = steps

    def predict(self, rows):
        return np.round(np.nan_to_num(rows[:, [0]], nan=0.5) * self.steps) / self.steps


def made(model, *, categories=(), count=600):
    rng = np.random.default_rng(0)
    rows = rng.random((2 * count, 2))
    rows[::7, 1] = np.nan
    scores = model.predict(rows)[:, 0]
    labels = (rng.random(2 * count) < scores).astype(float)
    groups = np.arange(count) // 10
    subject = subject_from(labels[count:], scores[count:], scores[count:], groups)
    inputs = tuple(
        Field(name=name, datatype="BYTES", categories=("x", "y")) if name in categories else Field(name=name)
        for name in "ab"
    )
    variant = changed(subject.variant, signature=Signature(inputs=inputs))
    data = LabeledData(rows=rows[:count], labels=labels[:count], groups=groups)
    context = AuditContext(blobs=InMemoryBlobs(), budget_s=60.0, train=lambda: data)
    return replace(subject, variant=variant, model=model, rows=rows[count:]), context


def errors(subject, context, name="privacy.inversion.error"):
    found = [one for one in inversion.plugin(subject, context) if isinstance(one, Measurement)]
    return {one.slice: one for one in found if one.name == name}


def trained(model, *, count=400, per_group=10):
    """Return a model fitted on half of the rows, whose label depends on the columns `a` and `b`, and not on `c`."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2 * count, 3))
    labels = (rows[:, 0] + rows[:, 1] + 0.5 * rng.normal(size=2 * count) > 0).astype(float)
    model.fit(rows[:count], labels[:count])
    groups = np.arange(count) // per_group
    engine = load_engine("sklearn")
    blobs, content = InMemoryBlobs(), engine.import_model(model).content
    opened = engine(content, {})
    scores = opened.predict(rows[count:])[:, 0]
    subject = subject_from(labels[count:], scores, scores, groups)
    variant = changed(
        subject.variant,
        engine="sklearn",
        artifact=Artifact(format="joblib", digest=blobs.put(content), size_bytes=len(content)),
        signature=Signature(inputs=tuple(Field(name=name) for name in "abc")),
    )
    data = LabeledData(rows=rows[:count], labels=labels[:count], groups=groups)
    context = AuditContext(blobs=blobs, budget_s=60.0, train=lambda: data)
    return replace(subject, variant=variant, model=opened, rows=rows[count:]), context


def by_trees(subject, context):
    return errors(subject, context, "privacy.inversion.trees")


def test_a_column_that_the_answer_shows_is_rebuilt_and_another_is_not():
    found = errors(*made(First(1_000)))
    assert found["a"].high < 0.05
    assert found["b"].low <= 1.03 and found["b"].high > 0.97
    assert found["a"].value < found[""].value < found["b"].value


def test_coarse_answers_show_less():
    exact, coarse = (errors(*made(First(steps)))["a"] for steps in (1_000, 2))
    assert coarse.low > exact.high


def test_rows_of_the_evaluation_serve_where_those_of_training_are_not_known():
    subject, context = made(First(1_000))
    assert errors(subject, replace(context, train=lambda: None))["a"].high < 0.05


def test_what_cannot_be_judged_is_refused_by_name():
    with pytest.raises(NotApplicable, match="no column of numbers"):
        inversion.plugin(*made(First(10), categories="ab"))
    with pytest.raises(NotApplicable, match="there are 50 rows with an answer, and 100 are needed"):
        inversion.plugin(*made(First(10), count=50))


def test_full_trees_give_a_row_away_to_a_caller_who_holds_them():
    planted = trained(RandomForestClassifier(30, random_state=0))
    found, by_answers = by_trees(*planted), errors(*planted)
    assert all(found[name].high < 0.08 for name in ("a", "b", "c", "")) and found[""].n_groups == 40
    assert by_answers[""].low > 0.4 and "by the trees of the variant" in found["a"].method


def test_a_column_that_no_tree_splits_is_not_rebuilt():
    found = by_trees(*trained(DecisionTreeClassifier(max_depth=1)))
    split, others = min("abc", key=lambda name: found[name].value), []
    others = [found[name] for name in "abc" if name != split]
    assert found[split].high < 0.6
    assert all(one.value == pytest.approx(1, abs=1e-9) for one in others)


def test_larger_leaves_give_less_away():
    values = [
        by_trees(*trained(RandomForestClassifier(10, min_samples_leaf=leaf, random_state=0)))[""]
        for leaf in (1, 20, 150)
    ]
    assert values[0].high < values[1].low and values[1].high < values[2].low


def test_missing_values_bound_nothing_and_dependent_rows_widen_the_interval():
    made = trained(HistGradientBoostingClassifier(max_iter=5, random_state=0))
    subject, context = made
    data = context.train()
    gaps = np.where(np.random.default_rng(1).random(data.rows.shape) < 0.2, np.nan, data.rows)
    alone = by_trees(subject, replace(context, train=lambda: replace(data, rows=gaps)))
    assert 0 < alone["a"].value < 0.9 and np.isfinite(alone["a"].high)
    twice = np.tile(np.arange(200), 2)
    rows = data.rows[twice]
    own, grouped = (
        by_trees(subject, replace(context, train=lambda groups=groups: replace(data, rows=rows, groups=groups)))["a"]
        for groups in (np.arange(400), twice)
    )
    assert own.value == pytest.approx(grouped.value) and grouped.high - grouped.low > 1.3 * (own.high - own.low)


def test_models_without_trees_are_refused_by_name():
    *_, reason = inversion.plugin(*trained(LogisticRegression()))
    assert reason.what == "no reconstruction from trees: a LogisticRegression is not a sum of tree leaves"
    subject, context = trained(DecisionTreeClassifier(max_depth=3))
    other = replace(subject, variant=changed(subject.variant, engine="echo"))
    assert inversion.plugin(other, context)[-1].what.endswith("engine 'echo' exposes no trees or weights")
    compiled = changed(other.variant, steps=(Step(transform="trees"),))
    found = by_trees(replace(other, variant=compiled), replace(context, baseline=subject.variant))
    assert "by the trees of the baseline" in found["a"].method


def test_without_the_rows_that_the_model_was_trained_on_the_attack_is_not_complete():
    subject, context = made(First(10))
    for train, done in ((context.train, 600), (lambda: None, 0)):
        found = inversion.plugin(subject, replace(context, train=train))
        efforts = {(one.effort.done, one.effort.registered) for one in found if isinstance(one, Measurement)}
        assert efforts == {(done, 600)}
    assert next(one.effort.hint for one in found if isinstance(one, Measurement)).endswith("[split] train")
