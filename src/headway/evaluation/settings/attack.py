"""Search space and effort of the audits `attack` and `evasion`, which change rows, and of `extraction`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class AttackSection(SettingsSection, frozen=True, kw_only=True):
    """Search space and effort of the audits `attack` and `evasion`, which change rows, and of `extraction`."""

    table: ClassVar[str] = "attack"

    fixed: Annotated[tuple[str, ...], about("Features that an attacker cannot change.")] = ()
    bounds: Annotated[
        dict[str, tuple[float, float]],
        about("Range [min, max] within which each numeric feature may be changed; by default the observed range."),
    ] = {}
    cost: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        about("Cost of changing each feature, which multiplies its distance in the audit `evasion`; by default 1."),
    ] = {}
    columns: Annotated[int, Meta(description="Maximum features of a row changed at once.", ge=1)] = 2
    reach: Annotated[
        float, Meta(description="Maximum change of a numeric feature, in interquartile ranges of its column.", gt=0)
    ] = 1.0
    radius: Annotated[
        float,
        Meta(description="Radius of `evasion.certified`, in interquartile ranges times the cost of a feature.", gt=0),
    ] = 0.05
    rows: Annotated[int, Meta(description="Rows to attack, spread over all groups.", ge=20)] = 1000
    queries: Annotated[
        int, Meta(description="Maximum decisions per row and model; a row not flipped by then counts as robust.", ge=20)
    ] = 1000
    copy_queries: Annotated[
        int, Meta(description="Maximum queries of an attack of the audit `extraction`, which copies the model.", ge=100)
    ] = 10_000


plugin = AttackSection
