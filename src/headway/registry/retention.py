"""How long rows of requests are kept."""

from __future__ import annotations

from datetime import timedelta

from headway.core.config import Config, parse_age
from headway.data.settings.personal import PersonalSection
from headway.registry.settings.record import RecordSection


def max_log_age(config: Config) -> timedelta | None:
    """Return the age at which log, labels and quarantine are deleted; None without a retention, and during a hold."""
    retention = config[PersonalSection].retention
    return parse_age(retention) if retention and not config[RecordSection].legal_hold else None
