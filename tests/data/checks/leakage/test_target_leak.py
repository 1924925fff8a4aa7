from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.tables import message, small, wide, with_column

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.data.checks.leakage.target_leak import plugin
from headway.data.context import CheckContext

DRAW = np.random.default_rng(1)


def found(dataset: Dataset, **columns: pl.Series | list[object]) -> list[str]:
    return message(plugin, CheckContext(dataset=with_column(dataset, **columns)))


def test_a_number_that_orders_the_outcomes_stops():
    leak = small().table["late"].fill_null(0) * -2 + pl.Series(DRAW.random(400))
    assert found(small(), leak=leak) == ["stop column leak"]
    assert found(small(known={"leak": "request"}), leak=leak) == ["warn column leak"]


def test_a_string_that_maps_to_the_outcome_stops():
    late = small().table["late"].cast(pl.String).replace({"0": "fine", "1": "sorry"})
    assert found(small(), note=late) == ["stop column note"]


def test_a_number_that_predicts_the_outcome_without_order_stops():
    code = wide().table["late"] + 2 * pl.Series(DRAW.integers(0, 3, 2000))
    assert found(wide(), code=code) == ["stop column code"]


def test_a_column_that_names_the_class_stops():
    classes = pl.Series(DRAW.integers(0, 3, 2000))
    assert found(wide(task="multiclass"), late=classes, name=classes.cast(pl.String)) == ["stop column name"]


def test_the_target_in_another_unit_stops_and_its_inputs_do_not():
    dataset = wide(task="regression")
    y = dataset.table["x0"] * 3 + dataset.table["x1"]
    assert found(dataset, late=y, euros=y * 0.9 + 1) == ["stop column euros"]


def test_strings_that_hardly_repeat_are_not_judged():
    assert found(wide(), name=[f"row {row}" for row in range(2000)]) == []


@pytest.mark.parametrize(
    ("task", "late", "why"),
    [
        ("binary", [1] * 400, "one class only"),
        ("regression", [1.5] * 400, "one value only"),
        ("embedding", [0, 1] * 200, "task 'embedding'"),
        ("multiclass", list(range(400)), "more than 50 classes"),
    ],
)
def test_it_reports_what_it_cannot_judge(task, late, why):
    with pytest.raises(NotApplicable, match=why):
        plugin(CheckContext(dataset=with_column(small(task=task), late=late)))
