"""Rules for releases, rollouts, monitoring and retraining, and the minimum sizes of slices."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection
from headway.core.verdict import Rule


class PolicySection(SettingsSection, frozen=True, kw_only=True):
    """Rules for releases, rollouts, monitoring and retraining, and the minimum sizes of slices."""

    table: ClassVar[str] = "policy"

    release: Annotated[
        tuple[Rule, ...], about("Rules that a variant must pass to be released; empty: the default rules of the task.")
    ] = ()
    floor: Annotated[
        str,
        Meta(
            description="What a release must be better than: data (adds rules on the gain over the constant prediction "
            "and over a simple reference model), none (rules may all be relative to the baseline); empty: the rules "
            "must hold an absolute one, or nothing passes.",
            pattern="^(|data|none)$",
        ),
    ] = ""
    canary: Annotated[
        tuple[Rule, ...],
        about("Rules that a canary must pass against live; empty: from the release's verdict and [slo]."),
    ] = ()
    watch: Annotated[
        tuple[Rule, ...],
        about(
            "Rules on live in each period: on its quality, on its change since the evaluation (`.change`), or on cost."
        ),
    ] = ()
    retrain: Annotated[
        tuple[Rule, ...],
        about(
            "Rules that a retrained model must pass against live; empty: `brier.drop` at most 0, relative release "
            "rules."
        ),
    ] = ()
    contract_margin: Annotated[
        float, Meta(description="Tolerance beyond the observed range of a column, as a share of that range.", ge=0)
    ] = 0.1
    slice_rows: Annotated[int, about("Minimum rows of a slice to be judged.")] = 1000
    slice_groups: Annotated[int, about("Minimum groups of a slice to be judged, and of any confidence interval.")] = 20


plugin = PolicySection
