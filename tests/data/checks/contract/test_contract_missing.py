from __future__ import annotations

from tests.data.agreements import table_with_contract
from tests.data.tables import small

from headway.data.checks.contract.contract_missing import plugin
from headway.data.context import CheckContext


def test_a_missing_required_value_stops_and_too_large_a_share_warns(tmp_path):
    contract = '[columns.a]\ntype = "integer"\n[columns.b]\ntype = "integer"\nmissing = 0.5'
    never, often = plugin(table_with_contract(tmp_path, contract, a=[1, None, 3], b=[None, None, 3]))
    assert (never.code, never.severity, never.message) == ("D011", "stop", "'a' is missing: 1 of 3 rows")
    assert (never.where, never.measured, never.limit) == ("row 2", 1 / 3, 0.0)
    assert (often.severity, often.message, often.limit) == ("warn", "'b' is missing: 2 of 3 rows, 66.67%", 0.5)
    assert often.hint == "missing = 0.67 under [columns.b] in contract.toml, or find those values"


def test_allowed_missing_values_have_no_finding(tmp_path):
    assert plugin(table_with_contract(tmp_path, '[columns.a]\ntype = "integer"\nmissing = 0.5', a=[1, None])) == []


def test_without_a_contract_it_finds_nothing():
    assert plugin(CheckContext(dataset=small())) == []
