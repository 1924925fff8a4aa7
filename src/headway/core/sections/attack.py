"""The section `[attack]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class AttackSection(Record, frozen=True, kw_only=True):
    """What the audit `attack` may change in a row to flip its decision, and how hard it searches."""

    fixed: Annotated[tuple[str, ...], about("Features that nobody can change at will: they stay as they are.")] = ()
    bounds: Annotated[
        dict[str, tuple[float, float]],
        about("Least and most to which a number may be changed, a line each; without one, those that were seen."),
    ] = {}
    columns: Annotated[int, Meta(description="Most features of a row that are changed at once.", ge=1)] = 2
    reach: Annotated[
        float, Meta(description="Furthest that a number is moved, in interquartile ranges of its column.", gt=0)
    ] = 1.0
    rows: Annotated[int, Meta(description="Rows that are attacked, spread over all groups.", ge=20)] = 1000
    queries: Annotated[
        int, Meta(description="Decisions that each model is asked for, of each row, before it counts as held.", ge=20)
    ] = 1000
