"""Measures of the model without one of its features."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="ablation.masked.brier.drop",
        title="Increase of the error, masked",
        explanation="Increase of the error without it; below 0 the model is better without it.",
    ),
    Measure(
        name="ablation.masked.mse.drop",
        title="Increase of the error, masked",
        explanation="Increase of the error without it; below 0 the model is better without it.",
    ),
    Measure(
        name="ablation.retrained.brier.drop",
        title="Increase of the error, retrained without",
        explanation="Increase of the error without it; below 0 the model is better without it.",
    ),
    Measure(
        name="ablation.retrained.mse.drop",
        title="Increase of the error, retrained without",
        explanation="Increase of the error without it; below 0 the model is better without it.",
    ),
    Measure(
        name="ablation.harmful",
        title="Harmful features",
        explanation="A model retrained without them has a smaller error.",
    ),
    Measure(
        name="ablation.useless",
        title="Useless features",
        explanation="The model predicts as well when they are masked.",
    ),
    Measure(
        name="ablation.unsettled",
        title="Undecided features",
        explanation="They may be harmful; more groups, seeds or time could decide.",
    ),
    Measure(name="ablation.trainings", title="Models trained"),
)
