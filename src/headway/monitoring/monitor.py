"""Monitor a live release over one window: drift of the inputs, quality, cost, and the next action.

O002: A part of a monitoring report could not judge this period, and why.
O003: Labels of the period do not show the quality of the release, and why.
O004: The quality cannot be estimated without labels, and why.
O012: The prediction log lost rows in a span of the period, which is not judged.
O015: Labels of the log are left out: no row of the task can have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.config import Config
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Evidence, Finding, Measurement
from headway.core.measure import main_measures
from headway.core.monitoring import (
    ACCURACY_CHANGE,
    AUC_CHANGE,
    CALIBRATION_ERROR,
    F1_CHANGE,
    BiasChange,
    BrokenInput,
    Drift,
    MonitoringAnswer,
    MonitoringReport,
    RowSource,
    Ticket,
)
from headway.core.record import digest_of, write
from headway.core.variant import Variant
from headway.data.context import Windows
from headway.data.provenance.fingerprint import table_digest
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.policy import PolicySection
from headway.evaluation.measure import measure
from headway.evaluation.statistics.intervals import period_change
from headway.monitoring import status
from headway.monitoring.bias import bias_changes, judge_bias, people_columns
from headway.monitoring.budget import WEALTH, Budget, Period, broken_days, recorded_inputs
from headway.monitoring.degradation import (
    LabeledGroups,
    count_tests,
    decision_costs,
    expected_loss,
    find_degradation,
    judge_rules,
    require_absolute_rules,
    require_frequent_classes,
    split_ece,
)
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.drift import rank_drift_costs, thinned
from headway.monitoring.input_drift import find_broken_inputs, judge_inputs, overall_p
from headway.monitoring.input_rules import IN_A_ROW, check_rows, check_volume
from headway.monitoring.performance_estimation import estimate_performance, require_known_inputs
from headway.monitoring.prediction_log import LostSpan
from headway.monitoring.scored_rows import (
    ScoredRows,
    count_impossible_labels,
    count_without_key,
    release_comparison,
)
from headway.monitoring.settings.retrain import RetrainSection
from headway.monitoring.text_drift import with_text_features
from headway.monitoring.windows import MonitoringWindow, end_time

PART_NOT_JUDGED, ESTIMATE_NOT_POSSIBLE, LOG_LOST, LABELS_LEFT_OUT = "O002", "O004", "O012", "O015"
METRICS = ("quality", "calibration")
MONITORED = {"binary": (CALIBRATION_ERROR, "base_rate"), "multiclass": ()}
"""Tasks whose quality is monitored, with the measures that a report holds besides the main ones."""
MONTH_DAYS = 365.25 / 12
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringResult:
    """A report, with its evidence if labels have arrived.

    `is_new` means that a question was answered for the first time.
    """

    report: MonitoringReport
    evidence: Evidence | None = None
    is_new: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringContext:
    """Monitoring context of a deployed release: the project's settings, and what is left of the false-alarm budget.

    `opened_at` is the time of the clock (ISO 8601), which a ticket is opened at; windows have the time of their data.
    """

    deployed: DeployedRelease
    config: Config
    budget: Budget
    source: RowSource = "table"
    opened_at: str = ""

    def period(self, window: MonitoringWindow) -> Period:
        """Return the period of a window, as the budget identifies it."""
        return window.period(self.deployed.digest, self.source)

    def broken_before(self, window: MonitoringWindow) -> list[BrokenInput]:
        """Return the broken inputs of the reports on earlier periods of this source."""
        until = window.since.isoformat()
        return recorded_inputs(one for one in self.budget.reports if one.source == self.source and one.until <= until)


def monitor_window(
    context: MonitoringContext, window: MonitoringWindow, *, pending: Ticket | None = None
) -> MonitoringResult:
    """Report on a window, with a retraining ticket if the policy asks for one and none is pending.

    Each question is tested once, when the period is complete: drift of the inputs, and degradation once labels have had
    their time and 20 groups have some. Earlier answers are repeated. No ticket is opened before labels of the period
    have arrived. A period is judged again, at its level, once cells of inputs that were broken in it are repaired.
    """
    require_absolute_rules(context.config[PolicySection])
    earlier = context.budget.last(context.period(window))
    if earlier and _is_repaired(context, window, earlier):
        earlier = None
    if earlier and earlier.reply("degradation"):
        return MonitoringResult(report=_with_status(context, window, earlier, pending), is_new=False)
    parts = _ReportParts(window)
    report, evidence = _measure_window(context, window, parts, earlier)
    report = _with_status(context, window, replace(report, unknown=tuple(parts.unknown)), pending)
    is_new = window.over and report.n_rows > 0 and (earlier is None or earlier.answers != report.answers)
    return MonitoringResult(report=report, evidence=evidence, is_new=is_new)


def _is_repaired(context: MonitoringContext, window: MonitoringWindow, earlier: MonitoringReport) -> bool:
    """Return whether rows of today have fewer broken cells than an earlier report on the period found."""
    cells = earlier.drift.broken_cells if earlier.drift else frozenset()
    if not cells or not len(window.current) or not len(window.judged):
        return False
    still = find_broken_inputs(_windows_between(context, window), context.deployed.release.contract)
    columns = {(entry.column, "") for entry in still}
    return bool(cells - columns - {(entry.column, day) for entry in still for day in entry.days})


def _measure_window(
    context: MonitoringContext, window: MonitoringWindow, parts: _ReportParts, earlier: MonitoringReport | None
) -> tuple[MonitoringReport, Evidence | None]:
    """Measure every part of a report; drift is taken from an earlier report of the same period."""
    deployed, rows = context.deployed, window.current
    parts.unknown += map(_lost_finding, window.lost)
    if context.source == "log" and (count := count_impossible_labels(rows, deployed.release.variant)):
        parts.unknown.append(_labels_finding(count, deployed.release.variant))
    inputs = earlier.reply("drift") if earlier else None
    drift = earlier.drift if earlier and inputs else parts.measure("drift", lambda: _drift(context, window))
    if drift and not inputs:
        level = context.budget.level("drift", context.period(window))
        shown = ("drift.p",) if overall_p(drift) <= level else ()
        inputs = MonitoringAnswer(question="drift", level=level, shown=shown)
    drift_costs = (
        parts.measure("the cost of drift", lambda: _feature_losses(context, window)) if drift and drift.alarm else None
    )
    estimated = parts.measure(
        "quality without labels", lambda: _estimated(context, window, drift), code=ESTIMATE_NOT_POSSIBLE
    )
    now = parts.measure("quality", lambda: _quality(deployed, rows, window.name), code=status.QUALITY_NOT_JUDGED)
    before = parts.measure("quality when judged", lambda: _quality(deployed, window.judged, "judged")) if now else None
    task = deployed.release.variant.task
    changes = list(_changes(now, before, task)) if now and before else []
    if any(one.name == F1_CHANGE for one in changes):
        frequent = parts.measure("the change of macro F1", lambda: _frequent_classes(deployed, window))
        changes = changes if frequent else [one for one in changes if one.name != F1_CHANGE]
    usual = float(np.median(window.n_before)) if window.n_before else None
    report = MonitoringReport(
        name=deployed.release.name,
        release=deployed.digest,
        period=window.name,
        since=window.since.isoformat(),
        until=window.until.isoformat(),
        n_rows=len(rows),
        n_labeled=len(rows.labeled()),
        status="unknown",
        message="",
        drift=drift,
        drift_costs=tuple(drift_costs or ()),
        quality=tuple(found for found in now.measurements if found.name in _monitored_measures(task)) if now else (),
        change=tuple(changes),
        cost=parts.measure("cost", lambda: _cost(context, window)) if now and task == "binary" else None,
        bias=(parts.measure("bias", lambda: _bias(context, window)) or ()) if now else (),
        estimated=tuple(estimated or ()),
        evidence=digest_of(write(now)) if now else "",
        at=window.at.isoformat(),
        source=context.source,
        is_complete=window.over,
        n_without_key=count_without_key(rows) if context.source == "log" else 0,
        row_checks=tuple(_row_checks(context, window, usual)) if drift is None or _is_short(window) else (),
        n_rows_usual=usual,
        n_lost=sum(span.rows for span in window.lost),
        sampled=window.sampled,
    )
    report = replace(report, answers=(inputs,) if inputs else ())
    return (_with_degradation_answer(context, window, report, now) if now else report), now


def _with_degradation_answer(
    context: MonitoringContext, window: MonitoringWindow, report: MonitoringReport, now: Evidence
) -> MonitoringReport:
    """Answer the question of degradation, if labels have had their time and are enough to answer it."""
    change = report.find(AUC_CHANGE) or report.find(ACCURACY_CHANGE)
    if not window.due or change is None or change.se is None:
        return report
    level = context.budget.level("degradation", context.period(window))
    policy = context.config[PolicySection]
    report = replace(report, bias=judge_bias(report.bias, alpha=level / count_tests(report, policy)))
    report = replace(report, rule_results=judge_rules(report, now, policy, level=level))
    answer = find_degradation(
        report,
        level=level,
        ece_at_most=context.config[RetrainSection].ece_at_most,
        usual_cost=_usual_cost(context, window) if report.cost else None,
    )
    return replace(report, answers=(*report.answers, answer))


def _with_status(
    context: MonitoringContext, window: MonitoringWindow, report: MonitoringReport, pending: Ticket | None
) -> MonitoringReport:
    """Add the status, the message, and a ticket if the policy opens one."""
    config, answer = context.config, report.reply("degradation")
    report = replace(report, status=status.monitoring_status(report), ticket=None)
    report = replace(report, recovered_from=status.recovered_from(report, context.budget.reports))
    ticket = None
    renews = pending is not None and pending.release == report.release
    if report.n_labeled and not context.deployed.scores and (answer or not renews):
        ticket = status.propose_retraining(
            config[RetrainSection],
            name=report.name,
            release=report.release,
            rows_trained=context.deployed.training.n_rows,
            rows_labeled=window.n_known,
            calibration=report.find("ece"),
            calibration_failed=bool(answer and CALIBRATION_ERROR in answer.shown),
            expected_loss=report.cost,
            price_s=context.deployed.training.seconds * config[RetrainSection].seeds or None,
            evidence=(report.evidence,) if report.evidence else (),
            at=report.at,
            until=report.until,
            opened_at=context.opened_at,
            pending=pending,
            broken=recorded_inputs([report], accepted=config[RetrainSection].accept_out_of_range),
        )
    report = replace(report, ticket=ticket)
    is_open = pending is not None and pending.at <= report.at
    message = status.status_message(report, config[RetrainSection], pending=is_open)
    sampled = [f"{str(report.sampled).capitalize()}."] if report.sampled else []
    return replace(report, message=" ".join([message, *(f"{found.message}." for found in report.row_checks), *sampled]))


def _bias(context: MonitoringContext, window: MonitoringWindow) -> tuple[BiasChange, ...]:
    """Return the gaps of the sensitive groups of a period, and when the release was judged."""
    names, deployed = context.config[DataSection].sensitive_features, context.deployed
    if not names:
        return ()
    signature = deployed.release.variant.signature
    now, judged = (
        changed(
            release_comparison(deployed, rows),
            sensitive_features=people_columns(rows.labeled().table, names, signature, logged=logged),
        )
        for rows, logged in ((window.current, context.source == "log"), (window.judged, False))
    )
    return bias_changes(now, judged)


class _ReportParts:
    """Parts of a report, measured one by one; a part that cannot be judged leaves a finding."""

    def __init__(self, window: MonitoringWindow) -> None:
        self.where = window.name
        self.unknown: list[Finding] = []

    def measure(self, part: str, function: Callable[[], Found], *, code: str = PART_NOT_JUDGED) -> Found | None:
        try:
            return function()
        except (NotApplicable, DataError) as reason:
            message = f"{part} could not be judged: {reason.what}"
            self.unknown.append(
                Finding(
                    code=code,
                    severity="undecided",
                    message=message,
                    where=reason.where or self.where,
                    hint=reason.hint,
                )
            )
            return None


def _lost_finding(span: LostSpan) -> Finding:
    since, until = (f"{datetime.fromtimestamp(us / 1e6, UTC):%Y-%m-%d %H:%M:%S}" for us in span[:2])
    return Finding(
        code=LOG_LOST,
        severity="undecided",
        message=f"the log lost {span.rows:,} rows from {since} to {until} UTC, and this time is not judged",
        where="log",
        measured=float(span.rows),
        hint="headway_log_lost_rows_total of the server's metrics; check its disk",
    )


def _labels_finding(count: int, variant: Variant) -> Finding:
    return Finding(
        code=LABELS_LEFT_OUT,
        severity="undecided",
        message=f"{count:,} labels are left out: no row of the task {variant.task!r} can have them",
        where="labels of the log",
        measured=float(count),
        hint=f"headway labels add, with {variant.label_values()} for each of these keys; their last label counts",
    )


def _row_checks(context: MonitoringContext, window: MonitoringWindow, usual: float | None) -> list[Finding]:
    """Check the rows and their number at once, where their drift cannot be judged.

    The limits are those of rows of equal weight, so a log that samples is thinned.
    """
    release, rows = context.deployed.release, thinned(window.current.detector_window()).rows
    found = check_rows(rows, window.judged.rows, release.contract, release.variant.signature)
    if context.source == "log" and window.over:
        n_sent = window.current.n_sent + sum(span.rows for span in window.lost)
        found += check_volume(n_sent, usual, len(window.n_before))
    return found


def _is_short(window: MonitoringWindow) -> bool:
    """Return whether the period has too few days for the rules on days."""
    return window.until - window.since < timedelta(days=IN_A_ROW)


def _drift(context: MonitoringContext, window: MonitoringWindow) -> Drift:
    if not window.over:
        raise NotApplicable("the period has not ended, and each is tested once", hint="wait for its end")
    if not len(window.current):
        raise NotApplicable("the period has no rows")
    if not len(window.judged):
        if window.broken_when_judged:
            raise NotApplicable(
                "an input was out of its range on all days that the release was judged on",
                hint="repair the feed, and headway retrain",
            )
        raise NotApplicable("the rows that the release was judged on are not in the project's table")
    if window.until - window.since < timedelta(days=1):
        raise NotApplicable(
            "the period is shorter than a day, and the hours of a day differ", hint="periods of a day or more"
        )
    level = context.budget.level("drift", context.period(window))
    windows = changed(_windows_between(context, window), alpha=level)
    if windows.signature.texts:
        classes, between = context.deployed.release.class_names, _rows_between(window)
        windows = with_text_features(windows, window.judged, between, window.current, classes=classes)
    return judge_inputs(
        windows,
        year_alpha=WEALTH["drift"],
        contract=context.deployed.release.contract,
        left_out=broken_days(context.broken_before(window)),
    )


def _rows_between(window: MonitoringWindow) -> ScoredRows:
    return window.rows.between(window.judging[1], window.since)


def _windows_between(context: MonitoringContext, window: MonitoringWindow) -> Windows:
    """Return the windows of a period with the days between it and the reference."""
    return changed(_windows(context.deployed, window), between=_rows_between(window).detector_window())


def _windows(deployed: DeployedRelease, window: MonitoringWindow) -> Windows:
    return Windows(
        before=window.judged.detector_window(),
        after=window.current.detector_window(),
        signature=deployed.release.variant.signature,
        run=window.current.run,
    )


def _feature_losses(context: MonitoringContext, window: MonitoringWindow) -> list[Measurement]:
    """Estimate what the drift of each feature costs a row, in the unit of `[model] costs`."""
    _require_binary(context.deployed, "it is of the costs of two classes")
    losses = _costs(context, window.judged)
    return [replace(cost, unit="cost a row") for cost in rank_drift_costs(_windows(context.deployed, window), losses)]


def _costs(context: MonitoringContext, rows: ScoredRows) -> Floats:
    threshold, costs = context.deployed.release.threshold, context.config[ModelSection].decision_costs
    return decision_costs(rows.scores, rows.labels, threshold=threshold, costs=costs)


def _estimated(context: MonitoringContext, window: MonitoringWindow, drift: Drift | None) -> list[Measurement]:
    """Estimate the quality from labeled periods, without the days on which an input was broken."""
    deployed, broken = context.deployed, broken_days(context.broken_before(window))
    _require_binary(deployed, "it is of the scores of two classes")
    past = [rows for part in window.past if len(rows := part.without_days(broken))]
    if past:
        before, now = past[-1].detector_window(), window.current.detector_window()
        require_known_inputs(before, now, deployed.release.variant.signature, drift=drift)
    rows = window.current
    return estimate_performance([part.labeled_scores() for part in past], rows.scores, rows.groups, rows.weights)


def _quality(deployed: DeployedRelease, rows: ScoredRows, period: str) -> Evidence:
    """Measure quality and calibration on the labeled rows.

    Raises NotApplicable for a task without tests, unless both of two classes occur, and without the probability of each
    of several classes.
    """
    task, labeled = deployed.release.variant.task, rows.labeled()
    if task not in MONITORED:
        raise NotApplicable(
            f"monitoring of quality supports the tasks {' and '.join(map(repr, MONITORED))}, not {task!r}"
        )
    if task == "multiclass" and labeled.probabilities is None:
        raise NotApplicable(
            "a table of scores has one number a row, and several classes need the probability of each",
            hint='[model] file = "MODEL", or train = "train:train"',
        )
    needed = 2 if task == "binary" else 1
    if len(np.unique(labeled.labels)) < needed:
        what = "both classes are needed" if task == "binary" else "some are needed"
        raise NotApplicable(f"{len(labeled):,} of {len(rows):,} rows are labeled, and {what}")
    subject = release_comparison(deployed, labeled)
    found = measure(subject, METRICS, dataset_digest=table_digest(labeled.table), period=period)
    if task != "binary":
        return found
    return replace(found, measurements=(*found.measurements, split_ece(subject, run=labeled.run)))


def _frequent_classes(deployed: DeployedRelease, window: MonitoringWindow) -> bool:
    """Return True if each class has labels in enough groups of both periods; else raise NotApplicable."""
    now, judged = (
        LabeledGroups(part.labels.astype(np.int64), part.groups)
        for part in (window.current.labeled(), window.judged.labeled())
    )
    require_frequent_classes(now, judged, deployed.release.class_names)
    return True


def _cost(context: MonitoringContext, window: MonitoringWindow) -> Measurement:
    threshold, costs = context.deployed.release.threshold, context.config[ModelSection].decision_costs
    rows = window.current
    now, judged = (part.decision_costs(threshold=threshold, costs=costs) for part in (rows, window.judged))
    days = max((end_time(rows) - window.since) / timedelta(days=1), 1.0)
    return expected_loss(now, judged, rows_a_month=rows.n_sent / days * MONTH_DAYS)


def _usual_cost(context: MonitoringContext, window: MonitoringWindow) -> float:
    """Return what a month of rows of this period would cost at the rate of the judged period."""
    judged, rows = _costs(context, window.judged), window.current
    days = max((end_time(rows) - window.since) / timedelta(days=1), 1.0)
    return float(np.nanmean(judged)) * rows.n_sent / days * MONTH_DAYS


def _monitored_measures(task: str) -> tuple[str, ...]:
    return (*main_measures(task), *MONITORED[task])


def _changes(now: Evidence, before: Evidence, task: str) -> Iterator[Measurement]:
    """Yield each metric less its value when judged."""
    judged = {found.name: found for found in before.measurements if not found.slice}
    for found in now.measurements:
        if found.name in main_measures(task) and not found.slice and found.name in judged:
            yield period_change(found, judged[found.name])


def _require_binary(deployed: DeployedRelease, reason: str) -> None:
    task = deployed.release.variant.task
    if task != "binary":
        raise NotApplicable(f"only the task 'binary' is supported, not {task!r}: {reason}")
