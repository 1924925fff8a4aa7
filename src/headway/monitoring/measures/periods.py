"""Measures that only monitored periods have."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="cost.month",
        title="Additional cost per month",
        explanation="Of its decisions, compared with when it was judged.",
        lower_is_better=True,
        in_policies=False,
    ),
    Measure(
        name="retrain.expected_loss",
        title="Additional cost per month",
        explanation="Of its decisions, compared with when it was judged.",
        in_policies=False,
    ),
    Measure(
        name="ece.split",
        title="Calibration error, corrected for noise",
        explanation="Measured on one half of the groups, by the bins of the other.",
        in_policies=False,
    ),
    Measure(name="roc_auc.change", title="AUC, change since it was judged", in_policies=False),
    Measure(name="roc_auc.estimated", title="AUC, estimated before labels arrived", in_policies=False),
    Measure(name="brier.change", title="Brier score, change since it was judged", in_policies=False),
    Measure(name="brier.estimated", title="Brier score, estimated before labels arrived", in_policies=False),
    Measure(name="ece.change", title="Calibration error, change since it was judged", in_policies=False),
    Measure(name="ece.estimated", title="Calibration error, estimated before labels arrived", in_policies=False),
    Measure(
        name="drift.loss",
        title="Cost of its drift a row",
        explanation="Estimated, in the unit of [model] costs.",
        in_policies=False,
    ),
    Measure(
        name="drift.distance",
        title="Distance of the inputs",
        explanation="0: as when it was judged, 1: nothing in common.",
        in_policies=False,
    ),
    Measure(
        name="drift.p",
        title="Drift of the inputs (p-value)",
        explanation="A small value shows that the inputs moved since it was judged.",
        in_policies=False,
    ),
)
