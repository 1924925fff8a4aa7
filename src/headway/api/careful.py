"""What is asked of a variant where nobody wrote a policy: the most that may be lost to the model as it came."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from headway.core.config import PolicySection
from headway.core.dataset import Roles

CAREFUL: dict[str, dict[str, float]] = {
    "binary": {"roc_auc.drop": 0.005, "brier.drop": 0.005, "probability_shift": 0.02, "decision_churn": 0.01},
    "multiclass": {"accuracy.drop": 0.005, "log_loss.drop": 0.01, "decision_churn": 0.01},
    "regression": {"r2.drop": 0.005},
    "ranking": {"ndcg10.drop": 0.005, "decision_churn": 0.05},
    "embedding": {"recall1.drop": 0.01, "mean_cosine.drop": 0.01},
}
"""By task, of all rows."""
OF_PARTS = 0.05
"""The share of decisions that a classifier may change on any slice, and on the rows that lack a column's value."""


def careful(roles: Roles, table: pl.DataFrame, *, judged: float) -> dict[str, float]:
    """The limits for a table of which a share in (0, 1] will be judged, by measure.

    Parts are asked only where one is large enough to be judged: a rule that nothing can answer would let nothing pass.
    """
    asked = dict(CAREFUL.get(roles.task, {}))
    if roles.task not in ("binary", "multiclass"):
        return asked
    known = table.filter(pl.col(roles.target).is_not_null())
    parts = {
        "worst_slice.decision_churn": _slices(roles, known),
        "missing.decision_churn": _lacking(roles, known),
    }
    return asked | {name: OF_PARTS for name, sizes in parts.items() if any(_large(each, judged) for each in sizes)}


def _slices(roles: Roles, table: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Rows and groups of every value of every slice column."""
    for name in roles.slices:
        sizes = table.group_by(name).agg(pl.len(), _groups(roles).alias("groups"))
        yield from sizes.select("len", "groups").iter_rows()


def _lacking(roles: Roles, table: pl.DataFrame) -> Iterator[tuple[int, int]]:
    """Rows and groups that lack the value of a column, for each column that may be a feature."""
    for column in table.drop(roles.not_features, strict=False).iter_columns():
        lacks = column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()
        yield table.filter(lacks).select(pl.len(), _groups(roles).alias("groups")).row(0)


def _groups(roles: Roles) -> pl.Expr:
    """How many groups there are; without such a column every row is one."""
    return pl.col(roles.groups).n_unique() if roles.groups else pl.len()


def _large(size: tuple[int, int], judged: float) -> bool:
    """Whether so much of a part as will be judged is large enough for the judge."""
    policy = PolicySection()
    return size[0] * judged >= policy.slice_rows and size[1] * judged >= policy.slice_groups
