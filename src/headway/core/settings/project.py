"""Name and state folder of the project."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class ProjectSection(SettingsSection, frozen=True, kw_only=True):
    """Name and state folder of the project."""

    table: ClassVar[str] = "project"

    name: Annotated[str, about("Model name, used by releases and pointers.")] = "model"
    state: Annotated[str, about("Folder of releases, records and logs, relative to the project.")] = ".headway"


plugin = ProjectSection
