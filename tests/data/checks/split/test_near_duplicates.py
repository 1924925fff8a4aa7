from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.tables import message, small, split_context, wide, with_column

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.data.checks.split.near_duplicates import plugin
from headway.data.context import CheckContext

NUMBERS = [f"x{index}" for index in range(6)]


def nearly(dataset: Dataset, *changes: pl.Expr) -> CheckContext:
    """The first 100 rows once more as the last, with changes."""
    last = dataset.table.tail(100).select("at")
    copies = dataset.table.head(100).drop("at").hstack(last).with_columns(changes).select(dataset.table.columns)
    table = pl.concat([dataset.table.head(-100), copies])
    return split_context(Dataset(name="copied", table=table, roles=dataset.roles))


def test_all_rows_with_one_changed_value_are_found():
    [finding] = plugin(nearly(wide(), pl.col("x3") + 2))
    assert (finding.severity, finding.measured) == ("warn", 100 / 400)


def test_most_jittered_or_rounded_rows_are_found():
    jitter = pl.Series(np.random.default_rng(3).normal(0, 0.001, 100))
    [jittered] = plugin(nearly(wide(), pl.col(NUMBERS) + jitter))
    [rounded] = plugin(nearly(wide(), pl.col(NUMBERS).round(2)))

    assert min(jittered.measured, rounded.measured) > 0.9 * 100 / 400


def test_long_texts_are_compared_by_their_letters():
    texts = [f"Complaint of row {row} about the service" for row in range(2000)]
    shouted = pl.col("carrier").str.to_uppercase() + "!"
    [finding] = plugin(nearly(with_column(wide(), carrier=texts), shouted))
    assert finding.measured == 100 / 400


def test_equal_and_independent_rows_have_no_finding():
    assert message(plugin, nearly(wide())) == []
    assert message(plugin, split_context(wide())) == []


def test_it_cannot_judge_few_features():
    with pytest.raises(NotApplicable, match="rows of 2 features"):
        plugin(split_context(small()))
