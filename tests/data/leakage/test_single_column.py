"""Numbers counted by code have the same skill as any other values."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from headway.data.checks.leakage.target_leak import column_skill, target_columns

DRAW = np.random.default_rng(0)
HUNDREDTHS = (DRAW.normal(size=3000) * 30).round() / 100
LATE = pl.Series((HUNDREDTHS + DRAW.normal(size=3000) > 0).astype(int))
OUTCOMES = target_columns(LATE, "binary")
GAPS = [None if row % 50 == 0 else float(value) for row, value in enumerate(HUNDREDTHS)]


@pytest.mark.parametrize("gaps", [False, True])
def test_hundredths_and_integers_have_the_skill_of_their_multiples(gaps):
    values = pl.Series("x", GAPS if gaps else HUNDREDTHS)
    plain = column_skill(values * np.pi, OUTCOMES)
    integers = (values.fill_nan(None) * 100).round().cast(pl.Int64)

    assert plain.auc == pytest.approx(column_skill(values, OUTCOMES).auc, abs=1e-12)
    assert plain.auc == pytest.approx(column_skill(integers, OUTCOMES).auc, abs=1e-12)
    assert plain.explained == pytest.approx(column_skill(values, OUTCOMES).explained, abs=1e-12)
    assert plain.explained == pytest.approx(column_skill(integers, OUTCOMES).explained, abs=1e-12)


def test_distant_and_infinite_numbers_have_a_skill():
    far = pl.Series("x", np.where(LATE.to_numpy() == 1, 1e12, 0.0))
    endless = pl.Series("x", np.where(LATE.to_numpy() == 1, np.inf, 0.0))
    assert column_skill(far, OUTCOMES).auc == column_skill(endless, OUTCOMES).auc == 1.0
    assert column_skill(pl.Series("x", [None] * 3000, dtype=pl.Float64), OUTCOMES).auc == 0.5


def test_ranks_of_a_regression_are_summed_by_code():
    target = pl.Series("y", HUNDREDTHS * 2 + DRAW.normal(size=3000) / 10)
    of = target_columns(target, "regression")
    values = pl.Series("x", HUNDREDTHS)
    assert column_skill(values, of).explained == pytest.approx(column_skill(values * np.pi, of).explained, abs=1e-9)
