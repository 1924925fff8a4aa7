from __future__ import annotations

from dataclasses import replace

import polars as pl
from tests.data.tables import message, served_context, small, wide, with_column

from headway.core.feature_view import Feature, FeatureView
from headway.data.checks.leakage.undeclared_features import plugin
from headway.data.context import CheckContext


def test_features_without_a_declared_time_are_undecided():
    assert message(plugin, CheckContext(dataset=small(known={"hour": "request"}))) == ["undecided [data.known]"]
    assert message(plugin, CheckContext(dataset=small(known={"hour": "request", "carrier": "request"}))) == []


def test_features_of_views_were_known_at_the_decision():
    view = FeatureView(name="clock", entities=("carrier",), features=(Feature(name="hour"),))
    joined = replace(small(known={"carrier": "request"}), views=(view,))
    assert message(plugin, CheckContext(dataset=joined)) == []


def test_ten_of_many_features_are_named():
    [finding] = plugin(CheckContext(dataset=with_column(small(), **{f"x{index}": [1.0] * 400 for index in range(20)})))
    assert finding.measured == 22 and finding.message.endswith("x6, x7 and 12 more")


def test_features_in_requests_are_known_and_the_rest_stays_undecided():
    dataset = wide(known={"carrier": "request"})
    empty = pl.Series([None] * 2000, dtype=pl.Float64)

    assert message(plugin, served_context(dataset)) == []
    [finding] = plugin(served_context(dataset, x3=empty))
    assert finding.message == "it is not declared when 1 of 7 features are known (5 more are shown by requests): x3"
    assert plugin(served_context(dataset, 50))[0].measured == 6.0
