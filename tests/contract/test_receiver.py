"""Test every receiver of alerts against a real place that takes them, or does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.monitoring.alerts.places import PASSWORD, USER, http_site, mail_box

from headway.core import plugins
from headway.core.alerting import Alert
from headway.core.errors import ConfigError
from headway.monitoring.alerts.receiver import DeliveryFailed, Receiver, ReceiverContext
from headway.monitoring.settings.alert import SettingValue

NAMES = plugins.names("receiver")
ALERT = Alert(
    id="0123456789abcdef",
    project="flights",
    rule="ops",
    condition="degradation",
    state="firing",
    at="2026-11-28T12:00:00.000+00:00",
    since="2026-11-28T12:00:00.000+00:00",
    summary="2026-11: it ranks worse than when it was judged (AUC -0.040); <check> what moved & why: größer.",
    link="http://127.0.0.1:8090/models/flights",
)
SECRET = "5ecret-of-a-receiver"


@dataclass(frozen=True)
class Case:
    """Settings and secrets of a receiver that works, and of one that fails."""

    works: Mapping[str, SettingValue]
    fails: Mapping[str, SettingValue]
    environment: Mapping[str, str]


@contextmanager
def case(name: str, folder: Path) -> Iterator[Case]:
    """Make a place for alerts, and one that is not there; a new receiver adds its own here."""
    if name == "webhook":
        with http_site() as site:
            yield Case({"url": f"{site.url}/hook"}, {"url": f"http://127.0.0.1:1/{SECRET}"}, {"TOKEN": SECRET})
    elif name == "email":
        with mail_box(folder) as box:
            settings = {"server": "127.0.0.1", "port": box.port, "sender": "headway@example.com", "ca": box.ca}
            settings |= {"recipients": ("ops@example.com",), "user": USER}
            yield Case(settings, {**settings, "port": 1}, {"PASSWORD": PASSWORD})
    else:
        yield Case({"command": ("cat",)}, {"command": ("sh", "-c", "exit 3", SECRET)}, {})


@contextmanager
def opened(name: str, folder: Path, *, works: bool) -> Iterator[Receiver]:
    with case(name, folder) as found:
        environment = {f"HEADWAY_ALERT_OPS_{key}": value for key, value in found.environment.items()}
        settings = found.works if works else found.fails
        yield plugins.load("receiver", name)(
            ReceiverContext(rule="ops", settings=settings, folder=folder, environment=environment)
        )


@pytest.mark.parametrize("name", NAMES)
def test_it_sends_an_alert_and_names_where_without_a_secret(name, tmp_path):
    with opened(name, tmp_path, works=True) as receiver:
        receiver.send(ALERT)
        receiver.send(ALERT)
        assert receiver.address
        assert SECRET not in receiver.address and PASSWORD not in receiver.address


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_that_is_not_taken_fails_without_naming_a_secret(name, tmp_path):
    with opened(name, tmp_path, works=False) as receiver, pytest.raises(DeliveryFailed) as caught:
        receiver.send(ALERT)
    assert SECRET not in f"{caught.value} {caught.value.__cause__} {receiver.address}"
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("settings", [{"unknown": 1}, {}])
def test_settings_that_are_wrong_or_missing_are_refused_with_their_rule(name, settings, tmp_path):
    with pytest.raises(ConfigError) as caught:
        plugins.load("receiver", name)(ReceiverContext(rule="ops", settings=settings, environment={}))
    assert '[[alert]] name = "ops"' in caught.value.where and caught.value.hint
