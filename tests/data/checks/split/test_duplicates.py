from __future__ import annotations

import polars as pl
import pytest
from tests.data.tables import message, small, split_context, wide, with_column

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.data.checks.split.duplicates import plugin
from headway.data.context import CheckContext


def with_copies(dataset: Dataset, count: int) -> CheckContext:
    """The last rows, which are of the test, are the first ones once more."""
    last = dataset.table.tail(count).select("at")
    copies = dataset.table.head(count).drop("at").hstack(last).select(dataset.table.columns)
    table = pl.concat([dataset.table.head(-count), copies])
    return split_context(Dataset(name="copied", table=table, roles=dataset.roles))


def test_test_rows_that_are_also_training_rows_are_counted():
    [finding] = plugin(with_copies(wide(), 30))

    assert (finding.severity, finding.measured, finding.limit) == ("warn", 30 / 400, 0.01)
    assert finding.message == (
        "30 of 400 test rows (7.5%) are equal in every feature to training rows, "
        "and so are their outcomes (kappa 1.00): they are copies"
    )


def test_few_copies_are_a_note():
    assert message(plugin, with_copies(wide(), 3)) == ["note [split] test"]
    assert message(plugin, split_context(wide())) == []


def test_rows_of_few_coarse_columns_are_similar_and_not_copies():
    [finding] = plugin(split_context(small()))

    assert finding.severity == "note"
    assert finding.message.endswith("of copies 0.9 or more): they are similar, not copied")
    assert finding.hint.startswith("none, unless")


def test_copies_without_an_outcome_are_copies_too():
    copied = with_copies(with_column(wide(), late=[None] * 2000), 30)
    assert "none has an outcome" in plugin(copied)[0].message


def test_copies_of_a_regression_have_nearly_the_same_number():
    dataset = with_column(wide(task="regression"), late=wide().table["x0"] * 3.0)
    assert message(plugin, with_copies(dataset, 30)) == ["warn [split] test"]


def test_categories_of_two_tables_are_compared_as_strings():
    dataset = wide()
    coded = with_column(dataset, carrier=dataset.table["carrier"].cast(pl.Categorical))
    assert message(plugin, with_copies(coded, 30)) == ["warn [split] test"]


def test_it_cannot_judge_without_a_test_or_a_feature():
    with pytest.raises(NotApplicable, match="no rows are held out"):
        plugin(CheckContext(dataset=small()))
    with pytest.raises(NotApplicable, match="no feature is left"):
        plugin(split_context(small(ignore=("hour", "carrier"))))
