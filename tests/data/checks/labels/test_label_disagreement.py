from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.tables import small, wide, with_column

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.labeling import Agreement, Labeling
from headway.data.checks.labels.label_disagreement import plugin
from headway.data.context import CheckContext


def measured(low: float, high: float) -> Labeling:
    alpha = Measurement(name="agreement.krippendorff", value=0.5, low=low, high=high, method="", n_rows=100)
    agreement = Agreement(name="n", source="a.csv", annotators=("x", "y"), measurements=(alpha,))
    return Labeling(agreement=lambda: agreement)


def test_equal_rows_with_different_labels_are_counted():
    draw = np.random.default_rng(0)
    few = with_column(wide(), **{f"x{index}": draw.integers(0, 2, 2000) for index in range(6)})
    finding, *_ = plugin(CheckContext(dataset=few))
    assert finding.severity == "note"
    assert 0.2 < finding.measured < 0.6


def test_distinct_rows_have_no_finding():
    assert plugin(CheckContext(dataset=wide())) == []


@pytest.mark.parametrize(("low", "high", "severity"), [(0.4, 0.6, ["warn"]), (0.6, 0.7, ["undecided"]), (0.7, 0.9, [])])
def test_the_last_agreement_is_compared_with_krippendorffs_limit(low, high, severity):
    found = plugin(CheckContext(dataset=wide(), labeling=measured(low, high)))
    assert [finding.severity for finding in found] == severity


def test_a_regression_cannot_be_checked_for_disagreement():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))


def test_the_same_text_with_two_labels_is_named_by_its_rows():
    texts = ["My parcel?", "hello there", "my  PARCEL", "other", "my parcel!", "other", None, None]
    table = pl.DataFrame({"message": texts, "late": [0, 0, 1, 1, 0, 1, 0, 1], "channel": list("abcdefgh")})
    dataset = Dataset(name="all", table=table, roles=Roles(target="late", text=("message",)))
    [finding] = plugin(CheckContext(dataset=dataset))
    assert finding.message == (
        "1 of 5 rows that repeat a text have another label than most rows with it (1 different texts); such as rows 1 "
        "and 3 of the table"
    )
    assert plugin(CheckContext(dataset=Dataset(name="one", table=table[3:], roles=dataset.roles))) == []
