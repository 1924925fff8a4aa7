"""Default rules of a release by task, and its floor: a model must know more than a constant and a simple reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from headway.core.dataset import Roles
from headway.core.evidence import Evidence, Measurement
from headway.core.variant import DECIDES, MULTILABEL
from headway.core.verdict import LIVE, SLICES, Rule
from headway.data.settings.policy import PolicySection

if TYPE_CHECKING:  # the serving install has no polars
    import polars

DEFAULT_LIMITS: dict[str, dict[str, float]] = {
    "binary": {"roc_auc.drop": 0.005, "brier.drop": 0.005, "probability_shift": 0.02, "decision_churn": 0.01},
    "multiclass": {"accuracy.drop": 0.005, "log_loss.drop": 0.01, "decision_churn": 0.01},
    "multilabel": {"macro_f1.drop": 0.01, "micro_f1.drop": 0.005, "log_loss.drop": 0.01, "decision_churn": 0.01},
    "regression": {"r2.drop": 0.005},
    "ranking": {"ndcg10.drop": 0.005, "decision_churn": 0.05},
    "embedding": {"recall1.drop": 0.01, "mean_cosine.drop": 0.01},
}
"""Upper limits of the default policy by task, over all rows."""
SLICE_LIMIT = 0.05
"""Largest decision churn of a classifier on any slice, and on the rows in which a column has no value."""
MIN_GAIN, REFERENCE_MARGIN = 0.0001, 0.02
"""A release gains at least this share of the loss of the constant prediction, and at most this much less than the
reference model."""
LIVE_LIMITS: dict[str, dict[str, float]] = {
    "binary": {"brier": 0.01, "roc_auc": 0.01},
    "multiclass": {"log_loss": 0.02, "accuracy": 0.01},
    "multilabel": {"log_loss": 0.02, "micro_f1": 0.01},
    "regression": {"r2": 0.01},
    "ranking": {"ndcg10": 0.01},
    "embedding": {"recall1": 0.02},
}
"""Measures of each task, its main one last, and how much worse than the live release a new one may be.

A model with too few rounds ranks almost as well and has other probabilities, so those have a rule of their own.
"""
_CLASSIFIERS = (*DECIDES, MULTILABEL)
_OF_SLICES, _OF_MISSING = "worst_slice.decision_churn", "missing.decision_churn"


def floor_rules(task: str) -> tuple[Rule, ...]:
    """Return the rules on the gain over the constant prediction, and over the reference model where a task has one."""
    constant = Rule(measure="gain_over_constant", at_least=MIN_GAIN)
    reference = Rule(measure="gain_over_reference", at_least=-REFERENCE_MARGIN)
    return (constant,) if task == "embedding" else (constant, reference)


def live_rules(task: str) -> tuple[Rule, ...]:
    """Return the rules on the difference to the live release, that on the main measure last; none for another task."""
    limits = LIVE_LIMITS.get(task, {})
    return tuple(Rule(measure=f"{LIVE}{measure}.drop", at_most=limit) for measure, limit in limits.items())


def default_rules(roles: Roles, table: polars.DataFrame, *, judged: float) -> tuple[Rule, ...]:
    """Return the default rules for a table of which a share in (0, 1] will be judged, the floor included.

    Slices and rows with missing values get a rule only if one of them is large enough to be judged: a rule that
    cannot be decided would let nothing pass.
    """
    known = table.filter(table[roles.target].is_not_null())
    sizes = {_OF_SLICES: _slice_sizes(roles, known), _OF_MISSING: _missing_sizes(roles, known)}
    policy = PolicySection()
    parts = [name for name, found in sizes.items() if any(_is_large(*size, policy, judged) for size in found)]
    return (*_limits(roles.task, parts), *floor_rules(roles.task))


def release_policy(policy: PolicySection, task: str, evidence: Evidence) -> PolicySection:
    """Return a policy with the rules that it implies: the default rules if it has none, and those of `floor = "data"`.

    Default rules on slices and on missing values are left out if the evidence has none that is large enough.
    """
    rules = policy.release
    if not rules:
        large = {part.name for part in evidence.measurements if part.slice and _is_judged(part, policy)}
        parts = [name for name in (_OF_SLICES, _OF_MISSING) if name.removeprefix(SLICES) in large]
        rules = (*_limits(task, parts), *(() if policy.floor == "none" else floor_rules(task)))
    if policy.floor == "data":
        own = {rule.measure for rule in rules}
        rules = (*rules, *(rule for rule in floor_rules(task) if rule.measure not in own))
    return replace(policy, release=rules)


def _is_judged(part: Measurement, policy: PolicySection) -> bool:
    return _is_large(part.n_rows, part.n_groups, policy, 1.0)


def _limits(task: str, parts: list[str]) -> tuple[Rule, ...]:
    limits = dict(DEFAULT_LIMITS.get(task, {}))
    limits |= dict.fromkeys(parts if task in _CLASSIFIERS else (), SLICE_LIMIT)
    return tuple(Rule(measure=measure, at_most=limit) for measure, limit in limits.items())


def _slice_sizes(roles: Roles, table: polars.DataFrame) -> Iterator[tuple[int, int]]:
    """Rows and groups of every value of every slice column."""
    for name in roles.slices:
        for part in table.partition_by(name):
            yield len(part), _count_groups(roles, part)


def _missing_sizes(roles: Roles, table: polars.DataFrame) -> Iterator[tuple[int, int]]:
    """Rows and groups in which a column has no value, for each column that may be a feature and lacks some."""
    groups = table[roles.groups] if roles.groups else None
    for column in table.drop(roles.not_features, strict=False).iter_columns():
        if column.dtype.is_float():
            missing = np.flatnonzero(np.isnan(column.to_numpy()))  # null becomes NaN
        elif column.null_count():
            missing = np.flatnonzero(column.is_null().to_numpy())
        else:
            continue
        if len(missing):
            yield len(missing), len(missing) if groups is None else groups.gather(missing).n_unique()


def _count_groups(roles: Roles, part: polars.DataFrame) -> int:
    """Number of groups; without a group column each row is one."""
    return part[roles.groups].n_unique() if roles.groups else len(part)


def _is_large(rows: float, groups: float, policy: PolicySection, judged: float) -> bool:
    """Return whether the judged share of a slice has enough rows and groups for a verdict."""
    return rows * judged >= policy.slice_rows and groups * judged >= policy.slice_groups
