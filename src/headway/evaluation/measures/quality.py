"""Measures of quality."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="roc_auc",
        title="Ranking (AUC)",
        explanation=(
            "Probability that a random positive is scored above a random negative; 0.5 is chance, 1 is perfect."
        ),
        symbol="AUC",
        drop_violation="It ranks worse than the baseline",
    ),
    Measure(
        name="brier",
        title="Error of the probabilities (Brier)",
        explanation="Mean squared distance of the probability from the outcome; lower is better.",
        symbol="Brier",
        drop_violation="Its probabilities are less accurate than those of the baseline",
        lower_is_better=True,
    ),
    Measure(
        name="log_loss",
        title="Log loss",
        explanation="Mean negative log-likelihood of the outcomes; lower is better.",
        symbol="log loss",
        lower_is_better=True,
    ),
    Measure(
        name="average_precision",
        title="Average precision (AP)",
        explanation="Precision averaged over all thresholds, weighted by the increase in recall; 1 is perfect.",
        symbol="AP",
    ),
    Measure(name="accuracy", title="Accuracy", explanation="Share of rows with the right class.", symbol="accuracy"),
    Measure(
        name="top3_accuracy",
        title="Top-3 accuracy",
        explanation="Share of rows whose class is among the three most probable ones.",
        symbol="top 3",
    ),
    Measure(
        name="f1",
        title="F1",
        explanation="Harmonic mean of precision and recall at the threshold; 1 is perfect.",
        symbol="F1",
    ),
    Measure(
        name="macro_f1",
        title="Macro F1",
        explanation="Mean F1 over the classes or labels, each with the same weight; 1 is perfect.",
        symbol="macro F1",
    ),
    Measure(
        name="micro_f1",
        title="Micro F1",
        explanation="F1 over all labels of all rows together; 1 is perfect.",
        symbol="micro F1",
    ),
    Measure(
        name="exact_match",
        title="Exact match",
        explanation="Share of rows whose labels are all right.",
        symbol="exact match",
    ),
    Measure(
        name="hamming_loss",
        title="Hamming loss",
        explanation="Share of labels that are wrong, over all rows; lower is better.",
        symbol="Hamming loss",
        lower_is_better=True,
    ),
    Measure(
        name="recall",
        title="Recall",
        explanation="Share of the positives that are predicted positive.",
        symbol="recall",
    ),
    Measure(
        name="precision",
        title="Precision",
        explanation="Share of the predicted positives that are positive.",
        symbol="precision",
    ),
    Measure(
        name="false_positive_rate",
        title="False positive rate",
        explanation="Share of the negatives that are predicted positive.",
        symbol="false positive rate",
    ),
    Measure(
        name="rmse",
        title="Root mean squared error (RMSE)",
        explanation="In units of the target; large errors weigh more.",
        symbol="RMSE",
        lower_is_better=True,
    ),
    Measure(
        name="mae",
        title="Mean absolute error (MAE)",
        explanation="In units of the target.",
        symbol="MAE",
        lower_is_better=True,
    ),
    Measure(
        name="mean_error", title="Mean error", explanation="Mean of prediction minus target; 0 where errors cancel."
    ),
    Measure(
        name="r2",
        title="Explained variance (R2)",
        explanation="1 is perfect; 0 is as good as predicting the mean.",
        symbol="R2",
    ),
    Measure(
        name="ndcg10",
        title="Ranking of the first ten (NDCG)",
        explanation="Discounted gain of the first ten rows of a list; 1 is the best order.",
        symbol="NDCG",
    ),
    Measure(
        name="mrr",
        title="Mean reciprocal rank (MRR)",
        explanation="Mean of 1 / rank of the first relevant row; 1 is first in every list.",
        symbol="MRR",
    ),
    Measure(
        name="map",
        title="Mean average precision (MAP)",
        explanation="Precision at each relevant row, averaged; 1 is perfect.",
        symbol="MAP",
    ),
    Measure(
        name="neighbours",
        title="Neighbours kept",
        explanation="Share of the ten nearest neighbours that are those of the baseline.",
        symbol="neighbours kept",
    ),
    Measure(
        name="mean_cosine",
        title="Mean cosine to the baseline",
        explanation="Mean cosine between both answers to a row; 1 is the same direction.",
        symbol="mean cosine",
    ),
    Measure(
        name="cosine",
        title="Smallest cosine to the baseline",
        explanation="Cosine between both answers in the row that turned most.",
        symbol="cosine",
    ),
    Measure(
        name="recall1",
        title="Recall at 1",
        explanation="Share of rows whose nearest neighbour has the same label.",
        symbol="recall at 1",
    ),
    Measure(
        name="recall10",
        title="Recall at 10",
        explanation="Share of rows with the same label among their ten nearest neighbours.",
    ),
    Measure(
        name="base_rate",
        title="Share of positives",
        explanation="Share of rows with a positive outcome.",
        is_share=True,
    ),
    Measure(
        name="test_evaluations",
        title="Evaluations of the test set",
        explanation=(
            "Including this one. After the first, the rows were used for selection and the figures are optimistic."
        ),
    ),
    Measure(name="mse"),
    Measure(name="error_rate"),
)
