from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tests.data.tables import message, served_context, split_context, wide

from headway.core.dataset import ASKED_AT
from headway.core.errors import NotApplicable
from headway.data.checks.leakage.request_mismatch import plugin
from headway.data.context import CheckContext

LONG = wide(6000)


def without(context: CheckContext, *names: str) -> CheckContext:
    """The context with requests that lack columns."""
    requests = context.requests()
    assert requests is not None
    return replace(context, requests=lambda: requests.drop(names))


def test_requests_with_the_same_distribution_have_no_finding():
    assert message(plugin, served_context(LONG, 6000)) == []


def test_a_column_that_no_request_fills_stops_or_warns_if_declared():
    empty = pl.Series([None] * 6000, dtype=pl.Float64)
    nan = pl.Series([float("nan")] * 6000)
    [finding] = plugin(served_context(LONG, 6000, x3=empty))

    assert (finding.severity, finding.where) == ("stop", "column x3")
    assert finding.message == "'x3' is filled in 100.0% of 6,000 rows, and in none of 6,000 requests"
    assert message(plugin, served_context(wide(6000, known={"x3": "request"}), 6000, x3=nan)) == ["warn column x3"]


def test_a_column_that_the_live_model_does_not_read_is_reported():
    assert message(plugin, without(served_context(LONG, 6000), "x2")) == ["warn column x2"]
    assert message(plugin, without(served_context(wide(6000, known={"x2": "request"}), 6000), "x2")) == [
        "note column x2"
    ]


def test_only_the_column_with_other_values_is_named():
    [finding] = plugin(served_context(LONG, 6000, x1=LONG.table["x1"] + 2.0))

    assert (finding.severity, finding.where) == ("warn", "column x1")
    assert finding.measured is not None and finding.measured > 0.1
    assert message(plugin, served_context(LONG, 6000, carrier=pl.Series(["ZZ"] * 6000))) == ["warn column carrier"]


def test_requests_that_cannot_be_compared_are_a_note():
    [finding] = plugin(served_context(wide(300), 120))
    assert finding.severity == "note" and "cannot be compared" in finding.message
    [finding] = plugin(without(served_context(LONG, 6000), ASKED_AT))
    assert "the requests have no time" in finding.message


def test_few_requests_are_not_judged():
    with pytest.raises(NotApplicable, match="the log has 0 requests"):
        plugin(split_context(LONG))
    with pytest.raises(NotApplicable, match="the log has 99 requests"):
        plugin(served_context(LONG, 99))
