"""The section `[rollout]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record


class RolloutSection(Record, frozen=True, kw_only=True):
    """How a release becomes live: stage by stage, each step forward by the judge."""

    shares: Annotated[
        tuple[Annotated[float, Meta(ge=0, lt=1)], ...],
        Meta(
            description="Shares of the keys that it answers, a stage each; at 0 it answers beside live, unheard.",
            min_length=1,
        ),
    ] = (0.0, 0.05, 0.25, 0.5)
    min_requests: Annotated[
        int, Meta(description="Requests that it answers at a stage before it may go forward.", ge=0)
    ] = 0
    at_most_hours: Annotated[
        float, Meta(description="A stage that decides nothing in so many hours ends the rollout inconclusive.", gt=0)
    ] = 24.0
    quiet_s: Annotated[
        float, Meta(description="Seconds without a request after which whoever follows is told that nobody asks.", gt=0)
    ] = 300.0
