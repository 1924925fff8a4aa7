from __future__ import annotations

import numpy as np
import pytest
from tests.data.tables import small, with_column

from headway.core.evidence import Finding
from headway.data.checks.roles.zero_as_missing import plugin
from headway.data.context import CheckContext

DRAW = np.random.default_rng(0)


def found(**columns: object) -> list[Finding]:
    return [finding for finding in plugin(CheckContext(dataset=with_column(small(), **columns))) if finding.column]


def with_zeros(values: np.ndarray, count: int) -> list[float]:
    return [0.0 if row < count else float(value) for row, value in enumerate(values)]


@pytest.mark.parametrize(
    "name",
    ["BloodPressure", "SkinThickness", "Glucose", "BMI", "Insulin", "insu", "triceps", "resting bp", "weight_kg"],
)
def test_zeros_of_a_body_measure_are_named(name):
    values = with_zeros(DRAW.normal(70, 12, 400).round(), 35)
    [finding] = found(**{name: values})
    assert finding.message == (
        f"'{name}' is 0 in 35 of 400 rows, a measure that cannot be 0: these zeros seem to stand for missing values"
    )
    assert (finding.code, finding.severity, finding.measured) == ("D009", "warn", 35 / 400)


def test_a_few_zeros_far_below_all_other_values_are_named_for_any_column():
    [finding] = found(length=with_zeros(DRAW.normal(5.7, 0.6, 400).round(2), 4))
    assert "and no other value is below" in finding.message


def test_zeros_are_found_in_the_five_measures_of_pima_and_not_in_pregnancies():
    """Under the short names of the table, and with its shares of zeros; 14 % of pregnancies are 0."""
    measures = {
        "plas": (120, 30, 44, 3),
        "pres": (72, 12, 24, 18),
        "skin": (29, 10, 7, 118),
        "insu": (155, 118, 14, 195),
        "mass": (32, 7, 18, 6),
    }
    columns = {
        name: with_zeros(np.maximum(low, DRAW.normal(mean, spread, 400)).round(), count)
        for name, (mean, spread, low, count) in measures.items()
    }
    pregnancies = {"preg": DRAW.poisson(2, 400).tolist()}
    assert [finding.column for finding in found(**pregnancies, **columns)] == [*measures]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("visits", DRAW.poisson(3, 400)),
        ("rain", np.maximum(0, DRAW.normal(-1, 3, 400))),
        ("mortgage", np.where(DRAW.random(400) < 0.6, 0, DRAW.integers(75, 600, 400))),
        ("wind", np.where(DRAW.random(400) < 0.01, 0, 3.45 + 1.15 * DRAW.integers(0, 20, 400))),
        ("temperature", DRAW.normal(0, 5, 400).round()),
        ("smoker", DRAW.integers(0, 2, 400)),
        ("weight", DRAW.normal(70, 12, 400)),
    ],
)
def test_zeros_that_are_values_have_no_finding(name, values):
    assert found(**{name: values.astype(float).tolist()}) == []
