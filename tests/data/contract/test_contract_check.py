"""A project's table and files of any kind held to its contract: what fails is kept with the reasons."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from headway.core.config import Config, DataSection
from headway.core.errors import ConfigError, DataError
from headway.core.sections.personal import PersonalSection
from headway.data.contract.check import check_contract, discover_project_contract
from headway.data.contract.table_contract import load_contract

CONTRACT = """
unique = [["id"]]
[columns.id]
type = "integer"
[columns.size]
type = "number"
missing = 1
maximum = 10
[columns.on]
type = "date"
missing = 1
[columns.late]
type = "boolean"
optional = true
"""
ROWS = pl.DataFrame(
    {"id": [1, 2, 2, 4], "size": [1.0, None, 2.5, 99.0], "on": ["2013-01-01", "2013-01-02", None, "2013-01-04"]}
)
REASONS = {2: "key 'id' occurs more than once", 3: "key 'id' occurs more than once", 4: "'size' is above 10"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "contract.toml").write_text(CONTRACT)
    return Config(folder=str(tmp_path), data=DataSection(source="table.parquet", target="late", missing=("n/a",)))


def written(folder: Path, suffix: str) -> Path:
    """The rows as a file of a kind; texts mean a missing value where the kind has texts alone."""
    path, dated = folder / f"rows{suffix}", ROWS.with_columns(pl.col("on").str.to_date())
    if suffix == ".csv":
        ROWS.write_csv(path, null_value="n/a")
    elif suffix == ".parquet":
        dated.write_parquet(path)
    elif suffix == ".arrows":
        dated.write_ipc_stream(path)
    else:
        dated.write_ipc(path)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ".arrows"])
def test_rows_that_fail_are_kept_with_the_reasons_and_the_others_can_be_had(tmp_path, config, suffix):
    found = check_contract(config, written(tmp_path, suffix), passed=tmp_path / "out/passed.parquet")
    kept = pl.read_parquet(found.quarantine)
    assert (found.n_rows, found.n_failing) == (4, 3)
    assert dict(zip(kept["headway.row"], kept["headway.reason"], strict=True)) == REASONS
    assert kept["size"].cast(pl.Float64).to_list() == [None, 2.5, 99.0]
    assert Path(found.quarantine).parent == tmp_path / ".headway/quarantine/model"
    assert pl.read_parquet(found.passed)["id"].cast(pl.Int64).to_list() == [1]
    assert {finding.code for finding in found.findings} == {"D012", "D015"}


def test_where_every_row_passes_nothing_is_put_in_quarantine(tmp_path, config):
    ROWS.head(1).write_parquet(tmp_path / "one.parquet")
    found = check_contract(config, tmp_path / "one.parquet")
    assert (found.quarantine, found.passed, found.n_failing) == ("", "", 0)
    assert not (tmp_path / ".headway").exists()


def test_without_a_file_the_table_of_the_project_is_held_to_it(tmp_path, config):
    table = ROWS.with_columns(late=pl.Series(["no", "yes", "no", "no"]))
    table.write_parquet(tmp_path / "table.parquet")
    config = replace(config, data=replace(config.data, positive="yes"))
    found = check_contract(config)
    assert (found.source, found.n_failing) == ("table.parquet", 3)
    assert pl.read_parquet(found.quarantine)["late"].to_list() == [1, 0, 0]


def test_personal_data_that_is_dropped_does_not_come_into_quarantine(tmp_path, config):
    ROWS.with_columns(mail=pl.lit("ada@example.org")).write_parquet(tmp_path / "rows.parquet")
    config = replace(config, personal=PersonalSection(drop=("mail",)), data=DataSection(target="id"))
    found = check_contract(config, tmp_path / "rows.parquet")
    assert (found.n_failing, pl.read_parquet(found.quarantine).columns[2:]) == (3, ["id", "size", "on"])


def test_what_cannot_be_read_is_told_with_the_mend(tmp_path, config):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    for name, message in (("absent.csv", "no file"), ("empty.csv", "is empty"), ("torn.parquet", "cannot be read")):
        with pytest.raises(DataError, match=message):
            check_contract(config, tmp_path / name)
    (tmp_path / "contract.toml").unlink()
    with pytest.raises(ConfigError, match=r"no contract\.toml") as told:
        check_contract(config)
    assert told.value.hint == "headway contract discover"


def test_a_contract_is_discovered_once_and_never_written_over_unasked(tmp_path, config):
    (tmp_path / "contract.toml").unlink()
    ROWS.with_columns(late=pl.lit(1)).write_parquet(tmp_path / "table.parquet")
    path, contract = discover_project_contract(config)
    assert load_contract(path) == contract and contract.columns["size"].maximum == 2.65
    with pytest.raises(ConfigError, match="may have been edited") as told:
        discover_project_contract(config)
    assert told.value.hint == "headway contract discover --replace"
    assert discover_project_contract(config, replace=True) == (path, contract)
