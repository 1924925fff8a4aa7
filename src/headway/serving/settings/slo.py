"""Service-level objectives."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class SloSection(SettingsSection, frozen=True, kw_only=True):
    """Service-level objectives."""

    table: ClassVar[str] = "slo"

    p99_ms: Annotated[float, about("Objective for the 99th percentile of request latency, ms.")] = 50.0
    availability: Annotated[
        float, about("Objective for the share of requests neither refused nor failed by a server error, in (0, 1).")
    ] = 0.999


plugin = SloSection
