from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tests.data.tables import message, served, surveyed, wide

from headway.core.dataset import ASKED_AT
from headway.core.errors import NotApplicable
from headway.data.checks.leakage.request_mismatch import plugin
from headway.data.context import CheckContext

LONG = wide(6000)


def without(context: CheckContext, *names: str) -> CheckContext:
    """The context with requests that lack columns."""
    asked = context.requests()
    assert asked is not None
    return replace(context, requests=lambda: asked.drop(names))


def test_requests_of_the_same_values_are_no_finding():
    assert message(plugin, served(LONG, 6000)) == []


def test_a_column_that_no_request_fills_stops_and_warns_where_it_is_declared():
    empty = pl.Series([None] * 6000, dtype=pl.Float64)
    nan = pl.Series([float("nan")] * 6000)
    [finding] = plugin(served(LONG, 6000, x3=empty))

    assert (finding.severity, finding.where) == ("stop", "column x3")
    assert finding.message == "'x3' is filled in 100.0% of 6,000 rows, and in none of 6,000 requests"
    assert message(plugin, served(wide(6000, known={"x3": "request"}), 6000, x3=nan)) == ["warn column x3"]


def test_a_column_that_the_live_model_does_not_read_is_told():
    assert message(plugin, without(served(LONG, 6000), "x2")) == ["warn column x2"]
    assert message(plugin, without(served(wide(6000, known={"x2": "request"}), 6000), "x2")) == ["note column x2"]


def test_a_column_of_other_values_is_named_and_no_other():
    [finding] = plugin(served(LONG, 6000, x1=LONG.table["x1"] + 2.0))

    assert (finding.severity, finding.where) == ("warn", "column x1")
    assert finding.measured is not None and finding.measured > 0.1
    assert message(plugin, served(LONG, 6000, carrier=pl.Series(["ZZ"] * 6000))) == ["warn column carrier"]


def test_what_cannot_be_compared_is_said():
    [finding] = plugin(served(wide(300), 120))
    assert finding.severity == "note" and "cannot be compared" in finding.message
    [finding] = plugin(without(served(LONG, 6000), ASKED_AT))
    assert "the requests have no time" in finding.message


def test_few_requests_are_not_judged():
    with pytest.raises(NotApplicable, match="the log has 0 requests"):
        plugin(surveyed(LONG))
    with pytest.raises(NotApplicable, match="the log has 99 requests"):
        plugin(served(LONG, 99))
