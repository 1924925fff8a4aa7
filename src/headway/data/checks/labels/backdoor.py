"""D041: Nearly all rows with a rare value, or pair of values, have a label that similar rows do not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.labels.out_of_fold import SCREENING_ROWS, Floats, prepare_learner
from headway.data.poisoning.backdoors import MIN_MOVED, find_triggers

CODES = ("D041",)


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a finding per pattern that moves labels to one class, as the trigger of a backdoor does.

    The expected labels come from a model trained without the suspected rows, adjusted by the other rows of each
    group. About 60 rows are needed for a finding. Patterns in fewer than 10 groups are not reported.
    """
    dataset = survey.dataset
    oof, learner = prepare_learner(dataset, rows=SCREENING_ROWS)

    def fit(out: NDArray[np.bool_]) -> Floats:
        return learner.fit(~out).predict_proba(np.ones(len(out), dtype=np.bool_))

    return [
        Finding(
            code="D041",
            severity="warn",
            message=f"{trigger.pure:,} of the {trigger.rows:,} rows with {trigger.name} are labelled '{trigger.label}'; of those that"
            f" should have another label at least {trigger.low:.0%} were moved",
            where=trigger.name,
            measured=trigger.low,
            limit=MIN_MOVED,
            hint="find out where these rows came from; if that is unknown, remove them and release no model trained on them",
        )
        for trigger in find_triggers(oof, dataset.table[oof.rows].select(dataset.features), fit)
    ]
