from __future__ import annotations

from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.data.checks.contract.contract_keys import plugin
from headway.data.context import CheckContext


def test_all_rows_that_share_a_key_are_counted(tmp_path):
    contract = 'unique = [["a", "b"]]\n[columns.a]\ntype = "integer"\n[columns.b]\ntype = "string"'
    [found] = plugin(table_with_contract(tmp_path, contract, a=[1, 1, 1, 2], b=["x", "y", "x", "x"]))
    assert (found.code, found.severity) == ("D015", "stop")
    assert (found.message, found.where) == ("key 'a', 'b' occurs more than once: 2 of 4 rows", "row 1, 3")


def test_without_a_contract_it_finds_nothing():
    assert plugin(CheckContext(dataset=small())) == []
