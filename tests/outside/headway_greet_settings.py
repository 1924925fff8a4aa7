"""How a project is greeted: the settings of the tests, installed like any third-party package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from headway.core.record import FormerValues, about
from headway.core.settings_section import SettingsSection


class GreetSection(SettingsSection, frozen=True, kw_only=True):
    """How a project is greeted."""

    table: ClassVar[str] = "greet"
    former_names: ClassVar[Mapping[str, str]] = {"hello": "salutation"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {"tone": {"nice": "friendly"}}

    salutation: Annotated[str, about("First word of a greeting.")] = "hello"
    tone: Annotated[str, about("Tone of a greeting: plain or friendly.")] = "plain"


plugin = GreetSection
