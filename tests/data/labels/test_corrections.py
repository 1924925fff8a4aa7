from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.data.tables import small

from headway.core.config import Config
from headway.core.errors import DataError
from headway.core.plugins import load_state
from headway.data.labels.corrections import load_corrections, row_digests
from headway.data.labels.review import add_correction
from headway.data.open import open_dataset
from headway.data.settings.data import DataSection


def config_of(folder: Path, table: pl.DataFrame, **data: object) -> Config:
    table.write_parquet(folder / "t.parquet")
    section = DataSection(source="t.parquet", **{"target": "late", "time": "at", **data})
    return Config(section, folder=str(folder))


def correct(config: Config, row: int, to: str) -> object:
    state = load_state("sqlite")(config.state)
    try:
        return add_correction(config, state, row=row, to=to, who="ada", why="the tower says so")
    finally:
        state.close()


def test_a_correction_is_applied_on_opening_and_the_source_stays(tmp_path):
    config = config_of(tmp_path, small().table)
    before = (tmp_path / "t.parquet").read_bytes()
    was = open_dataset(config)
    correction = correct(config, 2, "0" if was.table["late"][1] else "1")
    opened = open_dataset(config)

    assert opened.table["late"][1] == correction.new != was.table["late"][1]
    assert opened.table["late"].dtype == was.table["late"].dtype
    assert opened.table.drop("late").equals(was.table.drop("late"))
    assert opened.digest != was.digest
    assert opened.provenance["labels.corrected"] == "1 rows by ada"
    assert (tmp_path / "t.parquet").read_bytes() == before


def test_a_correction_has_author_time_old_label_new_label_and_reason(tmp_path):
    config = config_of(tmp_path, small().table)
    old = small().table["late"][6]
    correct(config, 7, str(1 - old))
    (correction,) = load_corrections(config)
    assert (correction.row_number, correction.old, correction.new, correction.who, correction.why) == (
        7,
        old,
        1 - old,
        "ada",
        "the tower says so",
    )
    assert correction.at > "2020"


@pytest.mark.slow
def test_a_row_is_found_in_another_order_and_the_last_correction_applies(tmp_path):
    config = config_of(tmp_path, small().table)
    correct(config, 3, str(1 - small().table["late"][2]))
    correct(config, 3, str(small().table["late"][2]))
    correct(config, 3, str(1 - small().table["late"][2]))
    config_of(tmp_path, small().table.reverse().select(*reversed(small().table.columns)))
    opened = open_dataset(config)
    assert opened.table["late"][397] == 1 - small().table["late"][2]


def test_a_correction_whose_row_is_gone_is_reported(tmp_path):
    config = config_of(tmp_path, small().table)
    correct(config, 3, str(1 - small().table["late"][2]))
    config_of(tmp_path, small().table[10:])
    assert open_dataset(config).provenance["labels.lost"] == "1 corrections"


def test_labels_are_written_as_in_the_source(tmp_path):
    words = small().table.with_columns(pl.col("late").cast(pl.String).replace({"0": "fine", "1": "late"}))
    config = config_of(tmp_path, words, positive="late")
    row = words["late"].to_list().index("fine") + 1
    assert correct(config, row, "late").new == 1
    assert open_dataset(config).table["late"][row - 1] == 1


def test_a_missing_label_can_be_added(tmp_path):
    config = config_of(tmp_path, small().table)
    assert correct(config, 1, "1").old is None
    assert open_dataset(config).table["late"][0] == 1


@pytest.mark.parametrize(
    ("row", "to", "why"),
    [
        (0, "1", "row 0 does not exist"),
        (401, "1", "row 401 does not exist"),
        (2, "7", "'7' is not a label"),
        (2, "same", "has the label"),
    ],
)
def test_what_cannot_be_corrected_is_an_error(tmp_path, row, to, why):
    config = config_of(tmp_path, small().table)
    with pytest.raises(DataError, match=why):
        correct(config, row, str(small().table["late"][1]) if to == "same" else to)
    assert load_corrections(config) == []


def test_a_correction_without_a_reason_is_refused(tmp_path):
    config = config_of(tmp_path, small().table)
    state = load_state("sqlite")(config.state)
    with pytest.raises(DataError, match="needs a reason"):
        add_correction(config, state, row=2, to="1", who="ada", why=" ")
    state.close()


def test_a_project_without_a_store_has_no_corrections_and_gets_no_store(tmp_path):
    config = config_of(tmp_path, small().table)
    open_dataset(config)
    assert not config.state.exists()


def test_rows_that_differ_in_a_value_or_a_missing_value_have_different_digests():
    table = pl.DataFrame({"a": ["x", None, "", "x"], "b": ["y", "y", "y", "yx"]})
    assert len(set(row_digests(table))) == 4
    assert row_digests(table) == row_digests(table.select("b", "a"))
