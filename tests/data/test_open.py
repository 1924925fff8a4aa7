from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.tables import small

from headway.core.config import Config
from headway.core.errors import DataError
from headway.data.open import make_dataset, open_dataset
from headway.data.provenance.fingerprint import table_digest
from headway.data.settings.data import DataSection


def config_of(folder: Path, source: str, **data: object) -> Config:
    return Config(DataSection(source=source, **{"target": "late", "time": "at", **data}), folder=str(folder))


def test_a_dataset_names_its_source(tmp_path):
    small().table.write_parquet(tmp_path / "t.parquet")
    dataset = open_dataset(config_of(tmp_path, "t.parquet"))

    assert (dataset.name, dataset.provenance) == ("t.parquet", {"source": "t.parquet"})


def test_a_time_is_parsed_from_strings_in_any_source(tmp_path):
    small().table.with_columns(pl.col("at").dt.to_string("%Y-%m-%d %H:%M")).write_parquet(tmp_path / "t.parquet")
    assert open_dataset(config_of(tmp_path, "t.parquet")).table["at"].equals(small().table["at"])


def test_a_missing_declared_column_is_named_with_the_nearest_column():
    with pytest.raises(
        DataError, match=r"lacks: carier\n  at: small has: at, day.*\n  try: carrier in place of carier"
    ):
        make_dataset(small().table, small(slices=("carier",)).roles, name="small")


def test_a_sensitive_column_must_exist():
    with pytest.raises(DataError, match="lacks: gender"):
        make_dataset(small().table, small(sensitive_features=("gender",)).roles, name="small")


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="has no rows"):
        make_dataset(small().table.clear(), small().roles, name="small")


def test_the_digest_changes_with_one_value():
    table = small().table
    changed = table.with_columns(hour=pl.when(pl.int_range(pl.len()) == 7).then(-1).otherwise("hour"))

    assert table_digest(table) == table_digest(table.clone())
    assert table_digest(table) != table_digest(changed)


def test_the_day_of_a_time_is_a_group_and_no_feature(tmp_path):
    table = small().table.drop("day")
    table.write_parquet(tmp_path / "t.parquet")
    dataset = open_dataset(config_of(tmp_path, "t.parquet", groups="at.day"))

    assert dataset.table["at.day"].to_list() == table["at"].dt.date().to_list()
    assert dataset.features == ["hour", "carrier"]


def test_a_column_of_that_name_is_the_group(tmp_path):
    small().table.with_columns(pl.lit("x").alias("at.day")).write_parquet(tmp_path / "t.parquet")
    dataset = open_dataset(config_of(tmp_path, "t.parquet", groups="at.day"))
    assert dataset.table["at.day"].unique().to_list() == ["x"]


def test_the_day_of_an_absent_column_is_a_missing_column(tmp_path):
    small().table.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"lacks: att\.day"):
        open_dataset(config_of(tmp_path, "t.parquet", groups="att.day"))
