"""What features are worth and what looking them up costs, each by leaving it out (ablation)."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from headway.core.arrays import Floats
from headway.core.calibrator import Calibrator
from headway.core.contracts import Blobs, OnlineStore
from headway.core.evidence import Measurement
from headway.core.feature_report import Proposal
from headway.core.feature_view import FeatureView
from headway.evaluation.audits import components
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.statistics.claims import ALPHA, one_sided_bounds
from headway.evaluation.statistics.intervals import Estimate, Sample, t_interval
from headway.features.window_state import WindowPlan

_PROPOSALS: dict[str, Proposal] = {
    "components.harmful": "harmful",
    "components.nothing": "useless",
    "components.unsettled": "undecided",
}
_ROUNDS, _ROWS, _CALLS = 25, 100, 10


class Ablation(NamedTuple):
    """Increase of the error without a feature, what that makes of it (empty: it is worth its place), and the reason.

    `error` is that of the model with all features.
    """

    increase: Measurement | None
    proposal: Proposal = ""
    reason: str = ""
    error: float = 0.0


def measure_worth(
    subject: Comparison, features: Sequence[Sequence[str]], *, blobs: Blobs, budget_s: float, calibrator: Calibrator
) -> dict[str, Ablation]:
    """Measure how much worse a model answers if a feature, or several at once, are missing in every row.

    Parameters
    ----------
    subject : Comparison
        The model, with labeled rows that it did not learn from.
    features : sequence of sequence of str
        Inputs of the model that are left out together: a feature, or those that need a view.
    blobs : Blobs
        Where models are stored.
    budget_s : float
        Time for all features, seconds; those that it does not reach are undecided.
    calibrator : Calibrator
        That of the release.

    Returns
    -------
    dict of str to Ablation
        By the names of the features, with " + " between them. All words share the 5 % chance that any of them is wrong.
    """
    groups = dict.fromkeys(tuple(names) for names in features if names)
    if not groups:
        return {}
    context = AuditContext(blobs=blobs, budget_s=budget_s, feature_groups=tuple(groups), calibrator=calibrator)
    measured = components.plugin(subject, context)
    increases = {found.slice: found for found in measured if found.name.endswith(".drop")}
    words = {found.slice: (_PROPOSALS[found.name], found.method) for found in measured if found.name in _PROPOSALS}
    error = components.ReleaseCandidate(subject, calibrator).error
    joined = [" + ".join(names) for names in groups]
    return {name: Ablation(increases.get(name), *words.get(name, ("", "")), error) for name in joined}


def price_views(
    ablations: Mapping[str, Ablation], lookups: Mapping[str, Measurement], *, max_us_per_percent: float
) -> dict[str, Ablation]:
    """Propose to remove views whose look-up takes more time than they are worth.

    A view is `too dear` if the lower bound of the time of its look-up is above `max_us_per_percent` for each percent of
    the error that it is worth at most. All views share the 5 % chance that one is called so wrongly. A view that is
    harmful or useless is not judged again.

    Parameters
    ----------
    ablations : mapping of str to Ablation
        By view: of all inputs that need it.
    lookups : mapping of str to Measurement
        CPU time a row of the look-up of each view, microseconds.
    max_us_per_percent : float
        CPU time a row that one percent of the error may cost, microseconds.
    """
    total = sum(max(found.value, 0.0) for found in lookups.values())
    alpha = ALPHA / (2 * max(len(ablations), 1))  # a bound of the time and one of the worth, for each view
    found = dict(ablations)
    for view, ablation in ablations.items():
        lookup, increase = lookups.get(view), ablation.increase
        if lookup is None or increase is None or ablation.proposal in ("harmful", "useless") or ablation.error <= 0:
            continue
        percent = 100 * max(one_sided_bounds(increase, alpha)[1], 0.0) / ablation.error
        low_us, allowed_us = one_sided_bounds(lookup, alpha)[0], percent * max_us_per_percent
        if low_us > allowed_us:
            reason = (
                f"its look-up takes {lookup.value:.3g} us of CPU time a row, at least {low_us:.3g}, "
                f"{lookup.value / total:.0%} of all look-ups; it is worth at most {percent:.2g} % of the error, which "
                f"may take {allowed_us:.3g} us ([features] max_us_per_percent = {max_us_per_percent:g})"
            )
            found[view] = ablation._replace(proposal="too dear", reason=reason)
    return found


def measure_lookups(store: OnlineStore, lookups: Sequence[tuple[FeatureView, Sequence[str]]]) -> dict[str, Measurement]:
    """Measure the CPU time of this process that a row saves if one view is not read.

    All views are read, and their windows aggregated, with and without each in turn, so that what else the machine does
    meets all alike.

    Parameters
    ----------
    store : OnlineStore
        The online store.
    lookups : sequence of FeatureView and keys
        Views, and keys of entities to look up in each.

    Returns
    -------
    dict of str to Measurement
        By the reference of the view, in microseconds per row; the interval is over rounds. Negative values are noise
        around nothing.

    Raises
    ------
    StoreError
        If a table does not exist, or the store does not answer.
    """
    n_rows = min((len(keys) for _, keys in lookups), default=0)
    n_rows = min(n_rows, _ROWS)
    if not n_rows:
        return {}
    at_us = time.time_ns() // 1000
    found = [_Lookup(view, keys[:n_rows], at_us) for view, keys in lookups]
    _read(store, found, at_us)
    spent = np.array(
        [
            [_cpu_us(store, [one for one in found if one is not left_out], at_us) for left_out in (None, *found)]
            for _ in range(_ROUNDS)
        ]
    )
    saved = (spent[:, :1] - spent[:, 1:]) / n_rows
    return {view.reference: _mean(saved[:, index], n_rows=n_rows) for index, (view, _) in enumerate(lookups)}


class _Lookup:
    """What is read of a view for the keys of entities."""

    def __init__(self, view: FeatureView, entities: Sequence[str], at_us: int) -> None:
        self.entities = entities
        self.rows = [(view.online_table, entities)] if view.has_rows else []
        self.plan = WindowPlan.of_view(view) if view.has_windows else None
        self.states = (
            [(view.states_table, [key for entity in entities for key in self.plan.keys_at(entity, at_us)])]
            if self.plan
            else []
        )


def _read(store: OnlineStore, lookups: Sequence[_Lookup], at_us: int) -> None:
    """Read all in one call, and aggregate the windows, as a server does."""
    rows, states = [part for one in lookups for part in one.rows], [part for one in lookups for part in one.states]
    found = iter(store.read_with_states(rows, states)[1])
    for one in lookups:
        if one.plan is not None:
            one.plan.answers(one.entities, next(found), at_us)


def _mean(saved: Floats, *, n_rows: int) -> Measurement:
    """Return the mean over rounds, which noise may make negative."""
    se = float(saved.std(ddof=1)) / math.sqrt(len(saved))
    estimate = Estimate(value=float(saved.mean()), se=se, dof=len(saved) - 1, method="mean over rounds in turns, t")
    return t_interval("feature.lookup_us", estimate, Sample(n_rows=n_rows, n_groups=len(saved)))


def _cpu_us(store: OnlineStore, lookups: Sequence[_Lookup], at_us: int) -> float:
    began = time.thread_time_ns()
    for _ in range(_CALLS if lookups else 0):
        _read(store, lookups, at_us)
    return (time.thread_time_ns() - began) / _CALLS / 1_000
