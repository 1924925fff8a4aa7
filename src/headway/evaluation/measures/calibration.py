"""Measures of how far probabilities can be trusted."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="ece",
        title="Calibration error (ECE)",
        explanation="Mean distance of the predicted probability from the observed share; lower is better.",
        symbol="ECE",
        violation="Its probabilities are miscalibrated",
        drop_violation="Its probabilities are less calibrated than those of the baseline",
        lower_is_better=True,
        is_quality=True,
        main_for={"binary": 3, "multiclass": 5},
    ),
    Measure(
        name="probability_shift",
        title="Shift of the probabilities",
        explanation="Mean distance of the probability from that of the baseline; lower is better.",
        violation="Its probabilities differ from those of the baseline by more than allowed",
    ),
    Measure(
        name="brier.miscalibration",
        title="Brier score, miscalibration",
        explanation=(
            "What the best recalibration would take off the score; noise alone makes it a little larger than 0."
        ),
    ),
    Measure(
        name="brier.discrimination",
        title="Brier score, discrimination",
        explanation="Gain over predicting the mean for every row, once recalibrated; higher is better.",
    ),
    Measure(
        name="brier.uncertainty",
        title="Brier score, uncertainty",
        explanation="The score of predicting the mean for every row.",
    ),
    Measure(
        name="calibration.bias",
        title="Observed minus predicted",
        explanation="Above 0 the event is more frequent than predicted.",
    ),
    Measure(
        name="calibration.ece",
        title="Calibration error (ECE)",
        explanation="By 5 bins, because a slice has fewer rows.",
        symbol="ECE",
    ),
)
