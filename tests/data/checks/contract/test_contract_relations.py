from __future__ import annotations

from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.data.checks.contract.contract_relations import plugin
from headway.data.context import CheckContext


def test_rows_that_violate_a_relation_are_counted(tmp_path):
    contract = 'relations = ["a <= b", "c -> a"]\n[columns.a]\ntype = "integer"\n[columns.b]\ntype = "integer"'
    contract += '\n[columns.c]\ntype = "string"'
    order, dependency = plugin(table_with_contract(tmp_path, contract, a=[1, 5, 3], b=[2, 4, 3], c=["x", "y", "y"]))
    assert (order.code, order.severity, order.message, order.where) == (
        "D016",
        "stop",
        "not a <= b: 1 of 3 rows",
        "row 2",
    )
    assert (dependency.message, dependency.where) == ("not c -> a: 2 of 3 rows", "row 2, 3")


def test_without_a_contract_it_finds_nothing():
    assert plugin(CheckContext(dataset=small())) == []
