"""Test every section of report and card."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from tests.core.test_plan import plan
from tests.core.test_threats import MADE
from tests.reporting.examined import answering, examined
from tests.reporting.served_features import REPLAY, REPORT
from tests.reporting.test_data_use import USE

from headway.core import plugins
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, build_sections, load_section

SECTIONS = plugins.names("section")
BUILT = build_sections(
    replace(examined(*answering()), data_use=USE, features=REPORT, value_replay=REPLAY, threats=MADE, plan=plan(0))
)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_is_absent_without_measurements(name: str) -> None:
    assert load_section(name)(ReportData(title="nothing")) is None


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_has_conclusions_and_numbers(name: str) -> None:
    section = BUILT[name]
    assert isinstance(section, Section)
    assert section.conclusions and section.table.rows
    assert all(re.search(r"[.:?]$", line) for line in (section.lead, *section.conclusions))


@pytest.mark.slow
@pytest.mark.parametrize("name", SECTIONS)
def test_its_chart_has_its_name_and_a_text_alternative(name: str) -> None:
    drawn = BUILT[name].picture()
    assert drawn is None or (drawn.name == name and len(drawn.alt) > 40 and drawn.reading)


def test_sections_have_a_unique_order() -> None:
    orders = [section.order for section in BUILT.values()]
    assert len(set(orders)) == len(orders) and orders == sorted(orders)
