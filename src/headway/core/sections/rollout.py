"""The section `[rollout]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record


class RolloutSection(Record, frozen=True, kw_only=True):
    """Rollout of a release in stages; each stage must pass the canary rules before the next."""

    shares: Annotated[
        tuple[Annotated[float, Meta(ge=0, lt=1)], ...],
        Meta(
            description="Share of keys that the new release answers, one per stage; 0: shadow traffic, answers are not returned.",
            min_length=1,
        ),
    ] = (0.0, 0.05, 0.25, 0.5)
    min_requests: Annotated[
        int, Meta(description="Minimum requests that the new release answers at a stage before it advances.", ge=0)
    ] = 0
    at_most_hours: Annotated[
        float, Meta(description="Time limit of an undecided stage, hours; then the rollout ends as inconclusive.", gt=0)
    ] = 24.0
    quiet_s: Annotated[
        float,
        Meta(description="Time without requests after which a followed rollout is reported as idle, seconds.", gt=0),
    ] = 300.0
