from __future__ import annotations

from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.data.checks.contract.contract_range import plugin
from headway.data.context import CheckContext


def test_numbers_and_dates_outside_their_range_are_counted_and_shown(tmp_path):
    contract = (
        '[columns.a]\ntype = "integer"\nminimum = 1\nmaximum = 2\n[columns.on]\ntype = "date"\nmaximum = 2013-01-31'
    )
    found = plugin(table_with_contract(tmp_path, contract, a=[0, 2, 3], on=["2013-01-31", "2013-02-01", "2014-01-01"]))
    assert [(finding.code, finding.severity, finding.message, finding.where) for finding in found] == [
        ("D012", "stop", "'a' is below 1: 1 of 3 rows", "row 1: 0"),
        ("D012", "stop", "'a' is above 2: 1 of 3 rows", "row 3: 3"),
        ("D012", "stop", "'on' is above 2013-01-31: 2 of 3 rows", "row 2, 3: 2013-02-01, 2014-01-01"),
    ]


def test_without_a_contract_it_finds_nothing():
    assert plugin(CheckContext(dataset=small())) == []
