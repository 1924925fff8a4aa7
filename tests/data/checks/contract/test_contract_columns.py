from __future__ import annotations

import pytest
from msgspec.structs import replace as changed
from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.data.checks.contract.contract_columns import plugin
from headway.data.context import CheckContext
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection


def reported(context: CheckContext) -> list[tuple[str, str]]:
    return [(finding.severity, finding.message) for finding in plugin(context)]


def test_absent_and_mistyped_columns_stop_and_unnamed_ones_are_noted(tmp_path):
    contract = '[columns.gone]\ntype = "string"\n[columns.a]\ntype = "string"\n[columns.b]\ntype = "integer"'
    assert reported(table_with_contract(tmp_path, contract, a=[1, 2], b=[1.0, 1.5], new=[1, 1])) == [
        ("stop", "'gone' is absent"),
        ("stop", "'a' is not a string: 2 of 2 rows"),
        ("stop", "'b' is not an integer: 1 of 2 rows"),
        ("note", "1 column is not in the contract: 'new'"),
    ]


def test_an_absent_column_may_be_made_optional(tmp_path):
    contract = '[columns.gone]\ntype = "string"\n{}\n[columns.a]\ntype = "integer"'
    [found] = plugin(table_with_contract(tmp_path, contract.format(""), a=[1]))
    assert (found.code, found.where) == ("D010", "contract.toml")
    assert found.hint == "write the column, or optional = true under [columns.gone] in contract.toml"
    assert plugin(table_with_contract(tmp_path, contract.format("optional = true"), a=[1])) == []


def test_the_first_of_many_unnamed_columns_are_listed(tmp_path):
    context = table_with_contract(tmp_path, "", **{f"c{number}": [1] for number in range(7)})
    assert reported(context) == [("note", "7 columns are not in the contract: 'c0', 'c1', 'c2', 'c3', 'c4', ...")]


def test_columns_rewritten_on_opening_are_not_validated(tmp_path):
    contract = 'unique = [["name"]]\n[columns.name]\ntype = "string"\nmax_length = 3'
    context = table_with_contract(tmp_path, contract, name=["a long hash"])
    assert reported(context) == []
    hashed = context.config.having(PersonalSection(hash=("name",)))
    yes = hashed.having(changed(context.config[DataSection], positive="yes"))
    (tmp_path / "contract.toml").write_text(contract + '\n[columns.late]\ntype = "string"')
    assert reported(CheckContext(dataset=context.dataset, config=hashed)) == [
        ("stop", "'late' is not a string: 1 of 1 rows")
    ]
    assert reported(CheckContext(dataset=context.dataset, config=yes)) == []


def test_without_a_contract_it_reports_for_all_checks_of_the_family():
    with pytest.raises(NotApplicable, match=r"no contract.toml: types, ranges, values, keys and relations") as error:
        plugin(CheckContext(dataset=small()))
    assert error.value.hint == "headway contract discover"
