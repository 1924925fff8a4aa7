"""Titles, short names and explanations of measures, for readers who are not statisticians."""

from __future__ import annotations

import difflib

from headway.core.evidence import Evidence, Measurement
from headway.core.search_result import SearchResult
from headway.core.selective import AnswerPlan
from headway.core.verdict import LIVE, Answer, Rule, RuleResult
from headway.reporting.text import formatting
from headway.reporting.text.speeds import busy_finding

QUALITY = ("roc_auc", "brier", "ece", "log_loss", "rmse", "mae")
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece", "rmse", "mae", "hamming_loss", "cost.month"})
COST_UNIT = "units of [model] costs"
"""Unit of the cost of decisions: that in which the project declares the costs of its errors."""
ANSWERS: dict[Answer, str] = {"pass": "passes", "fail": "fails", "undecided": "is undecided"}

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
# Short names; a measure that is not listed is called by its title.
_SYMBOLS = {
    "roc_auc": "AUC",
    "brier": "Brier",
    "log_loss": "log loss",
    "average_precision": "AP",
    "accuracy": "accuracy",
    "top3_accuracy": "top 3",
    "f1": "F1",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "exact_match": "exact match",
    "hamming_loss": "Hamming loss",
    "recall": "recall",
    "precision": "precision",
    "false_positive_rate": "false positive rate",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "ndcg10": "NDCG",
    "mrr": "MRR",
    "map": "MAP",
    "neighbours": "neighbours kept",
    "mean_cosine": "mean cosine",
    "cosine": "cosine",
    "recall1": "recall at 1",
    "ece": "ECE",
    "bias.ece": "ECE",
    "bias.ece_gap": "ECE",
    "calibration.ece": "ECE",
    "cost": "cost",
    "imbalance.roc_auc": "ROC AUC",
    "imbalance.brier": "Brier",
}
_PERCENTILES = {"50": "Median", "90": "90th percentile", "99": "99th percentile", "999": "99.9th percentile"}
_WITHOUT = "Without the component, divided by with it; above 1 the component saves time."
_MORE = "Increase of the error without it; below 0 the model is better without it."
_IMBALANCE = {
    "roc_auc": "Ranking (ROC AUC)",
    "brier": "Error of the probabilities (Brier)",
    "cost": "Cost of a decision",
    "recall": "Recall",
    "false_positive_rate": "False positive rate",
}
# Title and explanation of each measure.
_NAMES: dict[str, tuple[str, str]] = {
    "roc_auc": (
        "Ranking (AUC)",
        "Probability that a random positive is scored above a random negative; 0.5 is chance, 1 is perfect.",
    ),
    "brier": (
        "Error of the probabilities (Brier)",
        "Mean squared distance of the probability from the outcome; lower is better.",
    ),
    "answer.coverage": ("Rows that the model answers", "Share of the rows whose confidence reaches the threshold."),
    "answer.risk": (
        "Wrong answers",
        "Share of the answered rows that are wrong; the upper end is the bound of an exact test on held-out rows.",
    ),
    "answer.groups_needed": ("Held-out rows or groups for a certificate", "Estimated from the rows of validation."),
    "answer.cost_per_thousand": ("Cost of the other stages", "For a thousand rows, in the currency of [cost]."),
    "answer.curve_coverage": ("Rows answered at another threshold", ""),
    "answer.curve_risk": ("Wrong answers at another threshold", ""),
    "log_loss": ("Log loss", "Mean negative log-likelihood of the outcomes; lower is better."),
    "average_precision": (
        "Average precision (AP)",
        "Precision averaged over all thresholds, weighted by the increase in recall; 1 is perfect.",
    ),
    "accuracy": ("Accuracy", "Share of rows with the right class."),
    "top3_accuracy": ("Top-3 accuracy", "Share of rows whose class is among the three most probable ones."),
    "f1": ("F1", "Harmonic mean of precision and recall at the threshold; 1 is perfect."),
    "macro_f1": ("Macro F1", "Mean F1 over the classes or labels, each with the same weight; 1 is perfect."),
    "micro_f1": ("Micro F1", "F1 over all labels of all rows together; 1 is perfect."),
    "exact_match": ("Exact match", "Share of rows whose labels are all right."),
    "hamming_loss": ("Hamming loss", "Share of labels that are wrong, over all rows; lower is better."),
    "recall": ("Recall", "Share of the positives that are predicted positive."),
    "precision": ("Precision", "Share of the predicted positives that are positive."),
    "false_positive_rate": ("False positive rate", "Share of the negatives that are predicted positive."),
    "rmse": (
        "Root mean squared error (RMSE)",
        "In units of the target; large errors weigh more.",
    ),
    "mae": ("Mean absolute error (MAE)", "In units of the target."),
    "mean_error": ("Mean error", "Mean of prediction minus target; 0 where errors cancel."),
    "r2": ("Explained variance (R2)", "1 is perfect; 0 is as good as predicting the mean."),
    "ndcg10": (
        "Ranking of the first ten (NDCG)",
        "Discounted gain of the first ten rows of a list; 1 is the best order.",
    ),
    "mrr": ("Mean reciprocal rank (MRR)", "Mean of 1 / rank of the first relevant row; 1 is first in every list."),
    "map": ("Mean average precision (MAP)", "Precision at each relevant row, averaged; 1 is perfect."),
    "neighbours": ("Neighbours kept", "Share of the ten nearest neighbours that are those of the baseline."),
    "mean_cosine": (
        "Mean cosine to the baseline",
        "Mean cosine between both answers to a row; 1 is the same direction.",
    ),
    "cosine": ("Smallest cosine to the baseline", "Cosine between both answers in the row that turned most."),
    "recall1": ("Recall at 1", "Share of rows whose nearest neighbour has the same label."),
    "recall10": ("Recall at 10", "Share of rows with the same label among their ten nearest neighbours."),
    "ece": (
        "Calibration error (ECE)",
        "Mean distance of the predicted probability from the observed share; lower is better.",
    ),
    "probability_shift": (
        "Shift of the probabilities",
        "Mean distance of the probability from that of the baseline; lower is better.",
    ),
    "gain_over_constant": (
        "Gain over a constant prediction",
        "Share of the loss of a constant prediction that the model avoids; 0 is as good, 1 is perfect.",
    ),
    "gain_over_reference": (
        "Gain over a simple reference model",
        "Loss that the model avoids and one tree of depth 3 does not, as a share of that of a constant prediction.",
    ),
    "base_rate": ("Share of positives", "Share of rows with a positive outcome."),
    "max_change": ("Largest change of a probability", "The largest change of any single row."),
    "decision_churn": ("Decisions changed", "Share of rows whose decision differs from that of the baseline."),
    "decision_churn.near": (
        "Decisions changed near the threshold",
        "Of the tenth of the rows whose baseline score is nearest to the threshold.",
    ),
    **{f"change.p{share}": (f"Change of a prediction, {name.lower()}", "") for share, name in _PERCENTILES.items()},
    "cost": (
        "Cost of a decision",
        "Mean cost of a row, with the declared costs of false positives and false negatives.",
    ),
    "threshold": ("Decision threshold", "Rows with this probability or a higher one are predicted positive."),
    # Speed, memory and cost
    "latency.one_row": ("Latency of one row", "From a row in memory to its prediction, in microseconds."),
    "latency.speedup": ("Speedup for one row", "Latency of the baseline divided by that of this variant."),
    "latency.as_called": ("Latency of one row, as you call it", "With the conversion of the row, in microseconds."),
    "latency.as_called.speedup": ("Speedup as you call it", "Your own object's call divided by that of this variant."),
    "throughput.batch": ("Throughput in batches", "Rows per second."),
    "throughput.speedup": ("Speedup in batches", "Throughput of this variant divided by that of the baseline."),
    "cost.per_million.one_row": ("Cost of a million rows, one by one", "Of the model alone, at the declared price."),
    "cost.per_million.batch": ("Cost of a million rows, in batches", "Of the model alone, at the declared price."),
    "cost.cpu_s.one_row": ("CPU seconds of a million rows, one by one", "CPU time of all threads."),
    "cost.cpu_s.batch": ("CPU seconds of a million rows, in batches", "CPU time of all threads."),
    "cost.energy_j.one_row": (
        "Energy of a million rows, one by one",
        "Of the processor's packages, idle power included.",
    ),
    "cost.energy_j.batch": (
        "Energy of a million rows, in batches",
        "Of the processor's packages, idle power included.",
    ),
    **{
        f"cost.cpu_s.{how}.speedup": (f"CPU time of the baseline divided by that of this variant, {what}", "")
        for how, what in (("one_row", "one row"), ("batch", "in batches"), ("as_called", "as you call it"))
    },
    "start.seconds": ("Cold start", "From the start of a process to its first prediction."),
    "start.memory_mb": ("Memory of a process", "Resident memory after the first prediction."),
    "request.p50": ("Median request time", ""),
    "request.p99": ("99th percentile of the request time", ""),
    **{
        f"{shape}.p{share}_ms": (f"Request time {how}, {_PERCENTILES[share].lower()}", "")
        for share in ("50", "99")
        for shape, how in {
            "load.alone": "with one client",
            "load": "at a steady rate",
            "load.bursts": "in bursts",
            "load.ramp": "at a growing rate",
        }.items()
    },
    "load.start_s": ("Start of the server", "From the start of a process to its first right answer over HTTP."),
    "load.rows_per_s": ("Throughput of the server, in batches", "Rows per second over HTTP."),
    "load.memory_mb": ("Memory of the server", "Of all its processes."),
    "load.memory_without_model_mb": ("Memory of the server without the model file", ""),
    "load.failed": ("Failed requests", "Requests without a right answer."),
    # Fairness, calibration and conformal prediction
    "bias.tpr": ("True positive rate", ""),
    "bias.fpr": ("False positive rate", ""),
    "bias.selection": ("Selection rate", ""),
    "bias.calibration": ("Observed minus predicted", ""),
    "bias.ece": ("Calibration error (ECE)", ""),
    "bias.error": ("Mean error", ""),
    "bias.tpr_gap": ("Gap in the true positive rate", "Difference of this group from all others (equal opportunity)."),
    "bias.fpr_gap": ("Gap in the false positive rate", "Difference of this group from all others."),
    "bias.selection_gap": (
        "Gap in the selection rate",
        "Difference of this group from all others (demographic parity).",
    ),
    "bias.calibration_gap": ("Gap in calibration", "Observed minus predicted, compared with all others."),
    "bias.ece_gap": ("Gap in the calibration error (ECE)", "Difference of this group from all others."),
    "bias.error_gap": ("Gap in the mean error", "Difference of this group from all others."),
    "brier.miscalibration": (
        "Brier score, miscalibration",
        "What the best recalibration would take off the score; noise alone makes it a little larger than 0.",
    ),
    "brier.discrimination": (
        "Brier score, discrimination",
        "Gain over predicting the mean for every row, once recalibrated; higher is better.",
    ),
    "brier.uncertainty": ("Brier score, uncertainty", "The score of predicting the mean for every row."),
    "calibration.bias": ("Observed minus predicted", "Above 0 the event is more frequent than predicted."),
    "calibration.ece": ("Calibration error (ECE)", "By 5 bins, because a slice has fewer rows."),
    "conformal.coverage": ("Coverage", "Share of rows whose prediction set holds the true value."),
    "conformal.size": ("Size of a prediction set", "Mean number of classes in a set; 1 is certain."),
    "conformal.width": ("Width of an interval", "Mean distance of its ends."),
    "conformal.endless": ("Unbounded intervals", "Because the previous ones missed too often."),
    # Slices, missing values and corrupted inputs
    "discovered.compared": ("Slices compared", "Combinations of columns with enough rows."),
    "discovered.confirmed": ("Slices confirmed to be worse", "Found on one half of the rows, confirmed on the other."),
    "missing.decision_churn": ("Decisions changed where a value is missing", ""),
    "missing.brier.drop": ("Loss in Brier where a value is missing", ""),
    "missing.mse.drop": ("Loss in squared error where a value is missing", ""),
    "excess": ("Increase of the error", "Error on these rows minus that on the original rows, or in other months."),
    "drop": ("Error compared with the baseline", "Error minus that of the baseline, on the same rows."),
    "roc_auc.decrease": ("Decrease of the AUC", "AUC on the original rows minus that on these rows."),
    "changed_decisions": ("Decisions changed", "Share of rows whose decision changes."),
    # Attacks
    "attack.success": (
        "Decisions flipped by an attack",
        "By a small change of a row; the attacker sees decisions only.",
    ),
    "attack.success.drop": (
        "Decisions flipped by an attack, compared with the baseline",
        "Share minus that of the baseline, for the same attack on the same rows; below 0 is more robust.",
    ),
    "attack.column.success": ("Decisions flipped by one column", "The largest of these is the weakest point."),
    "attack.column.success.drop": ("Decisions flipped by one column", "Compared with the baseline."),
    "attack.columns": ("Columns changed for a flip", "Median over the decisions that were flipped."),
    "attack.reach": ("Change of a number for a flip", "Median, in interquartile ranges of the column."),
    "attack.queries": ("Queries per row", "Decisions that the attack asked for."),
    "evasion.distance": (
        "Distance of the nearest flip found",
        "Median over rows, in interquartile ranges times the cost of each column.",
    ),
    "evasion.success": ("Rows with a flip", "Share of rows for which the search found a flip at any distance."),
    "evasion.queries": ("Decisions asked until the nearest flip", "Median over rows."),
    "evasion.certified": (
        "Decisions proven to hold",
        "Share of rows whose decision no change below the radius flips, in interquartile ranges.",
    ),
    "certificate.distance": ("Distance below which no change flips a decision", "Median over rows; proven."),
    "certificate.exact": ("Rows whose proven distance is exact", "For the others it is a lower bound."),
    "extraction.agreement": (
        "Agreement of the best copy",
        "Share of rows on which a copy decides as the model, by rows sent and by what callers see of an answer.",
    ),
    **{
        f"extraction.queries_{level}": (
            f"Rows sent until a copy agrees on {level} of 100",
            "An interval without an upper end: not reached.",
        )
        for level in (95, 99)
    },
    "extraction.hours_95": ("Time until a copy agrees on 95 of 100", "At the limit of requests per API key."),
    # Privacy
    "privacy.membership.auc": (
        "Members distinguished from non-members",
        "Area under the ROC curve of an attack that guesses which rows the model was trained on; 0.5 is by chance.",
    ),
    "privacy.membership.tpr_1pct": (
        "Training rows recognized at 1 % false alarms",
        "Share of the training rows that the attack recognizes while it accuses 1 % of other rows; 0.01 is by chance.",
    ),
    "privacy.membership.tpr_0.1pct": (
        "Training rows recognized at 0.1 % false alarms",
        "Share of the training rows that the attack recognizes while it accuses 0.1 % of others; 0.001 is by chance.",
    ),
    "privacy.membership.auc.difference": (
        "Members distinguished, compared with the baseline",
        "Area minus that of the baseline, on the same models; below 0 less is given away.",
    ),
    "privacy.membership.tpr_1pct.difference": (
        "Training rows recognized, compared with the baseline",
        "Share minus that of the baseline, on the same models; below 0 less is given away.",
    ),
    "privacy.membership.roc": ("Training rows recognized", "At the share of other rows that are accused."),
    "privacy.membership.exposed": (
        "Exposed training rows",
        "At least half of the models that were trained on such a row give it away, and hardly any other model.",
    ),
    "privacy.membership.row": ("Models that give the row away", "Of those trained on it."),
    "privacy.membership.models": ("Models attacked", ""),
    "privacy.attribute.advantage": (
        "A sensitive column guessed right more often",
        "Share of rows with the answer of the model, minus the share without it; the rest of the row is known.",
    ),
    "privacy.attribute.known": ("A sensitive column guessed right", "Share of rows, from the rest of the row alone."),
    "privacy.inversion.error": (
        "Error of a rebuilt training row",
        "Compared with a guess by the typical value of each column: 1 does not help, 0 is exact.",
    ),
    "privacy.inversion.trees": (
        "Error of a row rebuilt with the file of the model",
        "The same for a caller who holds the trees, and sees between which thresholds each value lies.",
    ),
    # Ablation and class imbalance
    **{f"components.{error}.drop": ("Increase of the error without it", _MORE) for error in ("brier", "mse")},
    "components.latency.speedup": ("Latency of one row without it", _WITHOUT),
    "components.latency.p99.speedup": ("99th percentile of the latency without it", _WITHOUT),
    "components.throughput.speedup": ("Time of a batch without it", _WITHOUT),
    "components.cost.one_row.ratio": ("CPU time of one row without it", _WITHOUT),
    "components.cost.batch.ratio": ("CPU time of a batch without it", _WITHOUT),
    "components.harmful": ("Harmful components", "Something is worse with them, and nothing is better."),
    "components.nothing": ("Useless components", "Without them no error, time or cost changes noticeably."),
    "components.unsettled": ("Undecided components", "More groups, rounds or time could decide."),
    **{f"ablation.masked.{error}.drop": ("Increase of the error, masked", _MORE) for error in ("brier", "mse")},
    **{
        f"ablation.retrained.{error}.drop": ("Increase of the error, retrained without", _MORE)
        for error in ("brier", "mse")
    },
    "ablation.harmful": ("Harmful features", "A model retrained without them has a smaller error."),
    "ablation.useless": ("Useless features", "The model predicts as well when they are masked."),
    "ablation.unsettled": ("Undecided features", "They may be harmful; more groups, seeds or time could decide."),
    "ablation.trainings": ("Models trained", ""),
    "imbalance.base_rate": ("Share of positives", ""),
    **{
        f"imbalance.{name}{end}": (f"{title}{more}", "")
        for name, title in _IMBALANCE.items()
        for end, more in (("", ""), (".drop", ", compared with no treatment"))
    },
    "test_evaluations": (
        "Evaluations of the test set",
        "Including this one. After the first, the rows were used for selection and the figures are optimistic.",
    ),
}
_MONITORED = {
    "cost.month": ("Additional cost per month", "Of its decisions, compared with when it was judged."),
    "retrain.expected_loss": ("Additional cost per month", "Of its decisions, compared with when it was judged."),
    "ece.split": (
        "Calibration error, corrected for noise",
        "Measured on one half of the groups, by the bins of the other.",
    ),
    **{
        f"{name}.{end}": (f"{symbol}, {how}", "")
        for name, symbol in (("roc_auc", "AUC"), ("brier", "Brier score"), ("ece", "Calibration error"))
        for end, how in (("change", "change since it was judged"), ("estimated", "estimated before labels arrived"))
    },
    "drift.loss": ("Cost of its drift a row", "Estimated, in the unit of [model] costs."),
    "drift.distance": ("Distance of the inputs", "0: as when it was judged, 1: nothing in common."),
    "drift.p": ("Drift of the inputs (p-value)", "A small value shows that the inputs moved since it was judged."),
}
"""Titles of what only monitored periods have, so that no policy can name it."""
_PREFIXES = {
    LIVE: "Against the live release: ",
    "worst_slice.": "Worst slice: ",
    "discovered.": "Discovered slice: ",
    "missing.": "Rows with a missing value: ",
    **{f"robustness.{kind}.": f"{message}: " for kind, message in CORRUPTIONS.items()},
}
_PROPER_NAMES = ("Brier", "CPU", "F1")
_VIOLATIONS = {
    "gain_over_constant": "It is not better than a constant prediction",
    "gain_over_reference": "It is worse than a simple reference model",
    "roc_auc.drop": "It ranks worse than the baseline",
    "brier.drop": "Its probabilities are less accurate than those of the baseline",
    "decision_churn": "It changes more decisions than allowed",
    "slower_than_live": "It takes longer to answer than the live release",
    "max_change": "It changes a single probability by more than allowed",
    "ece": "Its probabilities are miscalibrated",
    "ece.drop": "Its probabilities are less calibrated than those of the baseline",
    "probability_shift": "Its probabilities differ from those of the baseline by more than allowed",
    **{
        f"privacy.membership.{name}": "Its answers give away which rows it was trained on"
        for name in ("auc", "tpr_1pct", "tpr_0.1pct")
    },
    "attack.success": "Its decisions can be flipped more often than allowed",
    "attack.success.drop": "Its decisions can be flipped more easily than those of the baseline",
    **{
        f"robustness.{kind}.{name}": f"It is less robust to corrupted inputs than the baseline ({message.lower()})"
        for kind, message in CORRUPTIONS.items()
        for name in ("drop", "decision_churn")
    },
}


def measure_title(measure: str) -> str:
    """Return a measure's title, such as `Ranking (AUC)`; an unknown measure keeps its name.

    >>> measure_title("roc_auc.drop"), measure_title("worst_slice.brier.drop"), measure_title("discovered.brier.excess")
    ('Loss in AUC', 'Worst slice: loss in Brier', 'Discovered slice: excess in Brier')
    """
    if found := _NAMES.get(measure) or _MONITORED.get(measure):
        return found[0]
    if prefix := _prefix(measure):
        return _PREFIXES[prefix] + measure_name(measure.removeprefix(prefix))
    if measure.endswith(".drop"):
        return f"Loss in {measure_symbol(measure)}"
    if measure.endswith(".lag1"):
        return f"Autocorrelation of groups in {measure_symbol(measure.removesuffix('.lag1'))}"
    if measure.endswith(".excess"):
        return f"Excess in {measure_symbol(measure.removesuffix('.excess'))}"
    return measure


_SUFFIXES = ("", ".drop", ".decrease", ".lag1", ".excess", ".change", ".ratio")
_UNTITLED = ("mse", "error_rate", "slow_requests", "slower_than_live")
"""Measures without a title of their own: parts of other names, and those of a canary."""


def is_known_measure(measure: str) -> bool:
    """Return whether a measure has a title, as such or as a part, loss or excess of one that has.

    >>> is_known_measure("worst_slice.roc_auc.drop"), is_known_measure("roc_auc.dorp")
    (True, False)
    """
    prefixes = [prefix for prefix in ("", *_PREFIXES) if measure.startswith(prefix)]
    stems = {measure.removeprefix(prefix).removesuffix(suffix) for prefix in prefixes for suffix in _SUFFIXES}
    stems |= {stem.removeprefix(prefix) for stem in stems for prefix in _PREFIXES}
    return any(stem in _NAMES or stem in _UNTITLED for stem in stems)


def nearest_measure(measure: str) -> str:
    """Return the known measure that is nearest to a name; empty if none is near.

    >>> nearest_measure("roc_auc.dorp"), nearest_measure("acuracy"), nearest_measure("zzz")
    ('roc_auc.drop', 'accuracy', '')
    """
    prefix = _prefix(measure)
    known = [*_NAMES, *(f"{name}.drop" for name in _NAMES if not name.endswith(".drop")), *_UNTITLED]
    near = difflib.get_close_matches(measure.removeprefix(prefix), known, 1, cutoff=0.6)
    return prefix + near[0] if near else ""


def _prefix(measure: str) -> str:
    return next((prefix for prefix in _PREFIXES if measure.startswith(prefix)), "")


def measure_name(measure: str) -> str:
    """Return a measure's name within a sentence: `ranking (AUC)`, `loss in Brier`."""
    name = measure_title(measure)
    return name if name == measure or name.startswith(_PROPER_NAMES) else name[:1].lower() + name[1:]


def measure_symbol(measure: str) -> str:
    """Return the short name of a measure, such as `AUC`, or else its title."""
    measure = measure.removesuffix(".drop")
    return _SYMBOLS.get(measure) or _SYMBOLS.get(measure.removeprefix(_prefix(measure))) or measure_title(measure)


def measure_meaning(measure: str) -> str:
    """Return one sentence on what a measure means; empty if it is unknown."""
    if found := _NAMES.get(measure) or _MONITORED.get(measure):
        return found[1]
    if prefix := _prefix(measure):
        worst = "On the slice where it is worst. " if prefix == "worst_slice." else ""
        return worst + measure_meaning(measure.removeprefix(prefix))
    if measure.endswith(".lag1"):
        return "Correlation of a group of rows with the previous one; it widens the intervals."
    if measure.endswith(".excess"):
        return "Error on these rows minus that on all other rows."
    if measure.endswith(".drop"):
        return "Loss compared with the baseline, on the same rows; below 0 is better."
    return ""


def describe_violation(measure: str) -> str:
    """Describe what is wrong with a variant that breaks a rule on this measure, without full stop."""
    if measure == "worst_slice.decision_churn":
        return "On one slice it changes more decisions than allowed"
    if measure.startswith("worst_slice."):
        return "On one slice it is worse than the baseline"
    if measure.startswith(LIVE):
        return "It is worse than the live release"
    if measure.startswith("missing."):
        return "On rows with a missing value it differs from the baseline"
    return _VIOLATIONS.get(measure, f"It breaks the rule on {measure_name(measure)}")


def rule_limit(rule: Rule) -> str:
    """Return the limit of a rule: `at most 0.005`, `at least 0.7`, `at most 5 %`."""
    word, value = ("at most", rule.at_most) if rule.at_most is not None else ("at least", rule.at_least or 0.0)
    return f"{word} {formatting.format_limit(value, rule.measure)}"


_MAIN = (("roc_auc", "brier"), ("ndcg10",), ("recall1",), ("r2", "rmse"), ("accuracy", "log_loss"))
"""Main measures of each task; the first group whose first measure exists is shown."""


def main_measurements(evidence: Evidence) -> tuple[Measurement, ...]:
    """Return the main measures of quality, the gains over the floor, and the difference to the live release."""
    main = next((names for names in _MAIN if evidence.find(names[0])), ())
    names = (*main, "gain_over_constant", "gain_over_reference", *(f"{LIVE}{name}.drop" for name in main[:1]))
    return tuple(found for name in names if (found := evidence.find(name)) is not None)


def describe_quality(evidence: Evidence) -> str:
    """Describe the main measures in one line with the rows behind them, or that none was measured."""
    found = main_measurements(evidence)
    if not found:
        return "not measured"
    figures = "; ".join(describe_measurement(measurement) for measurement in found)
    return f"{figures} ({formatting.format_basis(found[0])})"


def describe_undecided_changes(search: SearchResult) -> str:
    """Describe the variant that fewest rows more would decide on, if only its changed decisions are; else empty."""
    candidates = [
        (result.groups_needed or 0, row.variant.name, result.message)
        for row in search.evaluated
        for result in row.verdict.rule_results
        if result.rule.measure == "decision_churn" and result.answer == "undecided" and result.groups_needed
        if all(other.answer == "pass" for other in row.verdict.rule_results if other is not result)
    ]
    if not candidates:
        return ""
    _, name, message = min(candidates)
    return f"undecided, and not chosen: {name}: {message}"


def describe_answers(plan: AnswerPlan) -> str:
    """Describe in one line which rows a model answers alone, and how many of its answers may be wrong."""
    certificate = plan.certificate
    if not plan.thresholds:
        needed = certificate.groups_needed
        more = f"; about {needed:,} held-out rows or groups would do" if needed else ""
        limit = f"at most {certificate.limit:.3g} of the answers wrong"
        return f"answers nothing alone: no threshold is certified for {limit}{more}"
    by = f"together with the device's release {plan.forwarded_by[7:19]}" if plan.forwarded_by else "alone"
    risk = certificate.risk
    share = formatting.describe_percentage(certificate.coverage)
    basis = formatting.format_basis(certificate.coverage)
    return (
        f"answers {share} rows {by} ({basis}), by {plan.rule}: {risk.value:.2%} of {risk.n_rows:,} answers "
        f"wrong, certified to be at most {certificate.limit:.3g} with {risk.level:.4g} confidence"
    )


def describe_measurement(measurement: Measurement) -> str:
    """Describe a measurement within a sentence: `loss in AUC 0.0765 [0.0610, 0.0920]`."""
    where = f" in {measurement.slice}" if measurement.slice else ""
    return f"{measure_name(measurement.name)}{where} {formatting.format_measurement(measurement)}"


def describe_rule_result(rule_result: RuleResult) -> str:
    """Describe a rule result with its limit: `loss in AUC 0.0765 [0.0610, 0.0920], limit: at most 0.005`."""
    if rule_result.measurement is None:
        return f"{measure_name(rule_result.rule.measure)}: {rule_result.message}"
    return f"{describe_measurement(rule_result.measurement)}, limit: {rule_limit(rule_result.rule)}"


def no_faster_variant(search: SearchResult) -> str:
    """Say that a search returned the baseline, and why: what may find a faster variant, if anything."""
    others = len(search.evaluated) + len(search.screened_out) - 1
    longer = f"; try {search.suggested_budget_s:g} s" if search.suggested_budget_s else ""
    if busy_finding([row.evidence for row in search.evaluated]) and (others or longer):
        tried = f", and by CPU time none of the {others} forms tried is shown to be faster" if others else ""
        return f"not measured: other processes used the cores{tried}{longer}"
    if longer:
        return f"no faster variant was found in {search.budget_s:g} s{longer}"
    if not others:
        return "no faster variant was found: no transform applies to this model"
    return f"no faster variant was found: none of the {others} forms tried is shown to be faster and to meet the policy"
