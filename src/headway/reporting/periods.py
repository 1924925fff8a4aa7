"""Periods of a report: which there are, what was measured and estimated in each, and their names."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from headway.core.evidence import Evidence, Measurement
from headway.core.record import Record
from headway.core.watch import MonitoringReport
from headway.reporting.report_data import ReportData
from headway.reporting.text import formatting, words

ESTIMATED = ".estimated"
_USES = {"train": "learned from", "validation": "chosen on", "test": "judged on"}
_DATED = re.compile(r"\d{4}-\d\d(-\d\d)?")


class Period(Record, frozen=True, kw_only=True):
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


def list_periods(report: ReportData) -> tuple[Period, ...]:
    """Return the periods in order: those that were monitored, and those measured on the released variant."""
    found = {
        evidence.period: _before(evidence)
        for evidence in reversed(report.months)
        if evidence.subject == released_subject(report)
    }
    found |= {watch.period: _seen(watch) for watch in (report.year.watches if report.year else ())}
    return tuple(found[label] for label in sorted(found))


def charted_measures(report: ReportData) -> list[str]:
    """Return the measures of the timeline: AUC, and the first error that was measured or else estimated."""
    every = list_periods(report)
    known = {name for name in words.QUALITY if any(period.find(name) for period in every)}
    guessed = {name for name in words.QUALITY if any(period.estimate(name) for period in every)}
    ranks = [name for name in ("roc_auc",) if name in known | guessed]
    errors = ("ece", "brier", "log_loss", "rmse", "mae")
    return [*ranks, *[name for few in (known, guessed) for name in errors if name in few][:1]]


def monthly_measures(report: ReportData) -> list[str]:
    """Return up to three measures that some month holds."""
    return [name for name in words.QUALITY if any(evidence.find(name) for evidence in report.months)][:3]


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
    return _USES.get(split_period_of(report, label), "")


def is_dated(label: str) -> bool:
    """Return whether a label is a month or a day: `2013-09`, `2013-09-02`."""
    return _DATED.fullmatch(label) is not None


def period_name(label: str) -> str:
    """Return a month or a day in words: `September 2013`, `2 September 2013`; other labels are unchanged."""
    month = label[5:7]
    if not is_dated(label[:10]) or not 1 <= int(month) <= 12:
        return label
    name = f"{calendar.month_name[int(month)]} {label[:4]}"
    return f"{int(label[8:10])} {name}" if label[8:10] else name


def axis_position(found: Sequence[Period], at: str) -> float | None:
    """Return the position of a time on an axis where each period is 1 wide; None outside all periods.

    A month alone (`2013-10`) counts as its middle.
    """
    time = datetime.fromisoformat(at if len(at) > 7 else f"{at}-15T12:00").replace(tzinfo=None)
    for index, period in enumerate(found):
        if period.since and period.until and period.since <= time < period.until:
            return index + (time - period.since) / (period.until - period.since)
    return None


def _seen(watch: MonitoringReport) -> Period:
    since, until = (datetime.fromisoformat(each).replace(tzinfo=None) for each in (watch.since, watch.until))
    return Period(label=watch.period, since=since, until=until, measured=watch.quality, watch=watch)


def _before(evidence: Evidence) -> Period:
    """Return a period that has only evidence; its bounds are known if it is a month."""
    since = until = None
    if is_dated(evidence.period) and len(evidence.period) == 7:
        since = datetime.fromisoformat(f"{evidence.period}-01")
        until = since + timedelta(days=calendar.monthrange(since.year, since.month)[1])
    return Period(label=evidence.period, since=since, until=until, measured=evidence.measurements)


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
