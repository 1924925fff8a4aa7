from __future__ import annotations

from tests.monitoring.assessment.assessments import assessment

from headway.core.config import Config
from headway.data.settings.data import DataSection
from headway.monitoring.assessment.changes import check_settings, settings_finding


def test_a_changed_setting_is_reported_with_both_values():
    [found] = settings_finding(assessment(), assessment(settings={"data.groups": '"week"'}))
    assert found.message == 'settings of the checks changed since 2026-11-01: data.groups was "day", is "week"'


def test_a_setting_unknown_to_an_older_version_is_not_a_change():
    assert settings_finding(assessment(), assessment(settings={"data.groups": '"day"', "data.new": "1"})) == []


def test_the_source_with_its_password_is_not_a_recorded_setting():
    config = Config(DataSection(source="postgresql://ada:secret@db/flights", target="late"))
    assert check_settings(config)["data.target"] == '"late"'
    assert "secret" not in str(check_settings(config))
