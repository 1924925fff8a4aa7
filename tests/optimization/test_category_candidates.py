"""Every transform of a CatBoost model with categories makes candidates that open and answer, or says why not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.category_worlds import CategoryWorld, make_world, rows_of
from tests.optimization.contexts import imported, opened

from headway.core.contracts import LabeledData
from headway.core.plugins import load_blobs
from headway.engines.catboost import Catboost
from headway.optimization import search
from headway.optimization.context import TransformContext
from headway.optimization.screening import answer_changing_steps

pytestmark = [pytest.mark.slow, pytest.mark.kernels]


def parameters(*, iterations: tuple[int, int]) -> st.SearchStrategy[dict[str, object]]:
    """Parameters of a model with 2 to 200 categories a column, of a depth of 2 to 8, Plain or Ordered."""
    return st.fixed_dictionaries(
        {
            "seed": st.integers(0, 10_000),
            "rows": st.just(400),
            "categories": st.sampled_from([12, 60, 200, 3, 2]),
            "iterations": st.integers(*iterations),
            "depth": st.integers(2, 8),
            "boosting_type": st.sampled_from(["Plain", "Ordered"]),
            "one_hot_max_size": st.sampled_from([2, 10, 255]),
            "max_ctr_complexity": st.sampled_from([4, 2]),
            "grow_policy": st.just("SymmetricTree"),
        }
    )


def check_candidates(world: CategoryWorld) -> None:
    """Make every candidate of a model, open it, and compare it with the library where it keeps the answers."""
    content, signature = world.bound()
    description = Catboost.import_model(world.model)
    rows = rows_of(world.seen, signature)
    labels = np.arange(len(rows)) % max(len(description.classes), 2)
    known = LabeledData(rows=rows, labels=labels.astype(np.float64), groups=np.arange(len(rows)) // 4)
    with TemporaryDirectory() as folder:
        blobs = load_blobs("files")(Path(folder))
        context = TransformContext(blobs=blobs, sample=rows, validation=known, train=lambda: known)
        model = imported("catboost", content, context, task=description.task, signature=signature)
        made = search.generate_candidates(model, context)
        failures = [finding.message for finding in made.refusals if finding.severity == "warn"]
        assert failures == []
        baseline = opened(model, context).predict(rows)
        for variant in made.variants[1:]:
            answers = opened(variant, context).predict(rows)
            assert answers.shape == baseline.shape, variant.name
            assert answer_changing_steps(variant) or np.abs(answers - baseline).max() <= 1e-6, variant.name


@settings(max_examples=3)
@given(parameters(iterations=(20, 30)))
def test_every_candidate_of_a_model_with_categories_opens_and_answers(drawn: dict[str, object]) -> None:
    check_candidates(make_world(**drawn))


@pytest.mark.long
@settings(max_examples=60)
@given(parameters(iterations=(2, 300)))
def test_every_candidate_of_large_models_with_categories_opens_and_answers(drawn: dict[str, object]) -> None:
    check_candidates(make_world(**drawn))
