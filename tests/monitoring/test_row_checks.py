"""Rules on the rows of a short period, which need no test and no earlier days."""

from __future__ import annotations

import numpy as np
import pytest

from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.monitoring.input_rules import check_rows, check_volume

SIGNATURE = Signature(inputs=(Field(name="wind"), Field(name="carrier", datatype="BYTES", categories=("A", "B"))))
CONTRACT = Contract(
    columns=(
        Bounds(name="wind", lowest=0.0, highest=40.0, missing=0.05),
        Bounds(name="carrier", categories=("A", "B")),
    ),
    n_rows=5000,
)


def rows(n: int, *, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    wind = np.where(random.random(n) < 0.05, np.nan, random.uniform(0, 40, n))
    return np.column_stack([wind, random.integers(0, 2, n).astype(float)])


REFERENCE = rows(5000, seed=1)


def messages(found: np.ndarray, reference: np.ndarray = REFERENCE) -> list[str]:
    return [finding.message for finding in check_rows(found, reference, CONTRACT, SIGNATURE)]


@pytest.mark.parametrize("reference", [REFERENCE, REFERENCE[:0]], ids=["with reference", "contract only"])
def test_rows_like_the_reference_break_no_rule(reference):
    assert not [message for seed in range(200) for message in messages(rows(60, seed=seed), reference)]


@pytest.mark.parametrize("reference", [REFERENCE, REFERENCE[:0]], ids=["with reference", "contract only"])
def test_a_missing_column_and_a_new_unit_are_named_from_the_first_twenty_rows(reference):
    missing, scaled, unseen = rows(20), rows(20), rows(20)
    missing[:, 0], scaled[:, 0], unseen[:, 1] = np.nan, scaled[:, 0] * 1000, 2.0
    assert messages(missing, reference)[0].startswith("wind is missing in 100% of 20 rows")
    assert messages(scaled, reference)[0].startswith("wind is outside its contract in")
    assert messages(unseen, reference)[0].startswith("carrier is outside its contract in 100% of 20 rows")
    assert messages(missing[:19], reference) == []


def test_a_constant_column_is_named_unless_it_mostly_was_so():
    constant = rows(60)
    constant[:, 0] = 7.0
    assert messages(constant) == ["wind is always 7 in 100% of 60 rows (0% when judged)"]
    assert messages(constant, np.where(np.arange(5000)[:, None] < 4900, [7.0, 0.0], REFERENCE)) == []


@pytest.mark.parametrize(
    ("n_rows", "usual", "n_before", "message"),
    [
        (0, None, 0, "no request was answered"),
        (0, 300.0, 3, "no request was answered (usually 300)"),
        (29, 300.0, 3, "29 requests were answered (usually 300)"),
        (31, 300.0, 3, None),
        (1, 300.0, 2, None),
    ],
)
def test_volume_is_a_finding_at_none_or_less_than_a_tenth_of_the_usual(n_rows, usual, n_before, message):
    assert [finding.message for finding in check_volume(n_rows, usual, n_before)] == ([message] if message else [])
