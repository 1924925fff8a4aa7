from __future__ import annotations

from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.data.checks.contract.contract_format import plugin
from headway.data.context import CheckContext


def test_strings_of_another_pattern_or_length_are_shown(tmp_path):
    contract = '[columns.a]\ntype = "string"\npattern = "N\\\\d+"\nmax_length = 4'
    form, length = plugin(table_with_contract(tmp_path, contract, a=["N1", "xN1", "N12345"]))
    assert (form.code, form.severity, form.where) == ("D014", "stop", "row 2: xN1")
    assert form.message == r"'a' does not match N\d+: 1 of 3 rows"
    assert (length.message, length.where) == ("'a' is longer than 4: 1 of 3 rows", "row 3: N12345")


def test_without_a_contract_it_finds_nothing():
    assert plugin(CheckContext(dataset=small())) == []
