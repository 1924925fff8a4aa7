"""Main measures: what is shown of a model where there is room for few."""

from __future__ import annotations

import pytest

from headway.core.measure import main_measures, main_measures_among, measures, quality_measures

TASKS = ("binary", "multiclass", "multilabel", "regression", "ranking", "embedding")


@pytest.mark.parametrize("task", TASKS)
def test_the_main_measures_of_a_task_have_different_ranks_and_imply_the_task(task: str) -> None:
    main = main_measures(task)
    assert [measures()[name].main_for[task] for name in main] == list(range(1, len(main) + 1))
    assert main_measures_among(main) == list(main) and set(main) <= set(quality_measures())


def test_measures_that_imply_no_task_are_not_main_ones() -> None:
    assert main_measures("of no task") == ()
    assert main_measures_among({"cost", "recall"}) == []


def test_an_accuracy_implies_several_classes_only_without_an_area_under_the_curve() -> None:
    assert main_measures_among({"accuracy", "roc_auc", "ece"}) == ["roc_auc", "ece"]
    assert main_measures_among({"accuracy", "ece"}) == ["accuracy", "ece"]
    assert main_measures_among({"accuracy", "ece"}, first=2) == ["accuracy"]
