"""Measures of differences between groups of people."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(name="bias.tpr", title="True positive rate"),
    Measure(name="bias.fpr", title="False positive rate"),
    Measure(name="bias.selection", title="Selection rate"),
    Measure(name="bias.calibration", title="Observed minus predicted"),
    Measure(name="bias.ece", title="Calibration error (ECE)", symbol="ECE"),
    Measure(name="bias.error", title="Mean error"),
    Measure(
        name="bias.tpr_gap",
        title="Gap in the true positive rate",
        explanation="Difference of this group from all others (equal opportunity).",
    ),
    Measure(
        name="bias.fpr_gap",
        title="Gap in the false positive rate",
        explanation="Difference of this group from all others.",
    ),
    Measure(
        name="bias.selection_gap",
        title="Gap in the selection rate",
        explanation="Difference of this group from all others (demographic parity).",
    ),
    Measure(
        name="bias.calibration_gap",
        title="Gap in calibration",
        explanation="Observed minus predicted, compared with all others.",
    ),
    Measure(
        name="bias.ece_gap",
        title="Gap in the calibration error (ECE)",
        explanation="Difference of this group from all others.",
        symbol="ECE",
    ),
    Measure(
        name="bias.error_gap", title="Gap in the mean error", explanation="Difference of this group from all others."
    ),
)
