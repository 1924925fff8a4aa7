"""A live release over one period: did the inputs move, is it still right, what does it cost, and what to do.

O002: a part of a watch could not judge this period, and why.
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
    """A watch, with the evidence behind it where labels had come; `news` says that a question was answered just now."""

    report: MonitoringReport
    evidence: Evidence | None = None
    news: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringContext:
    """Who asks: the release at its post, the project's settings, and what the year's budget has left."""

    post: DeployedRelease
    config: Config
    budget: Budget
    source: RowSource = "table"

    def period(self, scene: MonitoringWindow) -> Period:
        """The period of a scene, as the budget knows it."""
        return scene.period(self.post.digest, self.source)


def monitor_window(
    asker: MonitoringContext, scene: MonitoringWindow, *, pending: Ticket | None = None
) -> MonitoringResult:
    """What a period shows of a release, and a ticket to train anew where the policy asks for one and none is pending.

    Each question is put once, when the period is over: to its inputs, and to its quality once its labels have had their
    time and 20 groups are known. What was answered before is told again as it was. No ticket is opened before labels
    of the period have come.
    """
    require_absolute_rules(asker.config.policy)
    told = asker.budget.last(asker.period(scene))
    if told and told.reply("harm"):
        return MonitoringResult(report=_with_status(asker, scene, told, pending), news=False)
    parts = _Parts(scene)
    found, evidence = _measure_window(asker, scene, parts, told)
    seen = _with_status(asker, scene, replace(found, unknown=tuple(parts.unknown)), pending)
    return MonitoringResult(
        report=seen, evidence=evidence, news=scene.over and (told is None or told.answers != seen.answers)
    )


def _measure_window(
    asker: MonitoringContext, scene: MonitoringWindow, parts: _Parts, told: MonitoringReport | None
) -> tuple[MonitoringReport, Evidence | None]:
    """All parts of a watch but what they mean; its drift is taken from where it was `told` before."""
    post, window = asker.post, scene.window
    inputs = told.reply("drift") if told else None
    drift = told.drift if told and inputs else parts.ask("drift", lambda: _drift(asker, scene))
    if drift and not inputs:
        level = asker.budget.level("drift", asker.period(scene))
        inputs = MonitoringAnswer(question="drift", level=level, shown=("drift.p",) if drift.alarm else ())
    drift_costs = parts.ask("rank", lambda: _feature_losses(asker, scene)) if drift and drift.alarm else None
    estimated = parts.ask("estimate without labels", lambda: _estimated(post, scene))
    now = parts.ask(status.QUALITY, lambda: _quality(post, window, scene.name))
    before = parts.ask("quality when judged", lambda: _quality(post, scene.judged, "judged")) if now else None
    found = MonitoringReport(
        name=post.release.name,
        release=post.digest,
        period=scene.name,
        since=scene.since.isoformat(),
        until=scene.until.isoformat(),
        n_rows=len(window),
        n_labeled=len(window.known()),
        status="unknown",
        message="",
        drift=drift,
        drift_costs=tuple(drift_costs or ()),
        quality=tuple(each for each in now.measurements if each.name in MEASURES) if now else (),
        change=tuple(_changes(now, before)) if now and before else (),
        cost=parts.ask("cost", lambda: _cost(asker, scene)) if now else None,
        estimated=tuple(estimated or ()),
        evidence=digest_of(write(now)) if now else "",
        at=scene.at.isoformat(),
        source=asker.source,
        is_complete=scene.over,
        n_without_key=count_without_key(window) if asker.source == "log" else 0,
    )
    asked = replace(found, answers=(inputs,) if inputs else ())
    return (_with_degradation_answer(asker, scene, asked, now) if now else asked), now


def _with_degradation_answer(
    asker: MonitoringContext, scene: MonitoringWindow, found: MonitoringReport, now: Evidence
) -> MonitoringReport:
    """The watch with the question of harm answered, if labels have had their time and are enough to answer it."""
    change = found.find("roc_auc.change")
    if not scene.due or change is None or change.se is None:
        return found
    level = asker.budget.level("harm", asker.period(scene))
    found = replace(found, rule_results=judge_rules(found, now, asker.config.policy, level=level))
    reply = find_degradation(found, level=level, ece_at_most=asker.config.retrain.ece_at_most)
    return replace(found, answers=(*found.answers, reply))


def _with_status(
    asker: MonitoringContext, scene: MonitoringWindow, found: MonitoringReport, pending: Ticket | None
) -> MonitoringReport:
    """The watch with its outlook, the sentence, and a ticket if the policy opens one."""
    config, reply = asker.config, found.reply("harm")
    seen = replace(found, status=status.monitoring_status(found), ticket=None)
    situation = RetrainingInputs(
        name=found.name,
        release=found.release,
        rows_trained=asker.post.training.n_rows,
        rows_labelled=scene.n_known,
        calibration=found.find("ece"),
        off=bool(reply and CALIBRATION_ERROR in reply.shown),
        expected_loss=found.cost,
        price_s=asker.post.training.seconds * config.retrain.seeds,
        evidence=(found.evidence,) if found.evidence else (),
        at=found.at,
    )
    ticket = propose_retraining(situation, config.retrain, pending=pending) if found.n_labeled else None
    seen = replace(seen, ticket=ticket)
    opened = pending is not None and pending.at <= found.at
    return replace(seen, message=status.status_message(seen, config.retrain, pending=opened))


class _Parts:
    """Parts of a watch, asked one by one; what cannot judge leaves a finding that says so."""

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


def _drift(asker: MonitoringContext, scene: MonitoringWindow) -> Drift:
    if not scene.over:
        raise NotApplicable("the period is not over, and each is judged once", hint="wait for its end")
    level = asker.budget.level("drift", asker.period(scene))
    return load_detector(DETECTOR)(changed(_windows(asker.post, scene), alpha=level))


def _windows(post: DeployedRelease, scene: MonitoringWindow) -> Windows:
    return Windows(
        before=scene.judged.window(),
        after=scene.window.window(),
        signature=post.release.variant.signature,
        run=scene.window.run,
    )


def _feature_losses(asker: MonitoringContext, scene: MonitoringWindow) -> list[Measurement]:
    """What the drift of each feature is estimated to cost a row, in the unit of `[model] costs`."""
    _require_binary(asker.post)
    lost = _costs(asker, scene.judged)
    return [replace(each, unit="cost a row") for each in rank_drift_costs(_windows(asker.post, scene), lost)]


def _costs(asker: MonitoringContext, rows: ScoredRows) -> Floats:
    threshold, costs = asker.post.release.threshold, asker.config.model.costs
    return decision_costs(rows.scores, rows.labels, threshold=threshold, costs=costs)


def _estimated(post: DeployedRelease, scene: MonitoringWindow) -> list[Measurement]:
    _require_binary(post)
    past = [each.scored() for each in scene.past if len(each)]
    return estimate_performance(past, scene.window.scores, scene.window.groups)


def _quality(post: DeployedRelease, rows: ScoredRows, period: str) -> Evidence:
    """Quality and calibration of the answers with a label; raises NotApplicable where no label tells them apart."""
    _require_binary(post)
    some = rows.known()
    if len(np.unique(some.labels)) < 2:
        raise NotApplicable(f"{len(some):,} labels of {len(rows):,} have come, and both classes are needed")
    subject = release_comparison(post, some)
    found = measure(subject, PROBES, dataset_digest=table_digest(some.table), period=period)
    return replace(found, measurements=(*found.measurements, split_ece(subject, run=some.run)))


def _cost(asker: MonitoringContext, scene: MonitoringWindow) -> Measurement:
    threshold, costs = asker.post.release.threshold, asker.config.model.costs
    window = scene.window
    now, judged = (each.priced(threshold=threshold, costs=costs) for each in (window, scene.judged))
    days = max((end_time(window) - scene.since) / timedelta(days=1), 1.0)
    return expected_loss(now, judged, rows_a_month=len(window) / days * MONTH_DAYS)


def _changes(now: Evidence, before: Evidence) -> Iterator[Measurement]:
    """Quality less what it was on the period of the judge: other groups, so that the variances add up."""
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


def _require_binary(post: DeployedRelease) -> None:
    if post.release.variant.task != "binary":
        raise NotApplicable(f"it is defined for the task 'binary', not for {post.release.variant.task!r}")
