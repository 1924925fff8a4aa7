"""D004: Rows have no outcome, so the training rows are a selection of the served ones."""

from __future__ import annotations

import polars as pl

from headway.core.dataset import OUTCOME, Dataset
from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D004",)
LIMIT = 0.01


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding with the share of rows without an outcome and its largest value among groups."""
    dataset = context.dataset
    absent = dataset.table[dataset.roles.target].is_null()
    if not absent.any():
        return []
    share = int(absent.sum()) / len(absent)
    message = f"{absent.sum():,} of {len(absent):,} rows ({share:.1%}) have no outcome; metrics do not cover them"
    return [
        Finding(
            code="D004",
            severity="warn" if share > LIMIT else "note",
            message=message + _never_happened(dataset, absent) + _unevenness(dataset, absent),
            where=f"column {dataset.roles.target}",
            measured=share,
            limit=LIMIT,
            hint="decide what the model should predict for such rows, and document it",
        )
    ]


def _never_happened(dataset: Dataset, absent: pl.Series) -> str:
    """Name the first outcome column that is missing in some of these rows: the event never happened there."""
    rows = dataset.table.filter(absent)
    after = [name for name, when in dataset.roles.known.items() if when == OUTCOME]
    partly = {name: rows[name].null_count() for name in after if 0 < rows[name].null_count() < len(rows)}
    return "".join(f"; {count:,} of them have no '{name}' either" for name, count in list(partly.items())[:1])


def _unevenness(dataset: Dataset, absent: pl.Series) -> str:
    groups = dataset.roles.groups
    if not groups:
        return ""
    shares = dataset.table.select(groups, absent=absent).group_by(groups).agg(pl.col("absent").mean())
    worst = shares.sort("absent", groups).row(-1)
    return f"; by {groups} the share runs up to {worst[1]:.0%} ({worst[0]}), over {len(shares)} groups"
