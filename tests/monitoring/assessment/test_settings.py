from __future__ import annotations

from tests.monitoring.assessment.assessments import assessment

from headway.core.config import Config, DataSection
from headway.monitoring.assessment.settings import finding, settings_of


def test_a_setting_that_changed_is_told_with_both_values():
    [found] = finding(assessment(), assessment(settings={"data.groups": '"week"'}))
    assert found.message == 'settings of the checks changed since 2026-11-01: data.groups was "day", is "week"'


def test_a_setting_that_nobody_knew_before_is_no_change():
    assert finding(assessment(), assessment(settings={"data.groups": '"day"', "data.new": "1"})) == []


def test_the_source_with_its_password_is_not_among_them():
    config = Config(data=DataSection(source="postgresql://ada:secret@db/flights", target="late"))
    assert settings_of(config)["data.target"] == '"late"'
    assert "secret" not in str(settings_of(config))
