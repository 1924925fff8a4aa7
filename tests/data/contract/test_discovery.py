from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.data.tables import small, with_column

from headway.core.config import Config
from headway.core.dataset import Dataset, Roles
from headway.core.errors import DataError
from headway.data.contract.discovery import discover_contract, find_relations, infer_column
from headway.data.contract.table_contract import ColumnContract
from headway.data.contract.validation import validate_table
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.split import SplitSection
from headway.data.split import split_dataset


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pl.Series([0.0, 10.0]), ColumnContract(type="number", minimum=0.0, maximum=11.0)),
        (pl.Series([-10.0, 0.0]), ColumnContract(type="number", minimum=-11.0, maximum=0.0)),
        (pl.Series([1 / 3, 2 / 3]), ColumnContract(type="number", minimum=0.3, maximum=0.7)),
        (pl.Series([100 / 7, 123456.789]), ColumnContract(type="number", minimum=0.0, maximum=135802.0)),
        (pl.Series([1, 7]), ColumnContract(type="integer", minimum=1, maximum=7)),
        (pl.Series(range(100)), ColumnContract(type="integer", minimum=0, maximum=109)),
        (
            pl.Series([-0.5, float("inf"), float("nan")]),
            ColumnContract(type="number", missing=1.0, minimum=-0.5, maximum=-0.5),
        ),
        (pl.Series([None, None], dtype=pl.Float64), ColumnContract(type="number", missing=1.0)),
        (pl.Series(["a", "b"] * 4), ColumnContract(type="string", values=("a", "b"))),
        (pl.Series(list("abcdefgh")), ColumnContract(type="string")),
        (pl.Series(["a", "a"], dtype=pl.Categorical), ColumnContract(type="string", values=("a",))),
        (pl.Series([True, False]), ColumnContract(type="boolean")),
        (pl.Series([date(2013, 1, 1)]), ColumnContract(type="date")),
        (pl.Series([datetime(2013, 1, 1)]), ColumnContract(type="datetime")),
        (pl.Series([[1]]), None),
    ],
)
def test_a_column_gets_its_values_and_a_number_a_margin_of_a_tenth(values, expected):
    assert infer_column(values, margin=0.1) == expected


def test_the_missing_share_is_that_of_the_tenth_with_the_most_missing_values():
    values = [1.0] * 90 + [None] * 3 + [1.0] * 7
    assert infer_column(pl.Series(values), margin=0.1).missing == 0.3


def test_only_train_and_validation_are_read_and_the_target_is_optional():
    dataset = with_column(small(), hour=list(range(400)))
    config = Config(DataSection(target="late"))
    contract = discover_contract(dataset, split_dataset(dataset, config[SplitSection]), config)
    assert contract.columns["hour"] == ColumnContract(type="integer", minimum=0, maximum=351)
    assert contract.columns["late"] == ColumnContract(type="integer", optional=True, missing=0.07, minimum=0, maximum=1)
    assert contract.unique == (("hour",),)
    assert discover_contract(dataset, {}, config).columns["hour"].maximum == 439


def test_columns_rewritten_on_opening_are_left_out():
    config = Config(DataSection(target="late", positive="yes"), PersonalSection(hash=("carrier",)))
    assert set(discover_contract(small(), {}, config).columns) == {"at", "day", "hour"}


def test_a_table_without_supported_columns_is_refused():
    dataset = with_column(small(), late=[[1]] * 400)
    config = Config(DataSection(target="late"))
    table = dataset.table.select("late")
    with pytest.raises(DataError, match="no column is a number"):
        discover_contract(type(dataset)(name="x", table=table, roles=dataset.roles), {}, config)


def table_with_relations() -> pl.DataFrame:
    """Return starts and ends, parts and their sum, towns and their zones, and unrelated numbers."""
    draw = np.random.default_rng(0)
    rows = 2_000
    start = [datetime(2013, 1, 1) + timedelta(hours=int(hours)) for hours in draw.integers(0, 9_000, rows)]
    net, tax = draw.random(rows).round(3), draw.random(rows).round(3)
    town = draw.integers(0, 40, rows)
    return pl.DataFrame(
        {
            "start": start,
            "mid": [time + timedelta(hours=1) for time in start],
            "end": [
                time + timedelta(hours=int(hours))
                for time, hours in zip(start, draw.integers(1, 90, rows), strict=True)
            ],
            "net": net,
            "tax": tax,
            "gross": net + tax,
            "copy": net,
            "town": [f"town {number}" for number in town],
            "zone": town % 7,
            "far": draw.integers(5_000, 9_000, rows),
            "free": draw.choice(["a", "b", "c"], rows),
            "id": range(rows),
        }
    )


def columns_of(table: pl.DataFrame) -> dict[str, ColumnContract]:
    return {name: infer_column(table[name], margin=0.1) for name in table.columns}


def test_only_relations_that_are_not_due_to_chance_are_found():
    table = table_with_relations()
    assert set(find_relations(table, columns_of(table))) == {
        "start <= mid",
        "mid <= end",
        "net <= gross",
        "tax <= gross",
        "net == copy",
        "copy <= gross",
        "net + tax == gross",
        "tax + copy == gross",
        "town -> zone",
    }


def test_a_relation_violated_by_one_row_is_not_found():
    table = table_with_relations()
    row = pl.int_range(pl.len()) == 1_234
    torn = table.with_columns(
        end=pl.when(row).then(datetime(2000, 1, 1)).otherwise("end"),
        zone=pl.when(row).then(99).otherwise("zone"),
        gross=pl.when(row).then(-1.0).otherwise("gross"),
    )
    assert find_relations(torn, columns_of(torn)) == ("net == copy", "start <= mid")


def test_a_discovered_contract_holds_for_its_own_rows():
    dataset = small()
    dataset = type(dataset)(name="t", table=table_with_relations().with_columns(late=pl.lit(1)), roles=dataset.roles)
    config = Config(DataSection(target="late"))
    assert validate_table(discover_contract(dataset, {}, config), dataset.table).violations == ()


def test_a_text_is_neither_a_key_nor_a_list_of_values():
    table = pl.DataFrame({"message": [f"where is parcel {row}" for row in range(300)], "note": ["hi", "bye"] * 150})
    texts = {"target": "", "text": ("message", "note")}
    found = discover_contract(Dataset(name="m", table=table, roles=Roles(**texts)), {}, Config())
    assert (found.unique, found.columns["note"]) == ((), ColumnContract(type="string"))
    as_categories = discover_contract(Dataset(name="m", table=table, roles=Roles(target="")), {}, Config())
    assert (as_categories.unique, as_categories.columns["note"].values) == ((("message",),), ("bye", "hi"))
