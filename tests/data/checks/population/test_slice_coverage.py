from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from tests.data.tables import message, served_context, split_context, wide, with_column

from headway.core.config import Config
from headway.core.errors import NotApplicable
from headway.data.checks.population.slice_coverage import plugin
from headway.data.context import CheckContext
from headway.data.settings.policy import PolicySection

FEW = Config(PolicySection(slice_rows=100))


def sliced(context: CheckContext) -> CheckContext:
    """The context with slices that 100 rows judge."""
    return replace(context, config=FEW)


def test_values_with_enough_training_and_test_rows_have_no_finding():
    assert message(plugin, sliced(split_context(wide(slices=("carrier",))))) == []


def test_served_values_without_training_rows_warn_with_their_counts():
    carriers = pl.Series(["UA"] * 1900 + ["HA"] * 90 + ["OO"] * 10)
    [finding] = plugin(sliced(served_context(wide(slices=("carrier",)), carrier=carriers)))

    assert (finding.severity, finding.where, finding.measured) == ("warn", "column carrier", 0.05)
    assert finding.message == (
        "100 of 2,000 rows of requests (5.0%) have a 'carrier' with fewer than 20 training rows: "
        "HA (90 served, 0 training), OO (10 served, 0 training)"
    )


def test_few_such_rows_are_a_note():
    carriers = pl.Series(["UA"] * 1990 + ["HA"] * 10)
    assert message(plugin, sliced(served_context(wide(slices=("carrier",)), carrier=carriers))) == [
        "note column carrier"
    ]


def test_values_with_too_few_test_rows_warn_with_their_counts():
    context = replace(split_context(wide(slices=("carrier",))), config=Config(PolicySection(slice_rows=399)))
    [finding] = plugin(context)

    assert "(100.0%) have a 'carrier' with fewer than 399 test rows" in finding.message
    assert " rows)" in finding.message and "served" not in finding.message
    assert (finding.severity, finding.where) == ("warn", "column carrier")


def test_a_test_shorter_than_a_slice_is_reported_once():
    dataset = with_column(wide(slices=("carrier",), sensitive_features=("sex",)), sex=["f", "m"] * 1000)
    [finding] = plugin(split_context(dataset))

    assert finding.message == "the test has 400 rows and a slice needs 1,000: no slice will be evaluated"
    assert (finding.severity, finding.measured, finding.limit) == ("warn", 400, 1000)


def test_more_values_than_can_be_named_are_counted():
    codes = pl.Series([f"H{row % 7}" for row in range(2000)])
    assert plugin(sliced(served_context(wide(slices=("carrier",)), carrier=codes)))[0].message.endswith(", 3 more")


def test_sensitive_features_are_slices_and_it_cannot_judge_without_either():
    dataset = with_column(wide(sensitive_features=("sex",)), sex=["f", "m"] * 1000)
    assert message(plugin, sliced(split_context(dataset))) == []
    with pytest.raises(NotApplicable, match="none of the declared slices"):
        plugin(split_context(wide()))
    with pytest.raises(NotApplicable, match="no rows are held out"):
        plugin(CheckContext(dataset=wide()))


def test_languages_of_texts_are_slices_as_well():
    texts = ["where is my parcel please"] * 1990 + ["wo ist mein Paket geblieben"] * 10
    dataset = with_column(wide(text=("message",), slices=("message.language",)), message=texts)
    [finding] = plugin(sliced(split_context(dataset)))

    assert finding.where == "column message.language"
    assert finding.message.endswith("'message.language' with fewer than 20 training rows: de (10 served, 0 training)")
