from __future__ import annotations

import polars as pl
import pytest
from tests.data.tables import message, small, split_context, wide, with_column

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.data.checks.split.fitted_on_test import plugin

LEARNED = 1600


def scaled(dataset: Dataset, rows: int) -> pl.Series:
    """A column standardised by its first rows."""
    column = dataset.table["x1"]
    return (column - column.head(rows).mean()) / column.head(rows).std()


def encoded(dataset: Dataset, rows: int) -> pl.Series:
    """Places encoded by the mean of the target in the first rows."""
    means = dataset.table.head(rows).group_by("place").agg(pl.col("late").mean().alias("mean"))
    return dataset.table.join(means, on="place", how="left", maintain_order="left")["mean"]


def test_a_column_standardized_over_all_rows_is_found_and_one_over_training_rows_is_not():
    assert message(plugin, split_context(with_column(wide(), z=scaled(wide(), 2000)))) == ["warn column z"]
    assert message(plugin, split_context(with_column(wide(), z=scaled(wide(), LEARNED)))) == []
    assert message(plugin, split_context(with_column(wide(), z=scaled(wide(), 1200)))) == []


def test_values_imputed_with_the_mean_of_all_rows_are_found():
    gaps = wide().table["x1"].set(pl.Series([row % 10 == 0 for row in range(2000)]), None)
    [finding] = plugin(split_context(with_column(wide(), filled=gaps.fill_null(gaps.mean()))))

    assert finding.message == "'filled' was imputed with its mean over all rows, including the test"
    assert message(plugin, split_context(with_column(wide(), filled=gaps.fill_null(gaps.head(LEARNED).mean())))) == []


def test_strings_encoded_by_the_target_of_all_rows_are_found():
    dataset = with_column(wide(), place=[f"p{row * 7 % 40}" for row in range(2000)])

    [finding] = plugin(split_context(with_column(dataset, rate=encoded(dataset, 2000))))
    assert finding.message.startswith("'rate' was encoded by the mean of 'late'")
    assert message(plugin, split_context(with_column(dataset, rate=encoded(dataset, LEARNED)))) == []


def test_strings_of_few_values_are_not_evidence_of_an_encoding():
    dataset = with_column(wide(), place=[f"p{row % 2}" for row in range(2000)])
    assert message(plugin, split_context(with_column(dataset, rate=encoded(dataset, 2000)))) == []


def test_it_cannot_judge_integers():
    with pytest.raises(NotApplicable, match="number with a fraction"):
        plugin(split_context(small()))
