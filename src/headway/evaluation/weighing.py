"""What treating a rare class comes to, in sentences that need no table.

E004: what class weights, prior correction or the threshold 0.5 change where a class is rare (note).
"""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import Finding, Measurement

CODE = "E004"
_BASELINE = "baseline"
_WORDS = {"roc_auc": "ROC AUC", "brier": "Brier", "recall": "recall", "cost": "cost a row"}
_MENDS = {
    True: "train so: weights in the training function, and headway optimize sets probabilities right (recalibrate)",
    False: "leave the classes as they are: [model] costs set the threshold",
}


def findings_of_weights(found: Sequence[Measurement]) -> list[Finding]:
    """A note for each treatment: whether decisions cost less, more, or neither is shown, and what moves from and to."""
    treatments = dict.fromkeys(each.slice for each in found if each.name == "imbalance.cost.drop")
    return [_note(name, {(each.name, each.slice): each for each in found}) for name in treatments]


def _note(treatment: str, found: dict[tuple[str, str], Measurement]) -> Finding:
    lost = found["imbalance.cost.drop", treatment]
    known = lost.se is not None
    helps, drift_costs = known and lost.high < 0, known and lost.low > 0
    message = "decisions cost less" if helps else "decisions cost more" if drift_costs else "no change of cost is shown"
    ends = {name: [found[f"imbalance.{name}", each].value for each in (_BASELINE, treatment)] for name in _WORDS}
    moved = [f"{_WORDS[name]} {before:.3g} to {after:.3g}" for name, (before, after) in ends.items()]
    return Finding(
        code=CODE,
        severity="note",
        message=f"rare class, {treatment}: {message} ({lost.value:+.3g} [{lost.low:.3g}, {lost.high:.3g}] a row, "
        f"{lost.n_rows:,} rows, {lost.n_groups:,} groups); {', '.join(moved)}",
        where=treatment,
        measured=lost.value,
        limit=0.0,
        hint=_MENDS[helps],
    )
