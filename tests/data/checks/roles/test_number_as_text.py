from __future__ import annotations

import polars as pl
from tests.data.tables import small, with_column

from headway.core.config import Config
from headway.core.evidence import Finding
from headway.data.checks.roles.number_as_text import plugin
from headway.data.context import CheckContext
from headway.data.open import open_dataset
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection


def found(values: list[str | None], **roles: object) -> list[Finding]:
    return plugin(CheckContext(dataset=with_column(small(**roles), wind=values)))


def test_a_column_of_numbers_with_one_word_in_it_is_named_with_its_row():
    [finding] = found(["12.5"] * 299 + ["calm"] + [" 3 "] * 100)

    assert finding.message == "'wind' is read as strings: 1 of its values are not numbers, 99.8% are"
    assert finding.where == "'calm' in row 300 of column wind"
    assert finding.hint == '[data] missing = ["calm"], or correct those values in the source'
    assert (finding.severity, finding.code) == ("warn", "D008")


def test_strings_numeric_codes_and_empty_columns_have_no_finding():
    assert found(["low", "high"] * 200) == []
    assert found(["007", "12"] * 200) == []
    assert found([None] * 400) == []


def test_a_column_that_is_not_a_feature_has_no_finding():
    assert found(["1"] * 399 + ["calm"], ignore=("wind",)) == []


def test_numbers_with_blanks_are_read_as_numbers_and_the_blanks_are_named(tmp_path):
    table = small().table.with_columns(wind=pl.Series(["12.5"] * 380 + ["?"] * 15 + [" NA"] * 5))
    table.write_parquet(tmp_path / "table.parquet")
    data = DataSection(source="table.parquet", target="late", time="at", groups="day")
    dataset = open_dataset(Config(data, folder=str(tmp_path)))

    assert (dataset.table["wind"].dtype, dataset.table["wind"].null_count()) == (pl.Float64, 20)
    [finding] = plugin(CheckContext(dataset=dataset))
    assert finding.message == ("'wind' is read as numbers: 20 of 400 values are read as missing: '?' (15), ' NA' (5)")
    assert (finding.code, finding.severity) == ("D008", "note")


def test_a_model_file_gets_the_strings_that_it_was_fitted_on(tmp_path):
    table = small().table.with_columns(wind=pl.Series(["12.5"] * 399 + ["?"]))
    table.write_parquet(tmp_path / "table.parquet")
    data = DataSection(source="table.parquet", target="late", time="at", groups="day")
    config = Config(data, ModelSection(file="model.joblib"), folder=str(tmp_path))
    assert open_dataset(config).table["wind"].dtype == pl.String
