"""Measures of what answers say about training rows."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="privacy.membership.auc",
        title="Members distinguished from non-members",
        explanation=(
            "Area under the ROC curve of an attack that guesses which rows the model was trained on; 0.5 is by chance."
        ),
        violation="Its answers give away which rows it was trained on",
    ),
    Measure(
        name="privacy.membership.tpr_1pct",
        title="Training rows recognized at 1 % false alarms",
        explanation=(
            "Share of the training rows that the attack recognizes while it accuses 1 % of other rows; 0.01 is "
            "by chance."
        ),
        violation="Its answers give away which rows it was trained on",
    ),
    Measure(
        name="privacy.membership.tpr_0.1pct",
        title="Training rows recognized at 0.1 % false alarms",
        explanation=(
            "Share of the training rows that the attack recognizes while it accuses 0.1 % of others; 0.001 is by "
            "chance."
        ),
        violation="Its answers give away which rows it was trained on",
    ),
    Measure(
        name="privacy.membership.auc.difference",
        title="Members distinguished, compared with the baseline",
        explanation="Area minus that of the baseline, on the same models; below 0 less is given away.",
    ),
    Measure(
        name="privacy.membership.tpr_1pct.difference",
        title="Training rows recognized, compared with the baseline",
        explanation="Share minus that of the baseline, on the same models; below 0 less is given away.",
    ),
    Measure(
        name="privacy.membership.roc",
        title="Training rows recognized",
        explanation="At the share of other rows that are accused.",
    ),
    Measure(
        name="privacy.membership.exposed",
        title="Exposed training rows",
        explanation=(
            "At least half of the models that were trained on such a row give it away, and hardly any other model."
        ),
    ),
    Measure(
        name="privacy.membership.row", title="Models that give the row away", explanation="Of those trained on it."
    ),
    Measure(name="privacy.membership.models", title="Models attacked"),
)
