from __future__ import annotations

import polars as pl
import pytest
from tests.data.labels.poisoned_tables import clean, dataset, turned
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.data.checks.labels.flipped_labels import plugin
from headway.data.context import CheckContext


def test_a_cell_whose_labels_were_turned_is_named_with_a_bound():
    cell = (pl.col("kind") == "k0") & (pl.col("place") == "p3")
    (finding,) = plugin(CheckContext(dataset=dataset(turned(clean(), cell))))
    assert finding.where == "kind=k0 & place=p3"
    assert 0.3 <= finding.measured <= 1
    assert f"{len(clean().filter(cell)):,} rows" in finding.message


@pytest.mark.parametrize("seed", range(4))
def test_labels_that_nobody_turned_are_not_accused(seed):
    assert plugin(CheckContext(dataset=dataset(clean(seed)))) == []


def test_a_day_that_differs_is_no_cluster():
    assert plugin(CheckContext(dataset=dataset(turned(clean(), pl.col("day") == 7)))) == []


def test_a_number_has_no_turned_label():
    with pytest.raises(NotApplicable):
        plugin(CheckContext(dataset=small(task="regression")))
