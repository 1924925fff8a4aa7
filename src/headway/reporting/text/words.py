"""Titles and explanations of measures, in words that need no statistics."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.verdict import Answer, Rule, RuleResult
from headway.reporting.text import formatting

QUALITY = ("roc_auc", "brier", "ece", "log_loss", "rmse", "mae")
LOWER_IS_BETTER = frozenset({"brier", "log_loss", "ece", "rmse", "mae"})
ANSWERS: dict[Answer, str] = {"pass": "passes", "fail": "fails", "undecided": "is undecided"}

CORRUPTIONS = {
    "missing": "A value is missing",
    "unseen": "A category was never seen",
    "stale": "A value is that of the group before",
    "swapped": "Two columns are swapped",
    "noise": "A value is noisy",
    "unit": "A value is in another unit",
    "months": "A month against all others",
}
_NAMES: dict[str, tuple[str, str]] = {
    "roc_auc": (
        "Ranking (AUC)",
        "How often a case that happens is scored above one that does not; 0.5 is chance, 1 is perfect.",
    ),
    "brier": ("Error of the probabilities (Brier)", "Mean squared distance from what happened; lower is better."),
    "log_loss": ("Surprise (log loss)", "How surprised the model is by what happens; lower is better."),
    "average_precision": (
        "Precision over all thresholds (AP)",
        "How many of the cases ranked above a positive are positive too, on average; 1 is perfect.",
    ),
    "accuracy": ("Right answers (accuracy)", "Share of rows on which the decision, or the class named, is right."),
    "top3_accuracy": ("Right among three (top 3)", "How often the true class is among the three most probable."),
    "f1": ("Precision and recall as one (F1)", "Their harmonic mean at the threshold; 1 is perfect."),
    "macro_f1": ("F1 over classes (macro F1)", "Precision and recall as one, each class counting alike; 1 is perfect."),
    "recall": ("Positives that are found (recall)", "Of the cases that happen, the share that gets a yes."),
    "precision": ("Alarms that are true (precision)", "Of the cases that get a yes, the share that happens."),
    "false_positive_rate": (
        "False alarms (false positive rate)",
        "Of the cases that do not happen, the share that gets a yes.",
    ),
    "rmse": (
        "Typical error (RMSE)",
        "Root of the mean squared error, in units of the target; large errors weigh more.",
    ),
    "mae": ("Mean error without sign (MAE)", "How far an answer lies from the truth, in units of the target."),
    "mean_error": ("Mean error with sign", "How much more is said than comes true; 0 where errors cancel."),
    "r2": ("Share of variance explained (R2)", "1 is perfect, 0 no better than to say the mean of all."),
    "ndcg10": (
        "Order of the first ten (NDCG)",
        "How near the first ten places of a list are to the best order; 1 is perfect.",
    ),
    "mrr": ("Place of the first that is relevant (MRR)", "One by its place, on average; 1 is first everywhere."),
    "map": (
        "Relevant before others (MAP)",
        "Share of relevant rows down to each relevant one; 1 is perfect.",
    ),
    "recall1": ("Nearest is of the same kind (recall at 1)", "How often the nearest other row has the same label."),
    "recall10": ("One of ten is of the same kind", "How often one of the ten nearest rows has the same label."),
    "ece": (
        "Calibration error (ECE)",
        "How far, on average, the probability that is said lies from the share that is observed; lower is better.",
    ),
    "probability_shift": (
        "Probabilities moved",
        "How far, on average, what is said lies from what the model as it came says; lower is better.",
    ),
    "base_rate": ("Share of positives", "How often the predicted event happens at all."),
    "max_change": ("Largest change of a probability", "The one row on which the answer moved most."),
    "decision_churn": ("Decisions changed", "Share of rows on which yes became no, or no became yes."),
    "decision_churn.near": (
        "Decisions changed near the threshold",
        "The same, of the tenth of the rows whose score the model as it came put nearest to the threshold.",
    ),
    "change.p50": ("Half of the answers moved at most", "The median change of an answer."),
    "change.p90": ("9 of 10 answers moved at most", "One answer in ten moved further."),
    "change.p99": ("99 of 100 answers moved at most", "One answer in a hundred moved further."),
    "change.p999": ("999 of 1,000 answers moved at most", "One answer in a thousand moved further."),
    "latency.one_row": ("Time for one row", "From a row in memory to its answer, in microseconds."),
    "latency.speedup": ("Faster for one row", "Time of the model as it came divided by the time of this variant."),
    "throughput.batch": ("Rows a second in batches", "How many rows are answered in a second, many at a time."),
    "throughput.speedup": (
        "Faster in batches",
        "Rows a second of this variant divided by those of the model as it came.",
    ),
}
_NAMES |= {
    "bias.tpr": ("Found among those who should be", ""),
    "bias.fpr": ("Yes among those for whom it is wrong", ""),
    "bias.selection": ("Share of yes", ""),
    "bias.calibration": ("Observed less said", ""),
    "bias.ece": ("Calibration error (ECE)", ""),
    "bias.error": ("Mean error", ""),
    "bias.tpr_gap": ("Gap in true positives", "Of the people who should be found, how many more of the others are."),
    "bias.fpr_gap": ("Gap in false positives", "Of the people for whom it is wrong, how many more of the others are."),
    "bias.selection_gap": ("Gap in yes", "How much more often people of one kind get a yes than the others."),
    "bias.calibration_gap": ("Gap in what is said", "How much further what is said lies from what is observed."),
    "bias.ece_gap": ("Gap in calibration error (ECE)", "How much worse probabilities are to be taken at their word."),
    "bias.error_gap": ("Gap in mean error", "How much more is said for people of one kind than for the others."),
}
_NAMES |= {
    "brier.miscalibration": (
        "Of the Brier score, miscalibration",
        "What the best repair of the probabilities would take off it; noise alone lifts it a little above 0.",
    ),
    "brier.discrimination": (
        "Of the Brier score, discrimination",
        "What is gained over saying the mean of all to everybody, once the probabilities are repaired; more is better.",
    ),
    "brier.uncertainty": (
        "Of the Brier score, uncertainty",
        "The Brier score of who says the mean of all to everybody.",
    ),
    "calibration.bias": ("Observed less said", "How much more often it happens than is said, on average; 0 is best."),
    "calibration.ece": (
        "Calibration error of a slice (ECE)",
        "The calibration error, of a part of the rows by 5 bins.",
    ),
    "cost.per_million.one_row": ("Cost of a million rows, one by one", "Of the model alone, at the declared price."),
    "cost.per_million.batch": ("Cost of a million rows, in batches", "Of the model alone, at the declared price."),
    "cost.cpu_s.one_row": ("CPU seconds of a million rows, one by one", "How long cores work for them, all threads."),
    "cost.cpu_s.batch": ("CPU seconds of a million rows, in batches", "How long cores work for them, all threads."),
}
_NAMES |= {
    "load.p50_ms": ("Served: half of the requests took at most", "From when a request was due, at a steady rate."),
    "load.p99_ms": ("Served: 99 of 100 requests took at most", "From when a request was due, at a steady rate."),
    "load.start_s": ("A server's start", "From a new process to its first right answer, in half of the starts."),
    "load.rows_per_s": ("Rows a second, served in batches", "Asked over HTTP, by two callers for each core."),
    "load.memory_mb": ("Memory of the server", "What all its processes hold together, after the load."),
    "load.failed": ("Requests that failed", "Refused, answered wrong, or not at all, in all runs of the load."),
}
_NAMES |= {
    "request.p50": ("Half of the requests took at most", ""),
    "request.p99": ("99 of 100 requests took at most", ""),
}
_NAMES |= {
    "change.p50": ("Change of half of the answers, at most", ""),
    "change.p90": ("Change of 90 of 100 answers, at most", ""),
    "change.p99": ("Change of 99 of 100 answers, at most", ""),
    "change.p999": ("Change of 999 of 1,000 answers, at most", ""),
    "decision_churn.near": ("Decisions changed near the threshold", "Of the tenth nearest to deciding otherwise."),
    "missing.decision_churn": ("Decisions changed where a value is missing", ""),
    "missing.brier.drop": ("Loss in Brier where a value is missing", ""),
    "missing.mse.drop": ("Loss in squared error where a value is missing", ""),
    "calibration.bias": ("Observed less said", "Above 0 it happens more often than is said."),
    "calibration.ece": ("Calibration error (ECE)", "By 5 bins, for a part has fewer rows."),
    "conformal.width": ("Width of an interval", "From the least to the most that is held possible."),
    "conformal.endless": ("Intervals without an end", "Since the last ones missed too often."),
    "start.seconds": ("Time from nothing to the first answer", "A process is begun, opens the model, and answers."),
    "start.memory_mb": ("Memory that its process holds", "All of it, once it has answered."),
    "conformal.coverage": ("Sets that hold the truth", "How often the truth is in the set that is said."),
    "conformal.size": ("Answers in a set", "How many answers a set holds on average; 1 is sure."),
    "discovered.compared": ("Combinations that were compared", "Those of columns that are large enough."),
    "discovered.confirmed": ("Combinations that are worse for sure", "Found on one half, confirmed on the other."),
    "cost": ("Cost of the decisions (cost)", "Of a row, on average, by the costs of a false alarm and of a miss."),
    "threshold": ("Threshold of a yes", "From which probability on the answer is yes."),
}
_NAMES |= {
    "excess": ("Error added", "How much more the model errs then than on the rows as they are, or in other months."),
    "drop": ("Error beside the model as it came", "How much more it errs than the model as it came, on the same rows."),
    "roc_auc.decrease": ("AUC lost to it", "How much worse the model ranks then than on the rows as they are."),
    "changed_decisions": ("Decisions that it changes", "Share of rows on which the model decides otherwise then."),
}
_NAMES |= {
    f"{shape}.p{share}_ms": (f"{message} of the requests took at most, {how}", "")
    for share, message in {"50": "Half", "99": "99 of 100"}.items()
    for shape, how in {
        "load.alone": "one caller alone",
        "load": "at a steady rate",
        "load.bursts": "in bursts",
        "load.ramp": "at a rate that grows",
    }.items()
}
_NAMES |= {
    "load.start_s": ("Time from nothing to the first right answer over HTTP", ""),
    "load.rows_per_s": ("Rows a second as it is served, in batches", ""),
    "load.memory_mb": ("Memory of all processes of its server", ""),
    "load.memory_beside_mb": ("The same without the file of the model", ""),
    "load.failed": ("Requests without a right answer", ""),
}
_NAMES |= {
    "test_evaluations": (
        "Judged looks at the test set",
        "This one among them; from the second on its rows were used to choose, and flatter what was chosen.",
    ),
    "attack.success": ("Decisions that can be turned", "By a small change of a row, by who sees decisions alone."),
    "attack.success.drop": (
        "More easily turned than the model as it came",
        "How many more decisions of 1 are turned, by the same attack on the same rows; below 0 it holds better.",
    ),
    "attack.column.success": ("Decisions that a column turns alone", "The easiest way in is the largest of these."),
    "attack.column.success.drop": ("More easily turned by a column alone", "Beside the model as it came."),
    "attack.columns": ("Columns that a turn takes", "Half of the decisions that are turned take so many at most."),
    "attack.reach": ("How far a turn moves a number", "In interquartile ranges of its column, in half of the turns."),
    "attack.queries": ("Decisions asked for, of a row", "How long was looked for a way to turn it."),
}
_BEGINNINGS = {
    "worst_slice.": "Worst slice: ",
    "discovered.": "Found part: ",
    "missing.": "Rows that lack a value: ",
    **{f"robustness.{kind}.": f"{message}: " for kind, message in CORRUPTIONS.items()},
}
_WITHOUT = "Without the part, divided by with it; above 1 the part saves."
_MORE = "How much more the answers err; below 0 they are better without."
_TREATED = {
    "roc_auc": "Ranking (ROC AUC)",
    "brier": "Distance from the truth (Brier)",
    "cost": "Cost of a decision",
    "recall": "Share found of those for whom yes is right",
    "false_positive_rate": "Share said yes to of the others",
}
_NAMES |= {
    **{f"components.{error}.drop": ("Error more without it", _MORE) for error in ("brier", "mse")},
    "components.latency.speedup": ("Time for one row without it", _WITHOUT),
    "components.latency.p99.speedup": ("Slowest of 100 without it", _WITHOUT),
    "components.throughput.speedup": ("Time for a batch without it", _WITHOUT),
    "components.cost.one_row.ratio": ("CPU for one row without it", _WITHOUT),
    "components.cost.batch.ratio": ("CPU for a batch without it", _WITHOUT),
    "components.harmful": ("Parts that do harm", "They make something worse, and nothing better."),
    "components.nothing": ("Parts that buy nothing", "Without them no error, time or cost changes that counts."),
    "components.unsettled": ("Parts not decided", "More groups, rounds or time would tell."),
    **{f"ablation.masked.{error}.drop": ("Error more when masked", _MORE) for error in ("brier", "mse")},
    **{f"ablation.retrained.{error}.drop": ("Error more, trained without", _MORE) for error in ("brier", "mse")},
    "ablation.harmful": ("Features that do harm", "A model that is trained without them errs less."),
    "ablation.useless": ("Features that do nothing", "This model answers as well when they are masked."),
    "ablation.unsettled": ("Features not decided", "They may do harm; more groups, seeds or time would tell."),
    "ablation.trainings": ("Models trained to tell", ""),
    "imbalance.base_rate": ("Share of positives", ""),
    **{
        f"imbalance.{name}{end}": (f"{title}{more}", "")
        for name, title in _TREATED.items()
        for end, more in (("", ""), (".drop", ", lost by the treatment"))
    },
}
_HARMS = {
    "roc_auc.drop": "It ranks worse than the model as it came",
    "brier.drop": "Its probabilities are further from the truth than those of the model as it came",
    "decision_churn": "It changes more decisions than is allowed",
    "max_change": "It moves a single probability further than is allowed",
    "ece": "Its probabilities cannot be taken at their word",
    "ece.drop": "Its probabilities can be taken at their word less than those of the model as it came",
    "probability_shift": "What it says is not what the model as it came says",
    "attack.success": "Its decisions can be turned more often than is allowed",
    "attack.success.drop": "Its decisions are turned more easily than those of the model as it came",
    **{
        f"robustness.{kind}.{name}": f"It stands wrong inputs worse than the model as it came ({message.lower()})"
        for kind, message in CORRUPTIONS.items()
        for name in ("drop", "decision_churn")
    },
}


def measure_title(measure: str) -> str:
    """Return a measure's title, such as `Ranking (AUC)`; an unknown measure keeps its name.

    >>> measure_title("roc_auc.drop"), measure_title("worst_slice.brier.drop"), measure_title("discovered.brier.excess")
    ('Loss in AUC', 'Worst slice: loss in Brier', 'Found part: excess in Brier')
    """
    if measure in _NAMES:
        return _NAMES[measure][0]
    for beginning, message in _BEGINNINGS.items():
        if measure.startswith(beginning):
            return message + measure_name(measure.removeprefix(beginning))
    if measure.endswith(".drop"):
        return f"Loss in {measure_symbol(measure)}"
    if measure.endswith(".lag1"):
        return f"Likeness of neighbours in {measure_symbol(measure.removesuffix('.lag1'))}"
    if measure.endswith(".excess"):
        return f"Excess in {measure_symbol(measure.removesuffix('.excess'))}"
    return measure


def measure_name(measure: str) -> str:
    """Return a measure's name within a sentence: `ranking (AUC)`, `loss in Brier`."""
    name = measure_title(measure)
    return name if name == measure else name[:1].lower() + name[1:]


def measure_symbol(measure: str) -> str:
    """Return the short name of a measure, such as `AUC`; else its own name."""
    name = measure_title(measure.removesuffix(".drop"))
    return name.partition("(")[2].partition(")")[0] or name


def measure_meaning(measure: str) -> str:
    """Return one sentence on what a measure means; empty if it is unknown."""
    if measure.startswith("worst_slice."):
        return "The same, on the part of the rows where it is worst. " + measure_meaning(
            measure.removeprefix("worst_slice.")
        )
    if measure in _NAMES:
        return _NAMES[measure][1]
    beginning = next((each for each in _BEGINNINGS if measure.startswith(each)), "")
    if beginning:
        return measure_meaning(measure.removeprefix(beginning))
    if measure.endswith(".lag1"):
        return "How much a group of rows is like the one before it; intervals are wider where it is."
    if measure.endswith(".excess"):
        return "How much more the model errs there than on all other rows."
    if measure.endswith(".drop"):
        return "How much worse than the model as it came, on the same rows; below 0 is better."
    return ""


def describe_violation(measure: str) -> str:
    """Describe what is wrong with a variant that breaks a rule on this measure, without full stop."""
    if measure == "worst_slice.decision_churn":
        return "On a part of the rows it changes more decisions than is allowed"
    if measure.startswith("worst_slice."):
        return "On a part of the rows it is worse than the model as it came"
    if measure.startswith("missing."):
        return "On rows that lack a value it answers otherwise than the model as it came"
    return _HARMS.get(measure, f"It breaks the rule on {measure_name(measure)}")


def rule_limit(rule: Rule) -> str:
    """Return the limit of a rule: `at most 0.005`, `at least 0.7`, `at most 5 %`."""
    word, value = ("at most", rule.at_most) if rule.at_most is not None else ("at least", rule.at_least or 0.0)
    return f"{word} {formatting.format_limit(value, rule.measure)}"


def describe_measurement(measurement: Measurement) -> str:
    """Describe a measurement within a sentence: `loss in AUC 0.0765 [0.0610, 0.0920]`."""
    where = f" in {measurement.slice}" if measurement.slice else ""
    return f"{measure_name(measurement.name)}{where} {formatting.format_measurement(measurement)}"


def describe_rule_result(rule_result: RuleResult) -> str:
    """Describe a rule result with its limit: `loss in AUC 0.0765 [0.0610, 0.0920], limit: at most 0.005`."""
    if rule_result.measurement is None:
        return f"{measure_name(rule_result.rule.measure)}: {rule_result.message}"
    return f"{describe_measurement(rule_result.measurement)}, limit: {rule_limit(rule_result.rule)}"
