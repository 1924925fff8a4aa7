"""Monitor a live release over one window: drift of the inputs, quality, cost, and what to do.

O002: A part of a monitoring report could not judge this period, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import timedelta
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.config import Config
from headway.core.contracts import Windows
from headway.core.drift import Drift
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.plugins import load_detector
from headway.core.record import digest_of, write
from headway.core.ticket import Ticket
from headway.core.watch import MonitoringAnswer, MonitoringReport, RowSource
from headway.data.provenance.fingerprint import table_digest
from headway.evaluation.measure import measure
from headway.evaluation.statistics.intervals import CHANGE, Estimate, Sample, t_interval
from headway.monitoring import status
from headway.monitoring.budget import Budget, Period
from headway.monitoring.degradation import (
    CALIBRATION_ERROR,
    decision_costs,
    expected_loss,
    find_degradation,
    judge_rules,
    require_absolute_rules,
    split_ece,
)
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.drift import rank_drift_costs
from headway.monitoring.performance_estimation import estimate_performance
from headway.monitoring.scored_rows import ScoredRows, count_without_key, release_comparison
from headway.monitoring.trigger import RetrainingInputs, propose_retraining
from headway.monitoring.windows import MonitoringWindow, end_time

PART_NOT_JUDGED = "O002"
DETECTOR = "group_permutation"
PROBES = ("quality", "calibration")
MEASURES = ("roc_auc", "brier", "ece", CALIBRATION_ERROR, "base_rate")
CHANGES = ("roc_auc", "brier", "ece")
MONTH_DAYS = 365.25 / 12
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringResult:
    """A report, with its evidence if labels have arrived; `is_new` means that a question was answered for the first time."""

    report: MonitoringReport
    evidence: Evidence | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringContext:
    """Monitoring context of a deployed release: the project's settings, and what is left of the false-alarm budget."""

    deployed: DeployedRelease
    config: Config
    budget: Budget
    source: RowSource = "table"

    def period(self, scene: MonitoringWindow) -> Period:
        """Return the period of a window, as the budget identifies it."""
        return scene.period(self.deployed.digest, self.source)


def monitor_window(
    context: MonitoringContext, scene: MonitoringWindow, *, pending: Ticket | None = None
) -> MonitoringResult:
    """Report on a window, with a retraining ticket if the policy asks for one and none is pending.

    Each question is tested once, when the period is complete: drift of the inputs, and degradation once labels have had
    their time and 20 groups have some. Earlier answers are repeated. No ticket is opened before labels of the period have
    arrived.
    """
    require_absolute_rules(context.config.policy)
    told = context.budget.last(context.period(scene))
    if told and told.reply("harm"):
        return MonitoringResult(report=_with_status(context, scene, told, pending), is_new=False)
    parts = _Parts(scene)
    found, evidence = _measure_window(context, scene, parts, told)
    seen = _with_status(context, scene, replace(found, unknown=tuple(parts.unknown)), pending)
    return MonitoringResult(
        report=seen, evidence=evidence, is_new=scene.over and (told is None or told.answers != seen.answers)
    )


def _measure_window(
    context: MonitoringContext, scene: MonitoringWindow, parts: _Parts, told: MonitoringReport | None
) -> tuple[MonitoringReport, Evidence | None]:
    """Measure every part of a report; drift is taken from an earlier report of the same period."""
    deployed, window = context.deployed, scene.window
    inputs = told.reply("drift") if told else None
    drift = told.drift if told and inputs else parts.ask("drift", lambda: _drift(context, scene))
    if drift and not inputs:
        level = context.budget.level("drift", context.period(scene))
        inputs = MonitoringAnswer(question="drift", level=level, shown=("drift.p",) if drift.alarm else ())
    drift_costs = parts.ask("rank", lambda: _feature_losses(context, scene)) if drift and drift.alarm else None
    estimated = parts.ask("estimate without labels", lambda: _estimated(deployed, scene))
    now = parts.ask(status.QUALITY, lambda: _quality(deployed, window, scene.name))
    before = parts.ask("quality when judged", lambda: _quality(deployed, scene.judged, "judged")) if now else None
    found = MonitoringReport(
        name=deployed.release.name,
        release=deployed.digest,
        period=scene.name,
        since=scene.since.isoformat(),
        until=scene.until.isoformat(),
        n_rows=len(window),
        n_labeled=len(window.labeled()),
        status="unknown",
        message="",
        drift=drift,
        drift_costs=tuple(drift_costs or ()),
        quality=tuple(each for each in now.measurements if each.name in MEASURES) if now else (),
        change=tuple(_changes(now, before)) if now and before else (),
        cost=parts.ask("cost", lambda: _cost(context, scene)) if now else None,
        estimated=tuple(estimated or ()),
        evidence=digest_of(write(now)) if now else "",
        at=scene.at.isoformat(),
        source=context.source,
        is_complete=scene.over,
        n_without_key=count_without_key(window) if context.source == "log" else 0,
    )
    asked = replace(found, answers=(inputs,) if inputs else ())
    return (_with_degradation_answer(context, scene, asked, now) if now else asked), now


def _with_degradation_answer(
    context: MonitoringContext, scene: MonitoringWindow, found: MonitoringReport, now: Evidence
) -> MonitoringReport:
    """Answer the question of degradation, if labels have had their time and are enough to answer it."""
    change = found.find("roc_auc.change")
    if not scene.due or change is None or change.se is None:
        return found
    level = context.budget.level("harm", context.period(scene))
    found = replace(found, rule_results=judge_rules(found, now, context.config.policy, level=level))
    reply = find_degradation(found, level=level, ece_at_most=context.config.retrain.ece_at_most)
    return replace(found, answers=(*found.answers, reply))


def _with_status(
    context: MonitoringContext, scene: MonitoringWindow, found: MonitoringReport, pending: Ticket | None
) -> MonitoringReport:
    """Add the status, the message, and a ticket if the policy opens one."""
    config, reply = context.config, found.reply("harm")
    seen = replace(found, status=status.monitoring_status(found), ticket=None)
    situation = RetrainingInputs(
        name=found.name,
        release=found.release,
        rows_trained=context.deployed.training.n_rows,
        rows_labeled=scene.n_known,
        calibration=found.find("ece"),
        off=bool(reply and CALIBRATION_ERROR in reply.shown),
        expected_loss=found.cost,
        price_s=context.deployed.training.seconds * config.retrain.seeds,
        evidence=(found.evidence,) if found.evidence else (),
        at=found.at,
    )
    ticket = propose_retraining(situation, config.retrain, pending=pending) if found.n_labeled else None
    seen = replace(seen, ticket=ticket)
    opened = pending is not None and pending.at <= found.at
    return replace(seen, message=status.status_message(seen, config.retrain, pending=opened))


class _Parts:
    """Parts of a report, measured one by one; a part that cannot be judged leaves a finding."""

    def __init__(self, scene: MonitoringWindow) -> None:
        self.where = scene.name
        self.unknown: list[Finding] = []

    def ask(self, part: str, ask: Callable[[], Found]) -> Found | None:
        try:
            return ask()
        except (NotApplicable, DataError) as reason:
            message = f"{part} cannot be said: {reason.what}"
            self.unknown.append(
                Finding(
                    code=PART_NOT_JUDGED,
                    severity="undecided",
                    message=message,
                    where=reason.where or self.where,
                    hint=reason.hint,
                )
            )
            return None


def _drift(context: MonitoringContext, scene: MonitoringWindow) -> Drift:
    if not scene.over:
        raise NotApplicable("the period is not over, and each is judged once", hint="wait for its end")
    level = context.budget.level("drift", context.period(scene))
    return load_detector(DETECTOR)(changed(_windows(context.deployed, scene), alpha=level))


def _windows(deployed: DeployedRelease, scene: MonitoringWindow) -> Windows:
    return Windows(
        before=scene.judged.detector_window(),
        after=scene.window.detector_window(),
        signature=deployed.release.variant.signature,
        run=scene.window.run,
    )


def _feature_losses(context: MonitoringContext, scene: MonitoringWindow) -> list[Measurement]:
    """Estimate what the drift of each feature costs a row, in the unit of `[model] costs`."""
    _require_binary(context.deployed)
    lost = _costs(context, scene.judged)
    return [replace(each, unit="cost a row") for each in rank_drift_costs(_windows(context.deployed, scene), lost)]


def _costs(context: MonitoringContext, rows: ScoredRows) -> Floats:
    threshold, costs = context.deployed.release.threshold, context.config.model.costs
    return decision_costs(rows.scores, rows.labels, threshold=threshold, costs=costs)


def _estimated(deployed: DeployedRelease, scene: MonitoringWindow) -> list[Measurement]:
    _require_binary(deployed)
    past = [each.labeled_scores() for each in scene.past if len(each)]
    return estimate_performance(past, scene.window.scores, scene.window.groups)


def _quality(deployed: DeployedRelease, rows: ScoredRows, period: str) -> Evidence:
    """Measure quality and calibration on the labeled rows; raises NotApplicable unless both classes occur."""
    _require_binary(deployed)
    some = rows.labeled()
    if len(np.unique(some.labels)) < 2:
        raise NotApplicable(f"{len(some):,} labels of {len(rows):,} have come, and both classes are needed")
    subject = release_comparison(deployed, some)
    found = measure(subject, PROBES, dataset_digest=table_digest(some.table), period=period)
    return replace(found, measurements=(*found.measurements, split_ece(subject, run=some.run)))


def _cost(context: MonitoringContext, scene: MonitoringWindow) -> Measurement:
    threshold, costs = context.deployed.release.threshold, context.config.model.costs
    window = scene.window
    now, judged = (each.decision_costs(threshold=threshold, costs=costs) for each in (window, scene.judged))
    days = max((end_time(window) - scene.since) / timedelta(days=1), 1.0)
    return expected_loss(now, judged, rows_a_month=len(window) / days * MONTH_DAYS)


def _changes(now: Evidence, before: Evidence) -> Iterator[Measurement]:
    """Yield each metric less its value when judged; the groups differ, so that the variances add up."""
    judged = {each.name: each for each in before.measurements if not each.slice}
    for one in (each for each in now.measurements if each.name in CHANGES and not each.slice):
        two = judged[one.name]
        errors = [each.se for each in (one, two) if each.se is not None]
        found = Estimate(
            value=one.value - two.value,
            se=math.hypot(*errors) if len(errors) == 2 else math.inf,
            dof=min(one.dof or 0, two.dof or 0),
            method=f"difference of two periods, each a {one.method}",
        )
        sample = Sample(n_rows=one.n_rows + two.n_rows, n_groups=one.n_groups + two.n_groups, bounds=CHANGE)
        yield t_interval(f"{one.name}.change", found, sample)


def _require_binary(deployed: DeployedRelease) -> None:
    if deployed.release.variant.task != "binary":
        raise NotApplicable(f"it is defined for the task 'binary', not for {deployed.release.variant.task!r}")
