from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest
from tests.data.tables import message, small, split_context, wide, with_column

from headway.core.dataset import Dataset, Roles
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


def small_integers(rows: int = 2000, **columns: object) -> Dataset:
    """Return rows of nine integers from 1 to 10, most of them 1 in one of two classes, which follow them."""
    draw = np.random.default_rng(2)
    sick = draw.random(rows) < 0.35
    spread = np.where(sick[:, None], 3.0, 0.35)
    values = np.clip(np.floor(draw.exponential(spread, (rows, 9))) + 1, 1, 10).astype(int)
    table = pl.DataFrame({f"x{index}": values[:, index] for index in range(9)}).with_columns(late=sick.astype(int))
    return Dataset(name="integers", table=table.with_columns(**columns), roles=Roles(target="late"))


def test_rows_of_small_integers_are_similar_and_not_copies_though_their_outcomes_agree():
    [finding] = plugin(split_context(small_integers()))

    assert finding.severity == "note" and finding.measured > 0.2
    assert re.search(
        r"but other training rows are about as near to (9\d|100)% of them: they are similar, not copied$",
        finding.message,
    )


def test_copies_are_found_among_integers_that_hardly_repeat():
    draw = np.random.default_rng(3)
    names = {f"y{index}": pl.Series(draw.integers(0, 5, 2000)) for index in range(7)}
    integers = small_integers(**names, at=pl.Series(range(2000)).cast(pl.Date))
    dataset = Dataset(name="integers", table=integers.table, roles=Roles(target="late", time="at"))
    assert message(plugin, split_context(dataset)) in ([], ["note [split] test"])
    [finding] = plugin(with_copies(dataset, 60))
    assert finding.severity == "warn"


def test_repeated_rows_that_are_isolated_are_copies():
    """Each of 200 rows ten times: training rows repeat too, but no other row is near."""
    table = pl.concat([wide(200, time="").table.drop("at")] * 10)
    [finding] = plugin(split_context(Dataset(name="ten times", table=table, roles=Roles(target="late"))))
    assert (finding.severity, finding.message.endswith("they are copies")) == ("warn", True)


def test_copies_among_similar_rows_are_counted():
    """A twentieth of the rows are copied, and a tenth are alike by nature."""
    alike = small_integers(400).table.select(pl.col(f"x{index}").cast(pl.Float64) for index in range(6))
    plain = wide(time="").table.drop("at")
    alike = alike.with_columns(carrier=pl.lit("AA"), late=pl.Series(small_integers(400).table["late"]))
    table = pl.concat([plain, plain.head(200), alike.select(plain.columns)])
    [finding] = plugin(split_context(Dataset(name="both", table=table, roles=Roles(target="late"))))
    assert finding.severity == "warn" and re.search(r"about \d+ of them are copies$", finding.message)
