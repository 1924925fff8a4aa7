"""Rollout of a release in stages; each stage must pass the canary rules before the next."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class RolloutSection(SettingsSection, frozen=True, kw_only=True):
    """Rollout of a release in stages; each stage must pass the canary rules before the next."""

    table: ClassVar[str] = "rollout"

    shares: Annotated[
        tuple[Annotated[float, Meta(ge=0, lt=1)], ...],
        Meta(
            description="Share of keys that the new release answers, one per stage; 0: shadow traffic, answers are not "
            "returned.",
            min_length=1,
        ),
    ] = (0.0, 0.05, 0.25, 0.5)
    min_requests: Annotated[
        int, Meta(description="Minimum requests that the new release answers at a stage before it advances.", ge=0)
    ] = 0
    at_most_hours: Annotated[
        float, Meta(description="Time limit of an undecided stage, hours; then the rollout ends as inconclusive.", gt=0)
    ] = 24.0
    churn_same_model: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        about(
            "Largest share of decisions that may differ from live's if the release is another form of the live model, "
            "such as a faster engine; default: the release's own limit on decision_churn."
        ),
    ] = None
    churn_new_model: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        about(
            "Largest share of decisions that may differ from live's if the release is a new model, such as a "
            "retraining; default: twice the upper bound that its evaluation against live showed, at least 0.05; 0.2 "
            "without one."
        ),
    ] = None
    quiet_s: Annotated[
        float,
        Meta(description="Time without requests after which a followed rollout is reported as idle, seconds.", gt=0),
    ] = 300.0


plugin = RolloutSection
