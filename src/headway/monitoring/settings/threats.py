"""Assessment of threats, `headway threats`: how often it repeats, and who owns it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import DURATION, SettingsSection


class ThreatsSection(SettingsSection, frozen=True, kw_only=True):
    """Assessment of threats, `headway threats`: how often it repeats, and who owns it."""

    table: ClassVar[str] = "threats"

    every: Annotated[
        str,
        Meta(
            description="Time after which an assessment is due again, and above which evidence is too old: 90d, 12h.",
            pattern=DURATION,
        ),
    ] = "90d"
    level: Annotated[
        int,
        Meta(
            description="Level of requirements that must be covered: 1 (every served model) to 3 (strong attacker).",
            ge=1,
            le=3,
        ),
    ] = 1
    owner: Annotated[str, about("Person or team that decides on gaps.")] = ""


plugin = ThreatsSection
