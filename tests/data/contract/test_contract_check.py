"""Check a project's table and files against its contract; failing rows go to quarantine with the reasons."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.errors import ConfigError, DataError
from headway.data.contract.check import check_contract, discover_project_contract
from headway.data.contract.table_contract import load_contract
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection

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
    return Config(DataSection(source="table.parquet", target="late", missing=("n/a",)), folder=str(tmp_path))


def written(folder: Path, suffix: str) -> Path:
    """Write the rows to a file of that format; in csv, a missing value is a word."""
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


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow", ".arrows"])
def test_failing_rows_go_to_quarantine_and_passing_rows_to_a_file(tmp_path, config, suffix):
    found = check_contract(config, written(tmp_path, suffix), passed=tmp_path / "out/passed.parquet")
    quarantined = pl.read_parquet(found.quarantine)
    assert (found.n_rows, found.n_failing) == (4, 3)
    assert dict(zip(quarantined["headway.row"], quarantined["headway.reason"], strict=True)) == REASONS
    assert quarantined["size"].cast(pl.Float64).to_list() == [None, 2.5, 99.0]
    assert Path(found.quarantine).parent == tmp_path / ".headway/quarantine/model"
    assert pl.read_parquet(found.passed)["id"].cast(pl.Int64).to_list() == [1]
    assert {finding.code for finding in found.findings} == {"D012", "D015"}


def test_nothing_is_quarantined_if_every_row_passes(tmp_path, config):
    ROWS.head(1).write_parquet(tmp_path / "one.parquet")
    found = check_contract(config, tmp_path / "one.parquet")
    assert (found.quarantine, found.passed, found.n_failing) == ("", "", 0)
    assert not (tmp_path / ".headway").exists()


def test_without_a_file_the_projects_table_is_checked(tmp_path, config):
    table = ROWS.with_columns(late=pl.Series(["no", "yes", "no", "no"]))
    table.write_parquet(tmp_path / "table.parquet")
    config = config.having(replace(config[DataSection], positive="yes"))
    found = check_contract(config)
    assert (found.source, found.n_failing) == ("table.parquet", 3)
    assert pl.read_parquet(found.quarantine)["late"].to_list() == [1, 0, 0]


def test_dropped_personal_data_is_not_quarantined(tmp_path, config):
    ROWS.with_columns(mail=pl.lit("ada@example.org")).write_parquet(tmp_path / "rows.parquet")
    config = config.having(PersonalSection(drop=("mail",)), DataSection(target="id"))
    found = check_contract(config, tmp_path / "rows.parquet")
    assert (found.n_failing, pl.read_parquet(found.quarantine).columns[2:]) == (3, ["id", "size", "on"])


def test_an_unreadable_file_is_an_error_with_a_hint(tmp_path, config):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "torn.parquet").write_bytes(b"PAR1")
    for name, message in (("absent.csv", "no file"), ("empty.csv", "is empty"), ("torn.parquet", "cannot be read")):
        with pytest.raises(DataError, match=message):
            check_contract(config, tmp_path / name)
    (tmp_path / "contract.toml").unlink()
    with pytest.raises(ConfigError, match=r"no contract\.toml") as error:
        check_contract(config)
    assert error.value.hint == "headway contract discover"


def test_a_discovered_contract_is_not_overwritten_without_replace(tmp_path, config):
    (tmp_path / "contract.toml").unlink()
    ROWS.with_columns(late=pl.lit(1)).write_parquet(tmp_path / "table.parquet")
    path, contract = discover_project_contract(config)
    assert load_contract(path) == contract and contract.columns["size"].maximum == 2.65
    with pytest.raises(ConfigError, match="may have been edited") as error:
        discover_project_contract(config)
    assert error.value.hint == "headway contract discover --replace"
    assert discover_project_contract(config, replace=True) == (path, contract)
