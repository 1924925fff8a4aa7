from __future__ import annotations

from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.data.checks.contract.contract_values import plugin
from headway.data.context import CheckContext


def test_values_that_are_not_allowed_are_shown(tmp_path):
    [found] = plugin(
        table_with_contract(tmp_path, '[columns.a]\ntype = "string"\nvalues = ["x", "y"]', a=["x", "z", "y"])
    )
    assert (found.code, found.severity, found.message) == ("D013", "stop", "'a' is not one of x, y: 1 of 3 rows")
    assert (found.where, found.measured) == ("row 2: z", 1 / 3)


def test_without_a_contract_it_finds_nothing():
    assert plugin(CheckContext(dataset=small())) == []
