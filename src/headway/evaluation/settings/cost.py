"""Cost of the serving machine."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class CostSection(SettingsSection, frozen=True, kw_only=True):
    """Cost of the serving machine."""

    table: ClassVar[str] = "cost"

    core_hour: Annotated[
        float,
        Meta(description="Price of one core for an hour (machine price / cores); 0: unknown.", ge=0),
    ] = 0.0
    currency: Annotated[str, about("Currency of `core_hour`.")] = "USD"


plugin = CostSection
