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


def noisy(auc_shift: float) -> np.ndarray:
    """Return a number that follows the outcome of `wide`, with noise."""
    return wide().table["late"].to_numpy() * auc_shift + np.random.default_rng(3).normal(size=2000)


def test_a_number_that_merely_predicts_well_is_a_warning_until_it_is_declared():
    assert found(wide(), balance=noisy(2.0)) == ["warn column balance"]
    assert found(wide(known={"balance": "request"}), balance=noisy(2.0)) == []
    assert found(wide(), balance=noisy(1.0)) == []


def test_a_column_that_predicts_as_well_as_three_others_is_a_note():
    """As in tables of tumours, of which eight columns were accused at once."""
    cells = {f"cell_{index}": wide().table["late"].to_numpy() * 2.0 for index in range(8)}
    cells = {
        name: values + np.random.default_rng(seed).normal(size=2000)
        for seed, (name, values) in enumerate(cells.items())
    }
    assert found(wide(), **cells) == [f"note column {name}" for name in cells]
    assert found(wide(), **dict(list(cells.items())[:3])) == [f"warn column cell_{index}" for index in range(3)]
    leak = wide().table["late"].to_numpy() * 6.0 + np.random.default_rng(9).normal(size=2000)
    assert "stop column leak" in found(wide(), **cells, leak=leak)


@pytest.mark.parametrize("name", ["status_after", "finalBalance", "call result", "late_minutes"])
def test_a_number_that_predicts_well_stops_if_its_name_says_that_it_comes_after(name):
    assert found(wide(), **{name: noisy(2.0)}) == [f"stop column {name}"]
    assert found(wide(), **{name: noisy(1.0)}) == []


def test_a_value_that_is_filled_in_for_one_outcome_only_stops():
    late, draw = wide().table["late"].to_numpy(), np.random.default_rng(4)
    refunded = [float(draw.integers(1, 90)) if y and draw.random() < 0.3 else None for y in late]
    fee = [float(draw.integers(1, 90)) if y and draw.random() < 0.4 else 0.0 for y in late]
    cured = [None if y else float(draw.integers(1, 90)) for y in late]
    assert found(wide(), refund=refunded) == ["stop column refund"]
    assert found(wide(), fee=fee) == ["stop column fee"]
    assert found(wide(), cured=cured) == ["stop column cured"]


def test_a_rare_or_usual_outcome_of_a_region_does_not_stop():
    draw = np.random.default_rng(5)
    region = draw.random(2000) < 0.2
    late = np.where(region, 0, draw.random(2000) < 0.12).astype(int)
    speed = np.where(region, draw.normal(50, 9, 2000), 0.0)
    dummy = (late == 1) & (draw.random(2000) < 0.5)
    assert found(wide(), late=late, speed=speed) == []
    assert found(wide(), late=late, dummy=dummy.astype(int)) == []


def test_the_terms_of_a_sum_stop_and_a_total_too():
    draw = np.random.default_rng(6)
    casual, registered, price = (draw.gamma(2.0, 50.0, 2000).round(2) for _ in range(3))
    dataset = wide(task="regression")
    assert found(dataset, late=casual + registered, casual=casual, registered=registered) == [
        "stop column casual",
        "stop column registered",
    ]
    assert found(dataset, late=casual, price=price, total=price + casual) == ["stop column total"]


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
