"""The section `[attack]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class AttackSection(Record, frozen=True, kw_only=True):
    """Search space and effort of the audit `attack`, which changes rows to flip their decisions."""

    fixed: Annotated[tuple[str, ...], about("Features that an attacker cannot change.")] = ()
    bounds: Annotated[
        dict[str, tuple[float, float]],
        about("Range [min, max] within which each numeric feature may be changed; by default the observed range."),
    ] = {}
    columns: Annotated[int, Meta(description="Maximum features of a row changed at once.", ge=1)] = 2
    reach: Annotated[
        float, Meta(description="Maximum change of a numeric feature, in interquartile ranges of its column.", gt=0)
    ] = 1.0
    rows: Annotated[int, Meta(description="Rows to attack, spread over all groups.", ge=20)] = 1000
    queries: Annotated[
        int, Meta(description="Maximum decisions per row and model; a row not flipped by then counts as robust.", ge=20)
    ] = 1000
