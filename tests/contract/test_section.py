"""What every section of report and card must do."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace
from tests.reporting.examined import examined
from tests.reporting.test_data_use import USE

from headway.core import plugins
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, build_sections, load_section

SECTIONS = plugins.names("section")
HELD = build_sections(replace(examined(), data_use=USE))


@pytest.mark.parametrize("name", SECTIONS)
def test_it_is_silent_where_nothing_was_measured(name: str) -> None:
    assert load_section(name)(ReportData(title="nothing")) is None


@pytest.mark.parametrize("name", SECTIONS)
def test_it_is_there_where_its_measurements_are_and_says_what_they_mean(name: str) -> None:
    section = HELD[name]
    assert isinstance(section, Section)
    assert section.conclusions and section.table.rows
    assert all(re.search(r"[.:]$", line) for line in (section.lead, *section.conclusions))


@pytest.mark.slow
@pytest.mark.parametrize("name", SECTIONS)
def test_its_picture_bears_its_name_and_a_text_for_who_cannot_see_it(name: str) -> None:
    drawn = HELD[name].picture()
    assert drawn is None or (drawn.name == name and len(drawn.alt) > 40 and drawn.reading)


def test_no_two_stand_in_one_place() -> None:
    places = [section.place for section in HELD.values()]
    assert len(set(places)) == len(places) and places == sorted(places)
