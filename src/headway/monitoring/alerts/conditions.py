"""Whether each condition that alerts are sent on holds now, by the records of a project and the metrics of its servers.

A condition that cannot be judged is neither: what was sent before stays true until the opposite is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import get_args

from headway.core.errors import Refused
from headway.core.evidence import Evidence
from headway.core.exposure import exposure_of
from headway.core.monitoring import MonitoringReport, ProbingReport, Ticket
from headway.core.record import digest_of, kind_of, read
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.schedule import TaskRun
from headway.core.selective import CertificateAudit
from headway.core.threats import ThreatAssessment, reopen_reasons
from headway.core.value_replay import ValueReplay, ValueSkew
from headway.data.settings.model import ModelSection
from headway.monitoring.feature_status import describe_skew, last_of_release, live_views
from headway.monitoring.servers import ServerMetrics, burning, metrics_key, read_server, server_addresses
from headway.monitoring.settings.alert import AlertCondition, AlertRule
from headway.monitoring.settings.schedule import ScheduleSection
from headway.monitoring.settings.threats import ThreatsSection
from headway.monitoring.settings.ui import UiSection
from headway.monitoring.task import task_names
from headway.monitoring.task_runs import last_run
from headway.registry.project import LIVE_POINTER, Project

CONDITIONS: tuple[AlertCondition, ...] = get_args(AlertCondition)
CONTRACT = "contract"
FAILING = "contract.failing"
MAX_REPORTS, MAX_PAGES = 200, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionState:
    """Whether a condition holds, the sentence that says so, and what it is about.

    `page` is the page of the dashboard below that of the model.
    """

    is_firing: bool
    summary: str
    subject: str = ""
    release: str = ""
    page: str = ""


class Facts:
    """What conditions are judged by; each part is read when the first condition needs it."""

    def __init__(self, project: Project, *, now: datetime, servers: Sequence[ServerMetrics] | None = None) -> None:
        self.project = project
        self.now = now
        self._read = servers

    @cached_property
    def live(self) -> PointerUpdate | None:
        """The last update of the pointer `live`, whose signature `refused` verifies; None before the first."""
        last = self.project.state.last(self.project.name, LIVE_POINTER)
        return read(PointerUpdate, last.content) if last else None

    @cached_property
    def release(self) -> str:
        """Digest of the release that is live; empty if none is."""
        return self.live.release if self.live else ""

    @cached_property
    def reports(self) -> list[MonitoringReport]:
        """Return the last report on each ended period of the live release, in the order of time."""
        found: dict[tuple[str, str, str], MonitoringReport] = {}
        saved = self.project.state.recent(kind_of(MonitoringReport), name=self.project.name, limit=MAX_REPORTS)
        for report in (read(MonitoringReport, one.content) for one in reversed(saved)):
            if self._is_about_live(report) and report.is_complete:
                found[report.source, report.since, report.until] = report
        return sorted(found.values(), key=lambda report: report.until)

    def _is_about_live(self, report: MonitoringReport) -> bool:
        return report.release == self.release or bool(self.project.config[ModelSection].scores)

    @cached_property
    def ticket(self) -> Ticket | None:
        """The open ticket."""
        ticket = self.project.latest(Ticket)
        return ticket if ticket and ticket.is_open(self.release) else None

    @cached_property
    def rollout(self) -> Rollout | None:
        """The last rollout."""
        return self.project.latest(Rollout)

    @cached_property
    def refused(self) -> str:
        """Why the release that is live is not trusted; empty if it verifies."""
        if not self.release:
            return ""
        try:
            self.project.registry.resolve(f"{self.project.name}@{LIVE_POINTER}")
        except Refused as error:
            return error.what
        return ""

    @cached_property
    def failing_rows(self) -> tuple[float, int, str] | None:
        """Share of rows that broke the contract in the last check, the number of rows, and the time."""
        before = 0
        for _ in range(MAX_PAGES):
            page = self.project.state.recent("evidence", name=self.project.name, before=before)
            for evidence in (read(Evidence, one.content) for one in page if FAILING.encode() in one.content):
                measured = evidence.find(FAILING)
                if evidence.period == CONTRACT and measured is not None:
                    return measured.value, measured.n_rows, evidence.at
            before = page[-1].position if page else 1
            if before <= 1:
                break
        return None

    @cached_property
    def servers(self) -> list[ServerMetrics]:
        """Metrics of the servers in `[ui] servers`, else of the one of `[serve]` on this machine, if it runs there."""
        key, config = metrics_key(), self.project.config
        found = self._read
        if found is None:
            found = [read_server(address, key=key) for address in server_addresses(config)]
        return [
            one for one in found if config[UiSection].servers or (not one.problem and self.project.name in one.models)
        ]

    @cached_property
    def answering(self) -> list[ServerMetrics]:
        """Servers whose metrics could be read."""
        return [server for server in self.servers if not server.problem]

    @cached_property
    def is_replay(self) -> bool:
        """Whether a program replays old data, so that the clock says nothing about its periods."""
        return self.project.state.latest("stamp", name=self.project.name) is not None

    @cached_property
    def views(self) -> tuple[str, ...]:
        """Return the feature views that the live release looks up; none if it is not trusted, see `refused`."""
        try:
            return live_views(self.project)[1]
        except Refused:
            return ()

    @cached_property
    def value_replay(self) -> ValueReplay | None:
        """Return the last value replay of the live release."""
        return last_of_release(self.project, ValueReplay, self.release)

    @cached_property
    def task_runs(self) -> list[TaskRun]:
        """Return the last run of each scheduled task."""
        runs = (last_run(self.project, task) for task in task_names())
        return [run for run in runs if run]


def judge_condition(condition: AlertCondition, facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether a condition holds now; None if that cannot be judged.

    Raises HeadwayError if a store cannot be read.
    """
    return _JUDGES[condition](facts, rule)


def _degradation(facts: Facts, _: AlertRule) -> ConditionState | None:
    judged = [report for report in facts.reports if report.reply("degradation") and report.status != "unknown"]
    if not judged:
        return _nothing_judged(facts)
    last = judged[-1]
    return ConditionState(
        is_firing=last.status == "degraded", summary=last.message, subject=facts.release, release=facts.release
    )


def _drift(facts: Facts, _: AlertRule) -> ConditionState | None:
    judged = [report for report in facts.reports if report.drift is not None]
    if not judged:
        return _nothing_judged(facts)
    last = judged[-1]
    alarm = last.drift is not None and last.drift.alarm
    return ConditionState(
        is_firing=alarm, summary=last.message, subject=facts.release, release=facts.release, page="/data/drift"
    )


def _nothing_judged(facts: Facts) -> ConditionState | None:
    """Return that nothing is known of a release that has just gone live; None if there is none."""
    if not facts.release:
        return None
    return ConditionState(
        is_firing=False, summary="another release is live, and no period of it was judged yet", release=facts.release
    )


def _not_judged(facts: Facts, rule: AlertRule) -> ConditionState | None:
    if not facts.reports:
        return _never_judged(facts, rule)
    last = facts.reports[-1]
    unjudged = 0
    for report in reversed(facts.reports):
        if report.status != "unknown":
            break
        unjudged += 1
    unjudged += 0 if facts.is_replay else _missing_periods(last, facts.now)
    reasons = "; ".join(dict.fromkeys(part.message for part in last.unknown)) if last.status == "unknown" else ""
    more = f": {reasons}" if reasons else ""
    if unjudged < rule.periods:
        summary = f"{last.period} was judged" if not unjudged else f"{last.period} cannot be judged{more}"
        return ConditionState(is_firing=False, summary=summary, release=facts.release)
    periods = "1 period" if unjudged == 1 else f"{unjudged} periods in a row"
    return ConditionState(
        is_firing=True,
        summary=f"the model cannot be judged for {periods}, the last with a report is {last.period}{more}",
        subject=facts.release,
        release=facts.release,
    )


def _never_judged(facts: Facts, rule: AlertRule) -> ConditionState | None:
    """Return whether a release is live for so many periods, of the schedule's length, without any report."""
    live, length = facts.live, _length_of(facts.project.config[ScheduleSection].window)
    if not (live and facts.release and length) or facts.is_replay:
        return _nothing_judged(facts)
    unjudged = (facts.now - datetime.fromisoformat(live.at)) // length - 1
    if unjudged < rule.periods:
        return _nothing_judged(facts)
    return ConditionState(
        is_firing=True,
        summary=f"the release is live since {live.at[:10]}, and no period of it was judged",
        subject=facts.release,
        release=facts.release,
    )


_UNITS_D = {"h": 1 / 24, "d": 1.0, "w": 7.0, "mo": 30.5, "q": 91.5, "y": 365.25}


def _length_of(window: str) -> timedelta | None:
    """Return the length of a period such as 1mo, about; None for what is not known."""
    found = re.fullmatch(r"([1-9]\d{0,3})([a-z]+)", window)
    unit = _UNITS_D.get(found[2]) if found else None
    return timedelta(days=int(found[1]) * unit) if found and unit else None


def _missing_periods(last: MonitoringReport, now: datetime) -> int:
    """Return how many periods of the log ended since the last report without one, beyond the one that just ended."""
    since, until = (datetime.fromisoformat(time) for time in (last.since, last.until))
    length = until - since
    if last.source != "log" or length <= timedelta(0):
        return 0
    return max(0, (now.astimezone(UTC).replace(tzinfo=None) - until.replace(tzinfo=None)) // length - 1)


def _slo_burn(facts: Facts, _: AlertRule) -> ConditionState | None:
    if not facts.answering:
        return None
    fast = [
        f"{server.address}: {objective} at {rate:.3g} times its budget"
        for server in facts.answering
        for objective, rate in burning(server).items()
    ]
    summary = f"the error budget burns too fast; {'; '.join(fast)}" if fast else "no error budget burns too fast"
    return ConditionState(is_firing=bool(fast), summary=summary, release=facts.release, page="/service")


def _log_lag(facts: Facts, rule: AlertRule) -> ConditionState | None:
    if not facts.answering:
        return None
    late = [
        f"{server.address}: the oldest row waits for {lag_s:,.0f} s"
        if (lag_s := server.total("headway_log_lag_seconds")) > rule.log_lag_s
        else f"{server.address}: the log cannot be written, or loses rows"
        for server in facts.answering
        if server.total("headway_log_lag_seconds") > rule.log_lag_s or server.value("headway_log_healthy") == 0
    ]
    summary = f"the prediction log is behind; {'; '.join(late)}" if late else "the prediction log is written in time"
    return ConditionState(is_firing=bool(late), summary=summary, release=facts.release, page="/service")


def _server_down(facts: Facts, _: AlertRule) -> ConditionState | None:
    if not facts.servers:
        return None
    down = [f"{server.address}: {server.problem}" for server in facts.servers if server.problem]
    summary = f"a server does not answer; {'; '.join(down)}" if down else "every server answers"
    return ConditionState(is_firing=bool(down), summary=summary, release=facts.release, page="/service")


def _quarantine(facts: Facts, rule: AlertRule) -> ConditionState | None:
    if facts.failing_rows is None:
        return None
    share, n_rows, at = facts.failing_rows
    summary = f"{share:.2%} of {n_rows:,} rows broke the contract on {at[:10]}, limit {rule.quarantine_share:.2%}"
    return ConditionState(is_firing=share > rule.quarantine_share, summary=summary, page="/data/quarantine")


def _ticket(facts: Facts, _: AlertRule) -> ConditionState:
    ticket = facts.ticket
    if ticket is None:
        return ConditionState(is_firing=False, summary="no ticket is open", release=facts.release)
    return ConditionState(
        is_firing=True, summary=f"a retraining is proposed: {ticket.message}", subject=ticket.at, release=ticket.release
    )


def _rollback(facts: Facts, _: AlertRule) -> ConditionState | None:
    live, rollout = facts.live, facts.rollout
    if live and rollout and rollout.status == "rolled back" and _is_later(rollout.stage_at, live.at):
        return ConditionState(
            is_firing=True,
            summary=f"the rollout of {rollout.release[:19]} was rolled back: {rollout.why}",
            subject=f"{rollout.release} {rollout.stage_at}",
            release=rollout.release,
        )
    if live is None:
        return None
    is_back = live.number > 1 and not live.verdict and bool(live.release)
    who = f"{live.who} moved live back to {live.release[:19]}: {live.why}"
    return ConditionState(
        is_firing=is_back,
        summary=who if is_back else "the last update of live was a release",
        subject=digest_of(f"{live.number} {live.release} {live.at}".encode()) if is_back else "",
        release=live.release,
    )


def _is_later(at: str, other: str) -> bool:
    """Return whether a time is not before another; both have a zone."""
    return datetime.fromisoformat(at) >= datetime.fromisoformat(other)


def _refused_pointer(facts: Facts, _: AlertRule) -> ConditionState:
    pointer = f"{facts.project.name}@{LIVE_POINTER}"
    where = [server.address for server in facts.answering if server.total("headway_pointer_refused", pointer=pointer)]
    if facts.refused:
        summary = f"{pointer} does not verify, and servers keep the release before: {facts.refused}"
    elif where:
        summary = f"{', '.join(where)} refused the last update of {pointer} and keeps the release before"
    else:
        summary = f"{pointer} verifies"
    subject = str(facts.live.number) if facts.live else ""
    return ConditionState(
        is_firing=bool(facts.refused or where), summary=summary, subject=subject, release=facts.release
    )


def _task_failed(facts: Facts, _: AlertRule) -> ConditionState | None:
    if not facts.task_runs:
        return None
    failed = [run for run in facts.task_runs if run.outcome == "failed"]
    summary = "; ".join(f"{run.task} failed: {run.message}" for run in failed) or "every task ended well"
    return ConditionState(
        is_firing=bool(failed),
        summary=summary,
        subject=" ".join(run.task for run in failed),
        release=facts.release,
        page="/alerts",
    )


def _value_skew(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether values differ in the last replay; None if none do and a view could not be replayed."""
    replay = facts.value_replay
    if not facts.views:
        summary = "the live release looks up no feature view"
        return ConditionState(is_firing=False, summary=summary, release=facts.release) if facts.release else None
    if replay is None or replay.status == "unknown":
        return None
    skews = "; ".join(_skew_summary(replay, skew) for skew in replay.skews)
    summary = f"requests see wrong values of features: {skews}; next: headway features replay" if skews else ""
    named = sorted(f"{skew.view} {skew.kind} {' '.join(skew.features)}" for skew in replay.skews)
    return ConditionState(
        is_firing=bool(skews),
        summary=summary or f"all values of feature views were as they should be in {replay.n_rows:,} rows",
        subject=digest_of("; ".join(named).encode()) if named else "",
        release=facts.release,
        page="/data/features",
    )


def _skew_summary(replay: ValueReplay, skew: ValueSkew) -> str:
    compared = next(view.n_rows for view in replay.views if view.view == skew.view)
    since = datetime.fromtimestamp(skew.since_us / 1e6, UTC).isoformat(" ", timespec="minutes")[:16]
    return f"{describe_skew(skew)}, in {skew.n_rows:,} of {compared:,} rows, since {since} UTC (kind: {skew.kind})"


def _certificate(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether the certificate of the live release is withdrawn; None if no audit could judge it."""
    audit = last_of_release(facts.project, CertificateAudit, facts.release)
    if audit is None or audit.status == "unknown":
        return None
    return ConditionState(
        is_firing=audit.status == "broken",
        summary=audit.message,
        subject=" ".join([facts.release, *audit.withdrawn]) if audit.withdrawn else "",
        release=facts.release,
    )


def _threats(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether requirements became gaps, or another assessment is due; None if there never was one."""
    assessed = facts.project.latest(ThreatAssessment)
    if assessed is None:
        return None
    config = facts.project.config
    gaps = [row.id for row in assessed.open_gaps(level=config[ThreatsSection].level) if row.id in assessed.opened]
    due = reopen_reasons(assessed, release=facts.release, exposure=exposure_of(config), now=facts.now)
    parts = [f"gaps that were none before: {', '.join(gaps)}"] if gaps else []
    parts += [f"the threats are to be assessed again: {', '.join(due)}; next: headway threats"] if due else []
    summary = "; ".join(parts) or f"threats were assessed on {assessed.at[:10]}"
    return ConditionState(
        is_firing=bool(parts), summary=summary, subject=" ".join([*gaps, *due]), release=facts.release
    )


def _probing(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether keys are found in the last report on probing of the live release; None if it could not judge."""
    report = facts.project.latest(ProbingReport)
    if report is None or report.release != facts.release or report.reason:
        return None
    found = [
        f"{key.api_key} on {key.day} ({key.rows:,} rows, {key.sign}{', throttled' if key.throttled else ''})"
        for key in report.found
    ]
    return ConditionState(
        is_firing=bool(found),
        summary=f"API keys copy or probe the model: {', '.join(found)}" if found else "no API key probes the model",
        subject=" ".join(f"{key.api_key}@{key.day}" for key in report.found),
        release=facts.release,
    )


_JUDGES: Mapping[AlertCondition, Callable[[Facts, AlertRule], ConditionState | None]] = {
    "degradation": _degradation,
    "drift": _drift,
    "not_judged": _not_judged,
    "slo_burn": _slo_burn,
    "quarantine": _quarantine,
    "ticket": _ticket,
    "rollback": _rollback,
    "refused_pointer": _refused_pointer,
    "log_lag": _log_lag,
    "server_down": _server_down,
    "task_failed": _task_failed,
    "value_skew": _value_skew,
    "certificate": _certificate,
    "threats": _threats,
    "probing": _probing,
}
