"""Models of other families join the search, each trained on the training rows of the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from msgspec.structs import replace
from sklearn.metrics import roc_auc_score
from tests.optimization.contexts import opened
from tests.optimization.training_rows import context_with, labeled_rows, trained_on

from headway.core.errors import ConfigError, NotApplicable
from headway.optimization import search
from headway.optimization.transforms import family
from headway.optimization.transforms.family import MODEL_FAMILIES, plugin

pytestmark = pytest.mark.slow

LEARNED = labeled_rows(1_000, seed=1)


@pytest.fixture
def context(tmp_path, monkeypatch):
    """The context of a search with every family, each of few trees."""
    monkeypatch.setattr(family, "_TREES", 40)
    monkeypatch.setitem(family._FOREST, "n_estimators", 20)
    return dataclasses.replace(
        context_with(tmp_path, labeled_rows(seed=2), LEARNED), model_families=tuple(MODEL_FAMILIES)
    )


def test_each_family_learned_the_task_and_names_itself(context):
    found = plugin(trained_on(context, LEARNED), context)
    assert [member.steps[-1].settings["name"] for member in found] == ["forest", "histgb", "lightgbm", "logistic"]
    scores = [
        roc_auc_score(context.validation.labels, opened(member, context).predict(context.sample)[:, 0])
        for member in found
    ]
    assert min(scores) > 0.75


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_other_tasks_have_their_families_too(context, task):
    several = dataclasses.replace(LEARNED, labels=np.floor(np.abs(LEARNED.rows[:, 0])).clip(0, 2))
    other = dataclasses.replace(context, train=lambda: several)
    found = plugin(replace(trained_on(context, LEARNED), task=task), other)
    assert {opened(member, context).predict(context.sample).shape[1] for member in found} == {
        3 if task == "multiclass" else 1
    }


def test_a_model_of_another_family_is_compiled_as_well(context):
    found = search.generate_candidates(trained_on(context, LEARNED, trees=2), context, ["family", "trees", "pipeline"])
    names = {member.name for member in found.variants if "family" in member.name}
    assert {"trees · family(name=forest)", "onnxruntime · family(name=logistic) · pipeline"} <= names


def test_a_search_without_families_does_not_load_the_transform(tmp_path, monkeypatch):
    context = context_with(tmp_path, labeled_rows(seed=2), LEARNED)
    monkeypatch.setattr(search, "load_transform", lambda name: pytest.fail(name) if name == "family" else _nothing)
    assert len(search.generate_candidates(trained_on(context, LEARNED, trees=2), context).variants) == 1


def _nothing(variant, context):
    return []


def test_an_unknown_family_is_named_with_the_known_ones(context):
    with pytest.raises(ConfigError, match="unknown model family 'svm'") as refusal:
        plugin(trained_on(context, LEARNED), dataclasses.replace(context, model_families=("svm",)))
    assert refusal.value.hint == "forest, histgb, lightgbm, logistic"


def test_unknown_training_rows_leave_no_family_to_train(tmp_path):
    context = dataclasses.replace(context_with(tmp_path, LEARNED), model_families=("forest",))
    with pytest.raises(NotApplicable, match="not available"):
        plugin(trained_on(context, LEARNED), context)
