"""What a receiver of alerts is: it is made from the settings of a rule, and sends one alert at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from headway.core import plugins
from headway.core.alerting import Alert
from headway.core.config import FILE, Config
from headway.core.errors import ConfigError, HeadwayError
from headway.core.record import Record
from headway.monitoring.settings.alert import AlertRule, SettingValue

SettingsType = TypeVar("SettingsType", bound=Record)
MAX_SECRET_BYTES = 4096


class DeliveryFailed(HeadwayError):
    """A receiver did not take an alert; it is sent again later. The message holds no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverContext:
    """What a receiver is made from: the settings of its rule, and the secrets that the environment has for it."""

    rule: str
    settings: Mapping[str, SettingValue]
    folder: Path = Path(".")
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)

    @property
    def where(self) -> str:
        """Where the settings are written."""
        return f'{FILE} [[alert]] name = "{self.rule}"'

    def read_settings(self, kind: type[SettingsType]) -> SettingsType:
        """Return the settings as a record; raises ConfigError, which names the wrong one."""
        try:
            return msgspec.convert(dict(self.settings), kind)
        except msgspec.ValidationError as error:
            known = ", ".join(one.name for one in msgspec.structs.fields(kind))
            raise ConfigError(f"settings: {error}", where=self.where, hint=f"settings are: {known}") from error

    def variable(self, name: str) -> str:
        """Return the environment variable of a secret, such as HEADWAY_ALERT_ON_CALL_PASSWORD."""
        return f"HEADWAY_ALERT_{self.rule.upper().replace('-', '_')}_{name}"

    def secret(self, name: str) -> str:
        """Return a secret from its variable, or from the file that `<variable>_FILE` names; empty if neither is set."""
        variable = self.variable(name)
        path = self.environment.get(f"{variable}_FILE")
        if path is None:
            return self.environment.get(variable, "")
        try:
            with Path(path).open("rb") as file:
                return file.read(MAX_SECRET_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"the file of a secret cannot be read: {reason}", where=f"{variable}_FILE") from error


class Receiver(Protocol):
    """Sends alerts to one place. An attempt ends within 30 s; what it raises holds no secret."""

    def __init__(self, context: ReceiverContext) -> None:
        """Read the settings; raises ConfigError if one is missing or wrong."""
        ...

    @property
    def address(self) -> str:
        """Where it sends to, without secrets."""
        ...

    def send(self, alert: Alert) -> None:
        """Send an alert; raises DeliveryFailed if it was not taken."""
        ...


def open_receiver(config: Config, rule: AlertRule) -> Receiver:
    """Return the receiver of a rule; raises ConfigError for wrong settings, PluginError for an unknown receiver."""
    kind: type[Receiver] = plugins.load("receiver", rule.to)
    return kind(ReceiverContext(rule=rule.name, settings=rule.settings, folder=Path(config.folder)))


def shorten(text: str, *, at_most: int) -> str:
    """Return a text of at most so many characters, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= at_most else f"{text[: at_most - 3]}..."
