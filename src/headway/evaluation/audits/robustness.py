"""What wrong inputs cost: values missing, noisy, stale, swapped, unseen or in other units, and months that drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import monotonic

import numpy as np
from msgspec.structs import replace as named

from headway.core.contracts import AuditContext, Comparison, MetricResults, SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.altered import seconds_a_row, thinned
from headway.evaluation.corruptions import places, values
from headway.evaluation.corruptions.fault import Fault, Faults, inputs_of
from headway.evaluation.corruptions.standing import standing
from headway.evaluation.quality.errors import errors_of
from headway.evaluation.statistics.parts import Asked, against_rest, of_part

MOST_ROWS, FEWEST_ROWS = 20_000, 1_250
KINDS: dict[str, Faults] = {
    "missing": values.missing,
    "unseen": values.unseen,
    "stale": places.stale,
    "swapped": places.swapped,
    "noise": values.noise,
    "unit": values.unit,
}


def plugin(subject: Comparison, ground: AuditContext) -> MetricResults:
    """`robustness.KIND.drop`: how much more than the model as it came the variant errs on the same altered rows.

    KIND is missing, unseen, stale, swapped, noise, unit or months; a slice is the feature, with what befell it. Beside
    it `.excess` and `.roc_auc.decrease`, what the alteration costs the variant, `.changed_decisions`, and
    `.decision_churn`, those that are not the model's. A slow model is asked fewer rows. A kind is told whole or not
    at all, so that no rule passes on a part of it.
    """
    until = monotonic() + ground.budget_s
    months = _months(subject, ground.months)
    some = _asked(subject, ground)
    inputs = inputs_of(some, ground)
    found: list[Measurement | NotApplicable] = [*months]
    for kind, faults in KINDS.items():
        asked = list(faults(inputs))
        try:
            found += _told(some, asked, until)
        except NotApplicable as error:
            message = f"robustness.{kind}, {len(asked)} alterations: {error.what}"
            found.append(NotApplicable(message, where=error.where, hint=error.hint))
    return found


def _told(subject: Comparison, faults: Sequence[Fault], until: float) -> list[Measurement]:
    """All measurements of one kind; raises NotApplicable where time runs out, or an answer cannot be judged."""
    found: list[Measurement] = []
    for fault in faults:
        if monotonic() >= until:
            raise NotApplicable("no time was left for all of them", hint="headway evaluate --budget 10m")
        found += standing(subject, fault)
    return found


def _asked(subject: Comparison, ground: AuditContext) -> Comparison:
    """As many rows as both models leave time for: 20,000, or half of it, down to 1,250."""
    few = thinned(subject, FEWEST_ROWS)
    inputs = inputs_of(few, ground)
    count = sum(1 for faults in KINDS.values() for _ in faults(inputs))
    a_row = seconds_a_row(few)
    most = MOST_ROWS
    while most > FEWEST_ROWS and count * most * a_row > ground.budget_s / 2:
        most //= 2
    return thinned(subject, most)


def _months(subject: Comparison, months: SliceColumn | None) -> list[Measurement]:
    """`robustness.months.excess`, a month against all others, and `robustness.months.drop` in it, as it came."""
    errors = errors_of(subject)
    codes = [] if months is None else np.unique(months.codes).tolist()
    if months is None or len(codes) < 2:
        return []
    every = np.ones(len(subject.rows), dtype=np.bool_)
    lost = Asked(
        name="robustness.months.drop", values=errors.lost, among=every, bounds=errors.bounds, blocks=errors.blocks
    )
    erred = replace(lost, name="robustness.months.excess", values=errors.variant, bounds=(0.0, errors.bounds[1]))
    found = []
    for code in codes:
        inside = months.codes == code
        both = (against_rest(erred, inside), of_part(lost, inside))
        found += [named(each, slice=f"month={months.values[code]}") for each in both]
    return found
