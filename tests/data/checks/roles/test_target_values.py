from __future__ import annotations

import pytest
from tests.data.tables import small, with_column

from headway.core.evidence import Finding
from headway.data.checks.roles.target_values import plugin
from headway.data.context import CheckContext


def found(values: list[object], **roles: object) -> list[Finding]:
    return plugin(CheckContext(dataset=with_column(small(**roles), late=values)))


def test_a_binary_target_may_have_missing_values():
    assert found([0, 1] * 200) == []
    assert found([False, True] * 200) == []
    assert plugin(CheckContext(dataset=small())) == []


@pytest.mark.parametrize(
    ("task", "values", "message"),
    [
        ("binary", [1] * 399 + [None], "'late' has one class only: 1 (399 rows)"),
        ("multiclass", [2] * 400, "'late' has one class only: 2 (400 rows)"),
        ("regression", [2.5] * 400, "'late' has one value only: 2.5 (400 rows)"),
        ("binary", [None] * 400, "no row has an outcome: 'late' is empty"),
        (
            "binary",
            [1] * 300 + [2] * 100,
            "'late' has 2 values where a binary target has 0 and 1: 1 (300 rows), 2 (100 rows)",
        ),
        ("multiclass", [1, 2, 3, 3] * 100, "'late' has 3 classes that are not numbered 0 to 2: 3 (200 rows)"),
        ("binary", [0, 1, 2, 3] * 100, "'late' has 4 values where a binary target has 0 and 1"),
    ],
)
def test_a_target_that_cannot_be_learned_stops(task, values, message):
    [finding] = found(values, task=task)
    assert finding.message.startswith(message)
    assert (finding.severity, finding.where, finding.code) == ("stop", "column late", "D007")


def test_the_hint_for_two_other_values_is_the_positive_class():
    assert found([1] * 300 + [2] * 100)[0].hint == '[data] positive = "2"'


def test_the_hint_for_classes_not_numbered_from_0_is_a_list_of_classes():
    assert found([1, 2, 3, 3] * 100, task="multiclass")[0].hint == '[data] classes = ["1", "2", "3"]'


def test_a_regression_may_have_any_values():
    assert found([1.5, 2.5] * 200, task="regression") == []
    assert found([0, 1, 2, 1] * 100, task="multiclass") == []
