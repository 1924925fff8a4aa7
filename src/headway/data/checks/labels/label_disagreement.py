"""D036: Rows with equal features have different labels, or annotators hardly agree beyond chance."""

from __future__ import annotations

import polars as pl

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D036",)
FEWEST_ALIKE = 20
LEAST_ALPHA = 0.667
"""Below it Krippendorff (2004) would draw no conclusion, not even a tentative one."""


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a note on contradicting rows, and a finding on the last `headway labels agree`.

    Among rows that are equal in every feature, those with a rarer label contradict the others. This is a note:
    with few features and a random outcome, equal rows differ although no label is wrong. Alpha warns if its
    interval ends below
    0.667, and is undecided if the interval contains it.
    """
    dataset = survey.dataset
    if dataset.roles.task not in ("binary", "multiclass"):
        raise NotApplicable(f"task '{dataset.roles.task}' has no classes, so labels cannot contradict each other")
    agreement = survey.labeling.agreement()
    alpha = agreement.find("agreement.krippendorff") if agreement else None
    found = _contradictions(survey)
    if alpha is None or alpha.low >= LEAST_ALPHA:
        return found
    below = alpha.high < LEAST_ALPHA
    return [
        *found,
        Finding(
            code="D036",
            severity="warn" if below else "undecided",
            message=f"annotators agree by an alpha of {alpha.value:.2f} [{alpha.low:.2f}, {alpha.high:.2f}]"
            f" on {alpha.n_rows:,} items: {'too little to build on' if below else 'more items would decide'}",
            where=agreement.source if agreement else "",
            measured=alpha.value,
            limit=LEAST_ALPHA,
            hint="headway labels agree FILE shows which pair; write down how to label, then label again",
        ),
    ]


def _contradictions(survey: CheckContext) -> list[Finding]:
    dataset = survey.dataset
    target = dataset.roles.target
    known = dataset.table.filter(pl.col(target).is_not_null()).select(*dataset.features, target)
    of_label = known.group_by(known.columns).agg(alike=pl.len())
    twins = of_label.group_by(dataset.features).agg(pl.col("alike").sum(), most=pl.col("alike").max())
    twins = twins.filter(pl.col("alike") > 1)
    rows, against = int(twins["alike"].sum()), int((twins["alike"] - twins["most"]).sum())
    if rows < FEWEST_ALIKE or not against:
        return []
    share = against / rows
    return [
        Finding(
            code="D036",
            severity="note",
            message=f"{against:,} of {rows:,} rows that have a twin in every feature have another label than most of"
            f" their twins ({share:.1%}): no model can be right about both",
            where=f"column {target}",
            measured=share,
            hint="headway labels suspects, or add a feature that separates such rows",
        )
    ]
