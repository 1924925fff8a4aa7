"""The section `[retrain]` of headway.toml."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from headway.core.record import Record, about


class RetrainSection(Record, frozen=True, kw_only=True):
    """When the live release is retrained, and how its probabilities are calibrated in between."""

    mode: Annotated[
        str, Meta(description="suggest opens a ticket and waits for a person; auto acts.", pattern="^(suggest|auto)$")
    ] = "suggest"
    through: Annotated[
        str,
        Meta(
            description="How one that passed takes the place of live: canary, by a rollout beside it; live, at once.",
            pattern="^(canary|live)$",
        ),
    ] = "canary"
    rows_grown: Annotated[float, about("Train anew once labelled rows have grown by this share since training.")] = 0.5
    ece_at_most: Annotated[float, about("Train anew once the calibration error is shown to be above this.")] = 0.05
    recalibrate_days: Annotated[
        int, about("Last labelled groups from which probabilities are set right; 0: never.")
    ] = 28
    recalibrate_by: Annotated[
        str,
        Meta(
            description="Repair of probabilities: shift, platt, temperature, beta, isotonic, venn_abers; best chooses.",
            pattern="^(shift|platt|temperature|beta|isotonic|venn_abers|best)$",
        ),
    ] = "shift"
    seeds: Annotated[int, about("Trainings that differ by chance alone, for the variance that a seed brings.")] = 3
    judged_days: Annotated[int, about("Last labelled days, kept out of training, on which it is judged.")] = 28
    hour_costs: Annotated[float, about("What an hour of training costs, in the unit of [model] costs.")] = 0.0
