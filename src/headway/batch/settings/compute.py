"""Where work that can be shared runs."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.settings_section import SettingsSection


class ComputeSection(SettingsSection, frozen=True, kw_only=True):
    """Where work that can be shared runs."""

    table: ClassVar[str] = "compute"

    ray: Annotated[
        str,
        Meta(
            description="Ray, over which predict, evaluate, retrain and optimize share work: auto (the cluster of "
            "RAY_ADDRESS, else a Ray of its own on this machine) or ray://HOST:PORT; empty: this process alone.",
            pattern="^(|auto|ray://[^@/]+:[0-9]+)$",
        ),
    ] = ""


plugin = ComputeSection
