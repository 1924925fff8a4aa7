from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.tables import small

from headway.core.config import Config, DataSection
from headway.core.errors import ConfigError, DataError
from headway.data.open import dataset_of, digest, open_dataset, roles_of


def config_of(folder: Path, source: str, **data: object) -> Config:
    return Config(folder=str(folder), data=DataSection(source=source, **{"target": "late", "time": "at", **data}))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow"])
def test_a_file_is_read_by_its_suffix(tmp_path, suffix):
    table = small().table
    writers = {"parquet": table.write_parquet, "csv": table.write_csv, "arrow": table.write_ipc}
    writers[suffix](tmp_path / f"t.{suffix}")

    dataset = open_dataset(config_of(tmp_path, f"t.{suffix}"))

    assert dataset.table.shape == table.shape
    assert dataset.table["at"].dtype.is_temporal()


def test_a_function_of_the_project_gives_the_table(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import polars\ndef load(): return polars.DataFrame({'late': [0, 1], 'at': [1, 2]})"
    )

    assert len(open_dataset(config_of(tmp_path, "mine:load")).table) == 2


def test_any_table_that_speaks_arrow_will_do(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import pandas\ndef load(): return pandas.DataFrame({'late': [0, 1], 'at': [1, 2]})"
    )

    assert isinstance(open_dataset(config_of(tmp_path, "mine:load")).table, pl.DataFrame)


def test_a_function_that_gives_no_table_is_named(tmp_path):
    (tmp_path / "mine.py").write_text("def load(): return 3")
    with pytest.raises(DataError, match="mine:load gave int, not a table"):
        open_dataset(config_of(tmp_path, "mine:load"))


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no file 't\.parquet'"):
        open_dataset(config_of(tmp_path, "t.parquet"))


def test_a_file_that_is_not_what_its_suffix_says_is_named(tmp_path):
    (tmp_path / "t.parquet").write_text("not parquet")
    with pytest.raises(DataError, match=r"cannot read 't\.parquet'"):
        open_dataset(config_of(tmp_path, "t.parquet"))


@pytest.mark.parametrize(("source", "says"), [("", "no data source"), ("t.xlsx", "cannot read 't.xlsx'")])
def test_a_source_that_cannot_be_is_refused(tmp_path, source, says):
    with pytest.raises(ConfigError, match=says):
        open_dataset(config_of(tmp_path, source))


def test_a_project_without_a_target_is_told_so():
    with pytest.raises(ConfigError, match="no target"):
        roles_of(DataSection())


def test_a_declared_column_that_is_absent_is_named():
    with pytest.raises(DataError, match="lacks: carier"):
        dataset_of(small().table, small(slices=("carier",)).roles, name="small")


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="has no rows"):
        dataset_of(small().table.clear(), small().roles, name="small")


def test_the_digest_changes_with_one_value():
    table = small().table
    changed = table.with_columns(hour=pl.when(pl.int_range(pl.len()) == 7).then(-1).otherwise("hour"))

    assert digest(table) == digest(table.clone())
    assert digest(table) != digest(changed)
