"""Data of a report: one record in which every field but the title may be absent, and the periods that it covers."""

from __future__ import annotations

import calendar
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec.structs import replace

from headway.core.erasure import Erasure
from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.feature_report import FeatureReport
from headway.core.measure import lower_is_better, main_measures_among, quality_measures
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.plan import DeploymentPlan
from headway.core.provenance import TrackedData
from headway.core.record import Record, StoredRecord
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout, RolloutTraffic
from headway.core.selective import CertificateWithdrawal
from headway.core.threats import ThreatAssessment
from headway.core.training import LearningCurve, Retraining
from headway.core.value_replay import ValueReplay
from headway.core.variant import Variant
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.reporting.text import formatting


class SplitPeriod(Record, frozen=True, kw_only=True):
    """A period of the split (train, validation, test or live): ISO dates, [first, until)."""

    name: str
    first: str
    until: str

    def holds(self, period: str) -> bool:
        """Return whether the period with this label (`2013-09`, `2013-09-01`) begins within these dates."""
        day = period if len(period) > 7 else f"{period}-01"
        return self.first[:10] <= day < self.until[:10]


class Replay(Record, frozen=True, kw_only=True):
    """A period sent to the running server as traffic, with every answer compared.

    `mismatches` counts rows whose answer differs from what the release computes in process; `largest_difference` is the
    largest distance of a probability from the baseline's over all rows; `failures` counts requests without a valid
    answer. `p50` and `p99` are request times in ms.
    """

    period: str
    requests: int
    rows: int
    mismatches: int
    failures: int
    largest_difference: float
    seconds: float
    p50: Measurement | None = None
    p99: Measurement | None = None


class Stage(Record, frozen=True, kw_only=True):
    """A stage of the run and its duration."""

    name: str
    seconds: float


class ColumnUse(Record, frozen=True, kw_only=True):
    """A column: its use, the personal data found in it, and the purpose and legal basis declared; empty for none.

    `is_personal` is True if the settings or a check say that it has personal data that are kept.
    """

    name: str
    purpose: str
    personal: str = ""
    declared_purpose: str = ""
    legal_basis: str = ""
    is_read: bool = False
    is_personal: bool = False


class DataUse(Record, frozen=True, kw_only=True):
    """How the data of a source are used, how long served data are kept, and what was erased.

    `checked_at` is when checks last searched for personal data (ISO 8601), `n_read` how many columns the model reads.
    """

    source: str
    columns: tuple[ColumnUse, ...]
    n_read: int
    checked_at: str = ""
    retention: str = ""
    erasures: tuple[Erasure, ...] = ()


EventKind = Literal["drift", "worse", "recovered", "rolled back", "ticket", "retrained", "live", "other"]
EventStyle = Literal["pass", "fail", "note"]


class Event(Record, frozen=True, kw_only=True):
    """Something that happened after the release: when, what, and a sentence for the person who must act.

    `at` is ISO 8601, a month or finer; `detail` is for engineers. `record` is the digest of the record behind it.
    """

    at: str
    what: str
    message: str
    style: EventStyle = "note"
    kind: EventKind = "other"
    detail: str = ""
    record: str = ""


class RefusedVariant(Record, frozen=True, kw_only=True):
    """A variant that is wrong on purpose to test the policy, and what is wrong about it."""

    title: str
    judged: EvaluatedVariant


class Stamp(StoredRecord, frozen=True, kw_only=True):
    """When something happened in the time of the data, stored by programs that replay old data.

    `of` is the salt of the rollout or the key of the retraining; `at` is ISO 8601, a month (`2013-10`) or finer. `note`
    states what no other record knows, such as how a data feed was broken.
    """

    name: str
    of: str
    at: str
    note: str = ""


class RolloutSummary(Record, frozen=True, kw_only=True):
    """A rollout as it stands now: why it was started, and the last verdict on its traffic, if any.

    `traffic` is what it answered, by the log; None if the log cannot be read.
    """

    at: str
    rollout: Rollout
    aim: str = ""
    verdict: Verdict | None = None
    note: str = ""
    traffic: RolloutTraffic | None = None


class DatedRetraining(Record, frozen=True, kw_only=True):
    """A retraining with its time."""

    at: str
    retraining: Retraining


class LiveChange(Record, frozen=True, kw_only=True):
    """An update of the pointer `live`.

    `back` if the release had been live before, `by_rollout` if a rollout made it.
    """

    at: str
    move: PointerUpdate
    back: bool = False
    by_rollout: bool = False


ReleaseStatus = Literal["live", "canary", "before", "rolled back", "withdrawn"]


class ReleaseState(Record, frozen=True, kw_only=True):
    """A release that was live or a canary, and what became of it.

    `at`, `who` and `why` are those of the update that made it so (ISO 8601); `until` is when it ended, `ended_by` and
    `ended_why` who ended it and the reason; empty while it stands. `verdict` is the one that it was signed with, None
    if the release does not verify. `who` is `rollout` where the judge acted on a rollout. `views` are the feature views
    that it looks up, such as `weather@v2`.
    """

    release: str
    name: str
    status: ReleaseStatus
    pointer: str
    at: str
    who: str
    why: str
    answer: str = ""
    until: str = ""
    ended_by: str = ""
    ended_why: str = ""
    variant: Variant | None = None
    verdict: Verdict | None = None
    views: tuple[str, ...] = ()


JUDGE = "rollout"
"""Who moves a pointer where the judge acted on a rollout."""


def describe_start(state: ReleaseState) -> str:
    """Describe who made a release live or a canary, when and why: an override as an override."""
    on = f"on {formatting.format_time(state.at)}"
    if state.answer == "override":
        by = state.verdict.by if state.verdict and state.verdict.overridden else state.who
        why = state.verdict.why if state.verdict and state.verdict.overridden else state.why
        return f"Override by {by} {on}, against the judge: {_full_stop(why)}"
    if state.who == JUDGE:
        return f"By the judge {on}, after its rollout: {_full_stop(state.why)}"
    return f"By {state.who} {on}: {_full_stop(state.why)}"


def describe_end(state: ReleaseState) -> str:
    """Describe what became of a release: who ended it, when and why; empty while it stands."""
    if state.status in ("live", "canary"):
        return ""
    by = "the judge" if state.ended_by == JUDGE else state.ended_by
    done = {"before": "Replaced", "rolled back": "Rolled back", "withdrawn": "Withdrawn"}[state.status]
    return f"{done} by {by} on {formatting.format_time(state.until)}: {_full_stop(state.ended_why)}"


def _full_stop(text: str) -> str:
    return f"{text.rstrip('.')}."


class MonitoringHistory(Record, frozen=True, kw_only=True):
    """Monitoring reports on the live releases, and the tickets, retrainings and rollouts since; each part may be empty.

    `watches` holds one report per period on the release that was live in it, oldest first. `names` gives each live
    release a name (`first release`); `limits` are those of `[retrain]` by measure. `withdrawals` are those of their
    certificates.
    """

    watches: tuple[MonitoringReport, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    rollouts: tuple[RolloutSummary, ...] = ()
    retrainings: tuple[DatedRetraining, ...] = ()
    live_changes: tuple[LiveChange, ...] = ()
    withdrawals: tuple[CertificateWithdrawal, ...] = ()
    names: dict[str, str] = {}
    limits: dict[str, float] = {}

    @property
    def retrained(self) -> tuple[Retraining, ...]:
        """Retrainings without their times."""
        return tuple(dated.retraining for dated in self.retrainings)


class ReportData(Record, frozen=True, kw_only=True):
    """Everything a report can show; it shows what is present.

    `frontier` holds the variants as judged on the validation period, `winner` the released one as judged on the test
    period, `baseline_evidence` the baseline on the same rows as `winner`. `screened_out` are variants that were only
    timed, `reasons` why each variant was not released, `refusals` the transforms that did not apply. `months` holds
    evidence by period on the released variant and on the baseline: `Evidence.subject` is the variant, `Evidence.period`
    the label. `releases` are those that were live or a canary, the live one first, then the latest; `searched_at` is
    ISO 8601, and `next_step` the command that the last state asks for, with `next_reason`. `groups` is the word for
    dependent rows (`days`); slices with fewer than `slice_rows` rows or `slice_groups` groups are counted, not shown.
    `release` is a digest and `key` names the publisher's key; without `release` the winner is not released. `data` is
    the digest of each period, `tracked` what DVC recorded of its files. `features` and `value_replay` are the last ones
    of the live release, `threats` the last assessment of threats, and `plan` the last plan of a
    deployment.
    """

    title: str
    lead: tuple[str, ...] = ()
    groups: str = "groups"
    slice_rows: int = 1000
    slice_groups: int = 20
    findings: tuple[Finding, ...] = ()
    frontier: tuple[EvaluatedVariant, ...] = ()
    screened_out: tuple[EvaluatedVariant, ...] = ()
    reasons: dict[str, str] = {}
    refusals: tuple[Finding, ...] = ()
    winner: EvaluatedVariant | None = None
    baseline_evidence: Evidence | None = None
    refused: RefusedVariant | None = None
    months: tuple[Evidence, ...] = ()
    spans: tuple[SplitPeriod, ...] = ()
    replay: Replay | None = None
    year: MonitoringHistory | None = None
    curve: LearningCurve | None = None
    data_use: DataUse | None = None
    features: FeatureReport | None = None
    value_replay: ValueReplay | None = None
    threats: ThreatAssessment | None = None
    plan: DeploymentPlan | None = None
    release: str = ""
    key: str = ""
    releases: tuple[ReleaseState, ...] = ()
    searched_at: str = ""
    next_step: str = ""
    next_reason: str = ""
    data: dict[str, str] = {}
    tracked: tuple[TrackedData, ...] = ()
    stages: tuple[Stage, ...] = ()
    machine: Machine | None = None

    @property
    def live(self) -> ReleaseState | None:
        """The release that is live."""
        return next((state for state in self.releases if state.status == "live"), None)

    @property
    def word(self) -> str:
        """`released`, or `chosen` while the winner is not released."""
        return "released" if self.release else "chosen"

    @property
    def baseline(self) -> EvaluatedVariant | None:
        """The baseline among the variants."""
        return next((judged for judged in self.frontier if not judged.variant.steps), None)

    def is_winner(self, judged: EvaluatedVariant) -> bool:
        """Return whether this is the released variant."""
        return self.winner is not None and judged.variant.digest == self.winner.variant.digest

    def of_winner(self, name: str) -> Measurement | None:
        """Return a measurement of the released variant on the test period; speed is taken from the search."""
        if self.winner is None:
            return None
        own, *searched = self.winner_evidence()
        sources = (*searched, own) if name.startswith(formatting.TIMED) else (own, *searched)
        return next((found for evidence in sources if (found := evidence.find(name))), None)

    def winner_evidence(self) -> list[Evidence]:
        """Return the evidence on the released variant: on the test period, then that of the search."""
        own = [self.winner.evidence] if self.winner else []
        return [*own, *(judged.evidence for judged in self.frontier if self.is_winner(judged))]


ESTIMATED = ".estimated"
COST, DRIFT = "cost.month", "drift.p"
"""Measures of a monitored period besides its quality: the additional cost per month, and the p-value of its inputs."""
_USES = ("train", "validation", "test")


class ReportPeriod(Record, frozen=True, kw_only=True):
    """One period: what was measured once its labels had arrived, and what was estimated before.

    `watch` is None before a release was live.
    """

    label: str
    since: datetime | None = None
    until: datetime | None = None
    measured: tuple[Measurement, ...] = ()
    watch: MonitoringReport | None = None

    def find(self, measure: str) -> Measurement | None:
        """Return what was measured over all rows, if it has an interval."""
        return _sure(self.measured, measure)

    def estimate(self, measure: str) -> Measurement | None:
        """Return the estimate of a measure before labels arrived, if it has an interval."""
        return _sure(self.watch.estimated, measure + ESTIMATED) if self.watch else None


def list_periods(report: ReportData) -> tuple[ReportPeriod, ...]:
    """Return the periods in order: those that were monitored, and those measured on the released variant."""
    found = {
        evidence.period: _before(evidence)
        for evidence in reversed(report.months)
        if evidence.subject == released_subject(report)
    }
    found |= {watch.period: _seen(watch) for watch in (report.year.watches if report.year else ())}
    return tuple(found[label] for label in sorted(found))


def charted_measures(report: ReportData, *, complete: bool = False) -> list[str]:
    """Return the measures of the timeline: the first main one, and the last main error that was measured or estimated.

    With `complete`, cost and drift of the monitored periods as well.
    """
    found = list_periods(report)
    main = period_measures(report)
    gains = [name for name in main if not lower_is_better(name)]
    errors = [name for name in reversed(main) if lower_is_better(name)]
    known = [name for name in errors if any(period.find(name) for period in found)]
    more = [name for name in (COST, DRIFT) if complete and any(period.find(name) for period in found)]
    return [*gains[:1], *(known or errors)[:1], *more]


def period_measures(report: ReportData) -> list[str]:
    """Return the main measures that some period holds, or that were estimated before its labels arrived."""
    found = list_periods(report)
    names = [name for name in quality_measures() if any(period.find(name) or period.estimate(name) for period in found)]
    return main_measures_among(names)


def monthly_measures(report: ReportData) -> list[str]:
    """Return up to three measures that some month holds."""
    names = set[str]().union(*(evidence.names() for evidence in report.months))
    return main_measures_among(names)[:3]


def month_labels(report: ReportData) -> list[str]:
    """Return the labels of the months with evidence, in order."""
    return sorted({evidence.period for evidence in report.months})


def released_subject(report: ReportData) -> str:
    """Return the subject of the released variant: the winner's, else the only one; empty for none."""
    if report.winner:
        return report.winner.evidence.subject
    return report.months[0].subject if report.months else ""


def month_measurement(report: ReportData, label: str, measure: str, *, live: bool = True) -> Measurement | None:
    """Return a measurement of a month on the released variant, or on the other one with `live=False`."""
    same = (
        evidence
        for evidence in report.months
        if evidence.period == label and (evidence.subject == released_subject(report)) is live
    )
    return next((found for evidence in same if (found := evidence.find(measure))), None)


def split_period_of(report: ReportData, label: str) -> str:
    """Return the period of the split that a month lies in; empty where there is none."""
    return next((span.name for span in report.spans if span.holds(label)), "")


def describe_use(report: ReportData, label: str) -> str:
    """Return what a month was used for before a release was live; empty for other months."""
    use = split_period_of(report, label)
    return use if use in _USES else ""


def axis_position(found: Sequence[ReportPeriod], at: str) -> float | None:
    """Return the position of a time on an axis where each period is 1 wide; None outside all periods.

    A month alone (`2013-10`) counts as its middle.
    """
    time = datetime.fromisoformat(at if len(at) > 7 else f"{at}-15T12:00").replace(tzinfo=None)
    for index, period in enumerate(found):
        if period.since and period.until and period.since <= time < period.until:
            return index + (time - period.since) / (period.until - period.since)
    return None


def _seen(watch: MonitoringReport) -> ReportPeriod:
    since, until = (datetime.fromisoformat(time).replace(tzinfo=None) for time in (watch.since, watch.until))
    cost = (replace(watch.cost, name=COST, unit=""),) if watch.cost else ()
    drift = [found for found in watch.drift.measurements if found.name == DRIFT] if watch.drift else ()
    measured = (*watch.quality, *cost, *drift)
    return ReportPeriod(label=watch.period, since=since, until=until, measured=measured, watch=watch)


def _before(evidence: Evidence) -> ReportPeriod:
    """Return a period that has only evidence; its bounds are known if it is a month."""
    since = until = None
    if formatting.is_dated(evidence.period) and len(evidence.period) == 7:
        since = datetime.fromisoformat(f"{evidence.period}-01")
        until = since + timedelta(days=calendar.monthrange(since.year, since.month)[1])
    return ReportPeriod(label=evidence.period, since=since, until=until, measured=evidence.measurements)


def _sure(found: Sequence[Measurement], name: str) -> Measurement | None:
    of_all = (measurement for measurement in found if measurement.name == name and not measurement.slice)
    return next(
        (
            measurement
            for measurement in of_all
            if math.isfinite(measurement.value) and formatting.has_interval(measurement)
        ),
        None,
    )
