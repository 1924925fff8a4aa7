"""Rules of alerts; in headway.toml each is a table `[[alert]]`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core import plugins
from headway.core.record import Record, about
from headway.core.settings_section import SettingsSection

SettingValue = bool | int | float | str | tuple[str, ...]


class AlertRule(Record, frozen=True, kw_only=True):
    """Conditions to watch, and the receiver: `when` (empty: all), `to`, and its `settings`.

    `not_judged` fires after `periods` periods in a row, `quarantine` above `quarantine_share` of the rows of the last
    contract check, and `log_lag` above `log_lag_s` seconds. `resolved` also sends the end of a condition.
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,39}$")]
    to: str
    settings: dict[str, SettingValue] = {}
    when: tuple[str, ...] = ()
    resolved: bool = True
    periods: Annotated[int, Meta(ge=1)] = 2
    quarantine_share: Annotated[float, Meta(ge=0, lt=1)] = 0.01
    log_lag_s: Annotated[float, Meta(gt=0)] = 60.0

    def __post_init__(self) -> None:
        plugins.require("condition", self.when, field="when")


class AlertSection(SettingsSection, frozen=True, kw_only=True):
    """Rules of alerts; in headway.toml each is a table `[[alert]]`."""

    table: ClassVar[str] = "alert"
    secret_variables: ClassVar[tuple[str, ...]] = ("HEADWAY_ALERT_[A-Z0-9_]+_(URL|TOKEN|PASSWORD)",)

    rules: Annotated[tuple[AlertRule, ...], about("Rules: which conditions are sent to which receiver.")] = ()

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules have the name '{twice}'")


plugin = AlertSection
