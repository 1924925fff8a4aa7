"""Triggers of retraining, promotion of the result, and recalibration in between."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from headway.core.record import about
from headway.core.settings_section import SettingsSection


class RetrainSection(SettingsSection, frozen=True, kw_only=True):
    """Triggers of retraining, promotion of the result, and recalibration in between."""

    table: ClassVar[str] = "retrain"

    mode: Annotated[
        str,
        Meta(
            description="suggest: a person promotes the retrained model; auto: promote it if it passes.",
            pattern="^(suggest|auto)$",
        ),
    ] = "suggest"
    through: Annotated[
        str,
        Meta(
            description="Promotion of a retrained model that passed: canary (by a rollout) or live (at once).",
            pattern="^(canary|live)$",
        ),
    ] = "canary"
    rows_grown: Annotated[float, about("Retrain once labeled rows have grown by this share since training.")] = 0.5
    ece_at_most: Annotated[
        float, about("Retrain once the expected calibration error is shown to exceed this value.")
    ] = 0.05
    recalibrate_days: Annotated[
        int, about("Latest labeled groups, such as days, on which recalibration is fitted and judged; at least 7.")
    ] = 28
    recalibrate_by: Annotated[
        str,
        Meta(
            description="Calibrator: shift, platt, temperature, beta, isotonic or venn_abers; best: the best of them.",
            pattern="^(shift|platt|temperature|beta|isotonic|venn_abers|best)$",
        ),
    ] = "shift"
    seeds: Annotated[int, about("Trainings with different random seeds, to estimate the variance between seeds.")] = 3
    judged_days: Annotated[
        int, about("Latest labeled days, held out of training, on which the retrained model is judged.")
    ] = 28
    hour_costs: Annotated[float, about("Cost of an hour of training, in the unit of [model] costs; 0: free.")] = 0.0
    accept_out_of_range: Annotated[
        tuple[str, ...],
        about("Inputs that the world, and no broken feed, moved out of their range: their days train and judge."),
    ] = ()


plugin = RetrainSection
