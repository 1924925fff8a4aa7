from __future__ import annotations

import polars as pl
import pytest
from tests.data.labels.poisoned import clean, dataset, turned
from tests.data.tables import wide

from headway.core.contracts import Survey
from headway.core.errors import NotApplicable
from headway.data.checks.labels.pull import plugin


def test_a_source_whose_labels_are_all_turned_stands_out():
    (finding,) = plugin(Survey(dataset=dataset(turned(clean(), pl.col("source") == "s17"))))
    assert finding.where == "source = s17"
    assert "deviations" in finding.says


def test_a_second_such_source_does_not_hide_the_first():
    found = plugin(Survey(dataset=dataset(turned(clean(), pl.col("source").is_in(["s17", "s42"])))))
    assert "source = s17" in {each.where for each in found}


@pytest.mark.parametrize("seed", range(4))
def test_sources_that_differ_by_chance_do_not(seed):
    assert plugin(Survey(dataset=dataset(clean(seed)))) == []


def test_without_groups_or_slices_it_cannot_judge():
    with pytest.raises(NotApplicable, match="no groups, slices or people"):
        plugin(Survey(dataset=wide()))
