from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.tables import message, small, split_context, wide, with_column

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.data.checks.split.near_duplicates import MAX_TEXTS, plugin
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


def test_six_columns_of_strings_are_compared():
    draw = np.random.default_rng(0)
    table = pl.DataFrame({f"c{index}": draw.choice([f"{number}" for number in range(60)], 2000) for index in range(6)})
    table = table.with_columns(at=wide().table["at"], late=wide().table["late"])
    dataset = Dataset(name="strings", table=table, roles=Roles(target="late", time="at"))
    assert message(plugin, split_context(dataset)) in ([], ["note [split] test"])
    [finding] = plugin(nearly(dataset, pl.lit("z").alias("c3")))
    assert (finding.severity, finding.measured >= 100 / 400) == ("warn", True)


def test_rounded_sensor_readings_are_similar_and_not_copies():
    """As in Shuttle: nearly constant integers, whose class follows from one of them, and no two rows are equal."""
    draw = np.random.default_rng(0)
    steps = np.round(draw.normal(0, [2, 0.3, 1, 0.2, 2, 0.4, 1, 0.5, 0.5], (4000, 9))).astype(int)
    table = pl.DataFrame({f"x{index}": steps[:, index] for index in range(9)})
    table = table.with_columns(late=(table["x0"] > 1).cast(pl.Int8)).unique(maintain_order=True)
    [finding] = plugin(split_context(Dataset(name="shuttle", table=table, roles=Roles(target="late"))))
    assert finding.severity == "note" and finding.measured > 0.2
    assert finding.message.endswith("they are similar, not copied")


def test_it_cannot_judge_few_features():
    with pytest.raises(NotApplicable, match="rows of 2 features"):
        plugin(split_context(small()))


def with_texts(copies: list[str], *, share: int = 100, **columns: object) -> CheckContext:
    """Return 400 different messages to train on, and 100 in the test, the first of which are replaced by `copies`."""
    draw = np.random.default_rng(0)
    words = [
        f"{first}{last}" for first in ("par", "re", "or", "ac", "pay", "de") for last in ("cel", "fund", "der", "count")
    ]
    texts = [" ".join(draw.choice(words, 12)) + f" {row * 7919}" for row in range(500)]
    texts[0], texts[1] = (
        "Where is my parcel, it was due on Monday?",
        "I would like to have my money back as soon as you can",
    )
    test = [*copies, *texts[400 + len(copies) :]]
    table = pl.DataFrame({"message": [*texts[:400], *test], "late": draw.integers(0, 2, 500), **columns})
    roles = Roles(target="late", text=("message",))
    periods = {"train": table[:400], "test": table[400:]}
    return CheckContext(
        dataset=Dataset(name="all", table=table, roles=roles),
        periods={name: Dataset(name=name, table=part, roles=roles) for name, part in periods.items()},
    )


def test_texts_that_nearly_equal_those_of_training_rows_are_counted_and_named():
    equal, near = "where is my parcel  it was due on MONDAY", "I would like to have my money back as soon as you may"
    [finding] = plugin(with_texts([equal, near, "hello"]))
    assert (finding.severity, finding.measured, finding.where) == ("note", 0.02, "[split] test, column message")
    assert "2 of 100 test rows (2.0%) nearly equal those of a training row, 1 of them but for case" in finding.message
    assert finding.message.endswith("such as rows 401 and 1, 402 and 2 of the table")


def test_many_near_copies_warn_and_copies_of_whole_rows_are_left_to_the_check_of_those():
    copies = [f"where is my parcel it was due on monday{'!' * row}" for row in range(20)]
    [finding] = plugin(with_texts(copies))
    assert (finding.severity, finding.measured) == ("warn", 0.2)
    exact = ["Where is my parcel, it was due on Monday?"] * 20
    assert plugin(with_texts(exact)) == []
    [equal] = plugin(with_texts(exact, channel=["mail"] * 400 + ["chat"] * 100))
    assert (equal.measured, "20 of them but for case" in equal.message, "such as" in equal.message) == (
        0.2,
        True,
        False,
    )


def test_texts_are_compared_next_to_many_other_features():
    numbers = {name: np.random.default_rng(seed).normal(size=500) for seed, name in enumerate(NUMBERS)}
    assert plugin(with_texts([], **numbers)) == []
    assert len(plugin(with_texts(["where is my parcel it was due on monday"], **numbers))) == 1


def test_texts_without_letters_and_missing_ones_are_not_similar():
    assert plugin(with_texts(["!!!", "", "?"])) == []
    context = with_texts([None])
    assert plugin(context) == [] and MAX_TEXTS >= 200_000
