"""Measures of corrupted inputs."""

from __future__ import annotations

from headway.core.measure import Measure, MeasurePrefix

CORRUPTIONS = {
    "missing": "Missing value",
    "unseen": "Unseen category",
    "stale": "Value of the previous group",
    "swapped": "Two columns swapped",
    "noise": "Noise added",
    "unit": "Value in another unit",
    "months": "One month against all others",
    "typos": "Typos",
    "case": "Other case",
    "truncated": "Truncated text",
    "spaces": "Other white space",
    "accents": "Other accents or quotes",
    "paraphrase": "Paraphrased text",
}
"""Name of each corruption of an input."""

plugin = (
    Measure(
        name="excess",
        title="Increase of the error",
        explanation="Error on these rows minus that on the original rows, or in other months.",
    ),
    Measure(
        name="drop",
        title="Error compared with the baseline",
        explanation="Error minus that of the baseline, on the same rows.",
    ),
    Measure(
        name="roc_auc.decrease",
        title="Decrease of the AUC",
        explanation="AUC on the original rows minus that on these rows.",
    ),
    Measure(
        name="changed_decisions",
        title="Decisions changed",
        explanation="Share of rows whose decision changes.",
        is_share=True,
    ),
    *(
        MeasurePrefix(
            prefix=f"robustness.{kind}.",
            title=f"{name}: ",
            violation=f"It is less robust to corrupted inputs than the baseline ({name.lower()})",
        )
        for kind, name in CORRUPTIONS.items()
    ),
)
