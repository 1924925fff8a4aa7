"""`watch` on two real tables: where nothing can drift it tells no story, where seasons change it tells that one."""

from __future__ import annotations

import pytest
from tests.observe.real_tables import bikes, caravans, released

from headway import flow

pytestmark = pytest.mark.slow
SHUFFLES, PERIODS = 4, 7


def test_households_in_random_order_raise_no_more_alarms_than_chance_and_no_ticket(tmp_path_factory):
    projects = [
        released(tmp_path_factory.mktemp("caravan"), caravans(shuffle), "caravan") for shuffle in range(SHUFFLES)
    ]
    found = [watch for project in projects for watch in flow.watch(project)]

    # Each period may alarm in 5 of 100 by chance: more than 4 of 28 would be 1 in 80.
    assert len(found) == SHUFFLES * PERIODS
    assert not [each.ticket for each in found if each.ticket]
    assert sum(each.drift.alarm for each in found) <= 4
    assert sum(each.outlook == "worse" for each in found) <= 4


def test_a_year_of_bikes_moves_by_its_temperature_and_opens_one_ticket(tmp_path):
    found = flow.watch(released(tmp_path, bikes(), "bikes"))

    assert [each.period for each in found if each.ticket] == ["2011-06"]
    assert "most of all temp" in found[0].says and "probabilities are off" in found[0].says
    assert found[0].outlook == "worse"
