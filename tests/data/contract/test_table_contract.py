from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.renamed import RenamedWarning
from headway.data.contract.table_contract import (
    ColumnContract,
    TableContract,
    contract_to_toml,
    load_contract,
    load_project_contract,
    save_contract,
)
from headway.data.settings.data import DataSection

WHOLE = TableContract(
    columns={
        "size of it": ColumnContract(type="number", missing=0.25, minimum=-1.5, maximum=1e-7),
        "kind": ColumnContract(
            type="string", optional=True, values=("a", 'b"\\', "\x7fü\n"), pattern="[ab]+", min_length=1, max_length=9
        ),
        "on": ColumnContract(type="date", maximum="2013-12-31"),
        "at": ColumnContract(type="datetime", minimum="2013-01-01T00:00:00"),
        "yes": ColumnContract(type="boolean", values=(True,)),
        "n": ColumnContract(type="integer", values=(1, 2)),
    },
    unique=(("kind", "on"),),
    relations=("n <= `size of it`",),
)


def test_a_contract_is_read_as_it_was_written(tmp_path):
    assert load_contract(save_contract(WHOLE, tmp_path / "contract.toml", about=["of a test"])) == WHOLE
    assert (tmp_path / "contract.toml").read_text().startswith("# of a test\n")


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.floats(allow_nan=False, allow_infinity=False))
)
def test_any_name_and_any_number_can_be_written(tmp_path_factory, columns):
    contract = TableContract(
        columns={name: ColumnContract(type="number", minimum=low) for name, low in columns.items()}
    )
    path = tmp_path_factory.mktemp("contract") / "contract.toml"
    assert load_contract(save_contract(contract, path, about=())) == contract


def test_dates_may_be_toml_dates(tmp_path):
    path = tmp_path / "contract.toml"
    path.write_text('[columns.on]\ntype = "date"\nminimum = 2013-01-01\n')
    assert load_contract(path).columns["on"].minimum == "2013-01-01"


def test_former_names_of_fields_and_types_are_accepted_with_a_warning(tmp_path):
    path = tmp_path / "contract.toml"
    path.write_text('[columns.x]\ntype = "whole"\nlowest = 1\nhighest = 2\n[columns.y]\ntype = "text"\nlongest = 3\n')
    with pytest.warns(RenamedWarning) as caught:
        contract = load_contract(path)
    assert contract.columns == {
        "x": ColumnContract(type="integer", minimum=1, maximum=2),
        "y": ColumnContract(type="string", max_length=3),
    }
    renamed = [str(warning.message).partition(";")[0] for warning in caught]
    assert "contract.toml, columns.x: 'lowest' was renamed to 'minimum'" in renamed
    assert "contract.toml, columns.y.type: 'text' was renamed to 'string'" in renamed
    assert len(renamed) == 5


def test_a_project_without_a_file_has_no_contract(tmp_path):
    config = Config(DataSection(contract="mine.toml"), folder=str(tmp_path))
    assert load_project_contract(config) is None
    (tmp_path / "mine.toml").write_text("")
    assert load_project_contract(config) == TableContract()


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("[columns.x\n", "is not TOML", "docs/contract.md"),
        ('[columns.x]\ntype = "float"\n', "Invalid enum value 'float'", ""),
        ('[columns.x]\ntype = "number"\nminmum = 1\n', "unknown field 'minmum'", "minimum in place of minmum"),
        ("uniqe = []\n", "unknown field 'uniqe'", "unique in place of uniqe"),
        ('[columns.x]\ntype = "number"\nmissing = 2\n', "<= 1", ""),
        ('[columns.x]\ntype = "number"\nminimum = 3\nmaximum = 2\n', "the lower bound is above", "exchange"),
        ('[columns.x]\ntype = "string"\nmin_length = 3\nmax_length = 2\n', "the lower bound is above", "exchange"),
        ('[columns.x]\ntype = "string"\nminimum = "a"\n', "a string has no range", "values"),
        ('[columns.x]\ntype = "number"\nminimum = "a"\n', "'a' is not a number", "a number"),
        ('[columns.x]\ntype = "date"\nminimum = "1.2.2013"\n', "'1.2.2013' is not a date", "2024-03-31"),
        ('[columns.x]\ntype = "datetime"\nminimum = "2013-01-01T00:00Z"\n', "is not a datetime", "2024-03-31T17:05:00"),
        ('[columns.x]\ntype = "boolean"\nvalues = [1]\n', "1 is not a boolean", "a boolean"),
        ('[columns.x]\ntype = "integer"\npattern = "a"\n', "an integer has no 'pattern'", 'type = "string"'),
        ('[columns.x]\ntype = "string"\npattern = "(?=a)"\n', "is not a regular expression", "no look-around"),
        ('unique = [["y"]]\n[columns.yy]\ntype = "string"\n', "'y' is not one of its columns", "yy"),
        ("unique = [[]]\n", "a key has no column", "name a column"),
        ('relations = ["x <= y"]\n', "'x' is not one of its columns", "name a column"),
        ('relations = ["x ~ y"]\n', "is not a relation", "a <= b"),
        (
            'relations = ["x <= y"]\n[columns.x]\ntype = "string"\n[columns.y]\ntype = "integer"\n',
            "this relation does not apply to number and string",
            "numbers with numbers",
        ),
        (
            'relations = ["x + x == x"]\n[columns.x]\ntype = "date"\n',
            "this relation does not apply to date",
            "numbers with numbers",
        ),
    ],
)
def test_an_invalid_contract_is_an_error_with_its_location_and_a_hint(tmp_path, text, what, hint):
    path = tmp_path / "contract.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_contract(path)
    assert what in error.value.what and str(path) in error.value.where and hint in error.value.hint


def test_defaults_are_left_out():
    assert (
        contract_to_toml(TableContract(columns={"a b": ColumnContract(type="integer")}))
        == '\n[columns."a b"]\ntype = "integer"\nmissing = 0.0\n'
    )


def test_an_error_names_the_line_of_the_column_or_of_the_syntax(tmp_path):
    path = tmp_path / "contract.toml"
    path.write_text('[columns.hour]\ntype = "integer"\n\n[columns.wind]\ntype = "number"\nminimun = 0\n')
    with pytest.raises(ConfigError, match=r"contract\.toml:4, \[columns\.wind\]"):
        load_contract(path)
    path.write_text("[columns.hour]\ntype = integer\n")
    with pytest.raises(ConfigError, match=r"Invalid value in the value of 'type', line 2") as caught:
        load_contract(path)
    assert caught.value.where == f"{path}:2"
