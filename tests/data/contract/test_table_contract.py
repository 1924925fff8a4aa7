from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headway.core.config import Config, DataSection
from headway.core.errors import ConfigError
from headway.data.contract.table_contract import (
    ColumnContract,
    TableContract,
    contract_to_toml,
    load_contract,
    load_project_contract,
    save_contract,
)

WHOLE = TableContract(
    columns={
        "size of it": ColumnContract(type="number", missing=0.25, lowest=-1.5, highest=1e-7),
        "kind": ColumnContract(
            type="text", optional=True, values=("a", 'b"\\', "\x7fü\n"), pattern="[ab]+", shortest=1, longest=9
        ),
        "on": ColumnContract(type="date", highest="2013-12-31"),
        "at": ColumnContract(type="time", lowest="2013-01-01T00:00:00"),
        "yes": ColumnContract(type="boolean", values=(True,)),
        "n": ColumnContract(type="whole", values=(1, 2)),
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
    contract = TableContract(columns={name: ColumnContract(type="number", lowest=low) for name, low in columns.items()})
    path = tmp_path_factory.mktemp("contract") / "contract.toml"
    assert load_contract(save_contract(contract, path, about=())) == contract


def test_dates_may_be_written_as_toml_has_them(tmp_path):
    path = tmp_path / "contract.toml"
    path.write_text('[columns.on]\ntype = "date"\nlowest = 2013-01-01\n')
    assert load_contract(path).columns["on"].lowest == "2013-01-01"


def test_a_project_without_a_file_has_no_contract(tmp_path):
    config = Config(folder=str(tmp_path), data=DataSection(contract="mine.toml"))
    assert load_project_contract(config) is None
    (tmp_path / "mine.toml").write_text("")
    assert load_project_contract(config) == TableContract()


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("[columns.x\n", "is no contract", ""),
        ('[columns.x]\ntype = "float"\n', "Invalid enum value 'float'", ""),
        ('[columns.x]\ntype = "number"\nlowset = 1\n', "unknown field `lowset`", "lowest in place of lowset"),
        ("uniqe = []\n", "unknown field `uniqe`", "unique in place of uniqe"),
        ('[columns.x]\ntype = "number"\nmissing = 2\n', "<= 1", ""),
        ('[columns.x]\ntype = "number"\nlowest = 3\nhighest = 2\n', "the lower bound is above", "exchange"),
        ('[columns.x]\ntype = "text"\nshortest = 3\nlongest = 2\n', "the lower bound is above", "exchange"),
        ('[columns.x]\ntype = "text"\nlowest = "a"\n', "a text has no range", "values"),
        ('[columns.x]\ntype = "number"\nlowest = "a"\n', "'a' is not a number", "a number"),
        ('[columns.x]\ntype = "date"\nlowest = "1.2.2013"\n', "'1.2.2013' is not a date", "2024-03-31"),
        ('[columns.x]\ntype = "time"\nlowest = "2013-01-01T00:00Z"\n', "is not a time", "2024-03-31T17:05:00"),
        ('[columns.x]\ntype = "boolean"\nvalues = [1]\n', "1 is not a boolean", "a boolean"),
        ('[columns.x]\ntype = "whole"\npattern = "a"\n', "a whole has no 'pattern'", 'type = "text"'),
        ('[columns.x]\ntype = "text"\npattern = "(?=a)"\n', "is not a regular expression", "no look-around"),
        ('unique = [["y"]]\n[columns.yy]\ntype = "text"\n', "'y' is not one of its columns", "yy"),
        ("unique = [[]]\n", "a key has no column", "name a column"),
        ('relations = ["x <= y"]\n', "'x' is not one of its columns", "name a column"),
        ('relations = ["x ~ y"]\n', "is not a relation", "a <= b"),
        (
            'relations = ["x <= y"]\n[columns.x]\ntype = "text"\n[columns.y]\ntype = "whole"\n',
            "this relation does not apply to number and text",
            "numbers with numbers",
        ),
        (
            'relations = ["x + x == x"]\n[columns.x]\ntype = "date"\n',
            "this relation does not apply to date",
            "numbers with numbers",
        ),
    ],
)
def test_what_no_contract_can_say_is_told_with_its_place_and_the_mend(tmp_path, text, what, hint):
    path = tmp_path / "contract.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as told:
        load_contract(path)
    assert what in told.value.what and str(path) in told.value.where and hint in told.value.hint


def test_what_is_as_by_default_is_left_out():
    assert (
        contract_to_toml(TableContract(columns={"a b": ColumnContract(type="whole")}))
        == '\n[columns."a b"]\ntype = "whole"\nmissing = 0.0\n'
    )
