"""D036: Rows with equal features have different labels, or annotators hardly agree beyond chance."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.variant import DECIDES, MULTILABEL
from headway.data.context import CheckContext
from headway.data.leakage.similar_texts import joined_texts, normal_form

CODES = ("D036",)
MIN_EQUAL_ROWS, MAX_SHOWN = 20, 3
MIN_ALPHA = 0.667
"""Below this, Krippendorff (2004) draws no conclusion, not even a tentative one."""


def plugin(context: CheckContext) -> list[Finding]:
    """Return a note on contradicting rows, and a finding on the last `headway labels agree`.

    Among rows that are equal in every feature, those with a rarer label contradict the others; of texts, those that
    are equal but for case, white space and punctuation. This is a note:
    with few features and a random outcome, equal rows differ although no label is wrong. Alpha warns if its
    interval ends below
    0.667, and is undecided if the interval contains it.
    """
    dataset = context.dataset
    if dataset.roles.task not in (*DECIDES, MULTILABEL):
        raise NotApplicable(f"task '{dataset.roles.task}' has no classes, so labels cannot contradict each other")
    agreement = context.labeling.agreement()
    alpha = agreement.find("agreement.krippendorff") if agreement else None
    found = _contradictions(context)
    if alpha is None or alpha.low >= MIN_ALPHA:
        return found
    below = alpha.high < MIN_ALPHA
    return [
        *found,
        Finding(
            code="D036",
            severity="warn" if below else "undecided",
            message=f"annotators agree by an alpha of {alpha.value:.2f} [{alpha.low:.2f}, {alpha.high:.2f}]"
            f" on {alpha.n_rows:,} items: {'too little for a conclusion' if below else 'more items would decide'}",
            where=agreement.source if agreement else "",
            measured=alpha.value,
            limit=MIN_ALPHA,
            hint="headway labels agree FILE shows which pair; write down how to label, then label again",
        ),
    ]


def _contradictions(context: CheckContext) -> list[Finding]:
    dataset = context.dataset
    target = dataset.roles.target
    if dataset.texts:
        return _contradicting_texts(dataset)
    known = dataset.table.filter(pl.col(target).is_not_null()).select(*dataset.features, target)
    of_label = known.group_by(known.columns).agg(equal=pl.len())
    equal = of_label.group_by(dataset.features).agg(pl.col("equal").sum(), majority=pl.col("equal").max())
    equal = equal.filter(pl.col("equal") > 1)
    rows, against = int(equal["equal"].sum()), int((equal["equal"] - equal["majority"]).sum())
    if rows < MIN_EQUAL_ROWS or not against:
        return []
    share = against / rows
    return [
        Finding(
            code="D036",
            severity="note",
            message=f"{against:,} of {rows:,} rows that equal another row in every feature have another label than most"
            f" of their equals ({share:.1%}): no model can be right about both",
            where=f"column {target}",
            measured=share,
            hint="headway labels suspects, or add a feature that separates such rows",
        )
    ]


def _contradicting_texts(dataset: Dataset) -> list[Finding]:
    """Return a finding that names rows with the same texts, in their normal form, and different labels."""
    target, texts = dataset.roles.target, normal_form(joined_texts(dataset.table, dataset.texts))
    rows = pl.DataFrame({"text": texts, "label": dataset.table[target], "row": range(1, len(texts) + 1)}).drop_nulls()
    rows = rows.filter(pl.col("text").is_duplicated())
    counts = rows.group_by("text", "label").agg(equal=pl.len(), first=pl.col("row").min())
    of_text = counts.sort("equal", "first", descending=[True, False]).group_by("text", maintain_order=True)
    found = of_text.agg(pl.col("equal").sum(), pl.col("first"), majority=pl.col("equal").first()).filter(
        pl.col("first").list.len() > 1
    )
    if found.is_empty():
        return []
    against = int((found["equal"] - found["majority"]).sum())
    shown = [
        " and ".join(map(str, sorted(first[:2]))) for first in found.sort("text")["first"].head(MAX_SHOWN).to_list()
    ]
    return [
        Finding(
            code="D036",
            severity="note",
            message=f"{against:,} of {len(rows):,} rows that repeat a text have another label than most rows with it "
            f"({len(found):,} different texts); such as rows {', '.join(shown)} of the table",
            where=f"column {target}",
            measured=against / len(rows),
            hint="headway labels suspects; correct the labels, or join classes that people cannot separate",
        )
    ]
