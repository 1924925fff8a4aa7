from __future__ import annotations

import polars as pl
import pytest
from tests.data.tables import surveyed, wide, with_column

from headway.core.errors import NotApplicable
from headway.data.checks.split.out_of_order import plugin


def test_rows_in_order_of_time_are_well():
    assert plugin(surveyed(wide())) == []


def test_groups_that_span_the_cut_bring_later_rows_into_training():
    [finding] = plugin(surveyed(with_column(wide(groups="plane"), plane=[row % 50 for row in range(2000)])))

    assert (finding.severity, finding.where) == ("warn", "[split]")
    assert "training rows" in finding.message and "by 'at'" in finding.message


@pytest.mark.parametrize("form", ["%Y-%m-%d", None])
def test_rows_with_a_date_that_nobody_declared_were_drawn_at_random(form):
    at = wide().table["at"]
    dataset = with_column(wide(time=""), at=at.dt.strftime(form) if form else at)
    assert "so the split was random" in plugin(surveyed(dataset))[0].message


def test_rows_without_any_date_have_no_order():
    dataset = with_column(wide(time="", ignore=("at",)), at=pl.Series(range(2000)))
    with pytest.raises(NotApplicable, match="no column has the time of a row"):
        plugin(surveyed(dataset))
