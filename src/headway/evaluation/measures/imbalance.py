"""Measures of what the treatment of rare classes does."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(name="imbalance.base_rate", title="Share of positives"),
    Measure(name="imbalance.roc_auc", title="Ranking (ROC AUC)", symbol="ROC AUC"),
    Measure(name="imbalance.roc_auc.drop", title="Ranking (ROC AUC), compared with no treatment"),
    Measure(name="imbalance.brier", title="Error of the probabilities (Brier)", symbol="Brier"),
    Measure(name="imbalance.brier.drop", title="Error of the probabilities (Brier), compared with no treatment"),
    Measure(name="imbalance.cost", title="Cost of a decision"),
    Measure(name="imbalance.cost.drop", title="Cost of a decision, compared with no treatment"),
    Measure(name="imbalance.recall", title="Recall"),
    Measure(name="imbalance.recall.drop", title="Recall, compared with no treatment"),
    Measure(name="imbalance.false_positive_rate", title="False positive rate"),
    Measure(name="imbalance.false_positive_rate.drop", title="False positive rate, compared with no treatment"),
)
