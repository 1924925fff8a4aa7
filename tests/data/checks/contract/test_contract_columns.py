from __future__ import annotations

import pytest
from msgspec.structs import replace as changed
from tests.data.agreements import held_to
from tests.data.tables import small

from headway.core.errors import NotApplicable
from headway.core.sections.personal import PersonalSection
from headway.data.checks.contract.contract_columns import plugin
from headway.data.context import CheckContext


def told(context: CheckContext) -> list[tuple[str, str]]:
    return [(each.severity, each.message) for each in plugin(context)]


def test_columns_that_are_absent_or_of_another_type_stop_and_unnamed_ones_are_noted(tmp_path):
    contract = '[columns.gone]\ntype = "string"\n[columns.a]\ntype = "string"\n[columns.b]\ntype = "integer"'
    assert told(held_to(tmp_path, contract, a=[1, 2], b=[1.0, 1.5], new=[1, 1])) == [
        ("stop", "'gone' is absent"),
        ("stop", "'a' is not a string: 2 of 2 rows"),
        ("stop", "'b' is not an integer: 1 of 2 rows"),
        ("note", "1 column is not in the contract: 'new'"),
    ]


def test_an_absent_column_may_be_made_optional(tmp_path):
    contract = '[columns.gone]\ntype = "string"\n{}\n[columns.a]\ntype = "integer"'
    [found] = plugin(held_to(tmp_path, contract.format(""), a=[1]))
    assert (found.code, found.where) == ("D010", "contract.toml")
    assert found.hint == "write the column, or optional = true under [columns.gone] in contract.toml"
    assert plugin(held_to(tmp_path, contract.format("optional = true"), a=[1])) == []


def test_of_many_unnamed_columns_the_first_are_named(tmp_path):
    context = held_to(tmp_path, "", **{f"c{number}": [1] for number in range(7)})
    assert told(context) == [("note", "7 columns are not in the contract: 'c0', 'c1', 'c2', 'c3', 'c4', ...")]


def test_what_opening_makes_of_a_column_is_not_held_to_the_contract_of_its_source(tmp_path):
    contract = 'unique = [["name"]]\n[columns.name]\ntype = "string"\nmax_length = 3'
    context = held_to(tmp_path, contract, name=["a long hash"])
    assert told(context) == []
    hashed = changed(context.config, personal=PersonalSection(hash=("name",)))
    yes = changed(hashed, data=changed(context.config.data, positive="yes"))
    (tmp_path / "contract.toml").write_text(contract + '\n[columns.late]\ntype = "string"')
    assert told(CheckContext(dataset=context.dataset, config=hashed)) == [
        ("stop", "'late' is not a string: 1 of 1 rows")
    ]
    assert told(CheckContext(dataset=context.dataset, config=yes)) == []


def test_without_a_contract_it_says_so_for_all_checks_of_the_family():
    with pytest.raises(NotApplicable, match=r"no contract.toml: types, ranges, values, keys and relations") as said:
        plugin(CheckContext(dataset=small()))
    assert said.value.hint == "headway contract discover"
