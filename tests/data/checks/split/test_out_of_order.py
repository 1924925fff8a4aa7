from __future__ import annotations

import polars as pl
import pytest
from tests.data.tables import split_context, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.split.out_of_order import plugin


def test_rows_in_time_order_have_no_finding():
    assert plugin(split_context(wide())) == []


def test_groups_that_span_the_split_bring_later_rows_into_training():
    [finding] = plugin(split_context(with_column(wide(groups="plane"), plane=[row % 50 for row in range(2000)])))

    assert (finding.severity, finding.where) == ("warn", "[split]")
    assert "training rows" in finding.message and "by 'at'" in finding.message


@pytest.mark.parametrize("form", ["%Y-%m-%d", None])
def test_rows_with_an_undeclared_date_were_split_at_random(form):
    at = wide().table["at"]
    dataset = with_column(wide(time=""), at=at.dt.strftime(form) if form else at)
    assert "so the split was random" in plugin(split_context(dataset))[0].message


def test_it_cannot_judge_rows_without_a_date():
    dataset = with_column(wide(time="", ignore=("at",)), at=pl.Series(range(2000)))
    with pytest.raises(NotApplicable, match="no column has the time of a row"):
        plugin(split_context(dataset))
