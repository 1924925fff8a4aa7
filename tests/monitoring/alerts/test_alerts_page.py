"""Test that the rules and the JSON of docs/alerts.md are those that headway takes and sends."""

from __future__ import annotations

import msgspec
from tests.house.pages import code_blocks

from headway.core.alerting import Alert
from headway.core.config import load
from headway.monitoring.alerts.receiver import open_receiver
from headway.monitoring.settings.alert import AlertSection
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.settings.ui import UiSection


def test_the_rules_of_the_page_are_valid_and_their_receivers_open(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADWAY_ALERT_MAIL_PASSWORD", "5ecret")
    (tmp_path / "headway.toml").write_text("\n".join(code_blocks("docs/alerts.md", "toml")))
    config = load(tmp_path)
    assert [rule.name for rule in config[AlertSection].rules] == ["chat", "mail", "pager"]
    addresses = [open_receiver(config, rule).address for rule in config[AlertSection].rules]
    assert addresses == ["https://hooks.example", "ops@example.com by smtp.example.com", "/usr/local/bin/page"]
    assert config[ScheduleSection].intervals == {"labels": "1h"} and config[UiSection].servers


def test_the_json_of_the_page_has_the_fields_of_an_alert():
    (text,) = code_blocks("docs/alerts.md", "json")
    shown = msgspec.json.decode(text)
    assert shown.pop("version") == 1
    assert msgspec.to_builtins(msgspec.convert(shown, Alert)).keys() == shown.keys()
