"""False-alarm budget of a year of monitoring: half for each question, and each period is tested once.

LORD++ (Ramdas, Yang, Wainwright and Jordan 2017): the t-th period is tested at level `wealth * g(t)`, where g(t) falls
as t^-1.6 and sums to 1; each rejection earns level for later periods. Until the first rejection the levels sum to less
than the wealth, however dependent the periods are: in a year without change a false alarm occurs in at most 5 of 100
cases, both questions together. After a true rejection at most 5 % of the rejections are false on average, which is
proved for independent tests.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from headway.core.monitoring import INPUT_BROKE, BrokenInput, MonitoringAnswer, MonitoringReport, Question

WEALTH: dict[Question, float] = {"drift": 0.025, "degradation": 0.025}
FDR_LEVEL = 0.05
YEAR = timedelta(days=365)
EPOCH = date(1970, 1, 1)
DECAY = 1.6
_SUM = 2.2857657  # of t^-1.6 over all t from 1, rounded up


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A release over [since, until) in ISO 8601, by the rows of the table or of the prediction log."""

    release: str
    source: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class Budget:
    """A project's monitoring reports, oldest first: what was tested and what is left of the year's false-alarm rate."""

    reports: Sequence[MonitoringReport]

    def last(self, period: Period) -> MonitoringReport | None:
        """Return the last report on a period, None if there is none."""
        return next((report for report in reversed(self.reports) if period_of_report(report) == period), None)

    def level(self, question: Question, period: Period) -> float:
        """Return the significance level for a question on a period; one that is judged again keeps its level."""
        before = self.last(period)
        if before and (reply := before.reply(question)):
            return reply.level
        here = datetime.fromisoformat(period.since)
        answers = list(self._answers(question))
        first = min([here, *(since for since, _ in answers)])
        year = (here - first) // YEAR
        return lord_level(
            [bool(answer.shown) for since, answer in answers if (since - first) // YEAR == year], WEALTH[question]
        )

    def _answers(self, question: Question) -> Iterator[tuple[datetime, MonitoringAnswer]]:
        """Yield the start and the last answer of each period for which the question was tested, in that order."""
        replies = {period_of_report(report): reply for report in self.reports if (reply := report.reply(question))}
        for period, reply in replies.items():
            yield datetime.fromisoformat(period.since), reply


def period_of_report(report: MonitoringReport) -> Period:
    """Return the period that a report is about."""
    return Period(release=report.release, source=report.source, since=report.since, until=report.until)


def recorded_inputs(reports: Iterable[MonitoringReport], *, accepted: Collection[str] = ()) -> list[BrokenInput]:
    """Return the broken inputs of the last report on each period, but those columns that a person accepted.

    Reports of earlier versions kept no days: all days of their period count.
    """
    last = {period_of_report(report): report for report in reports}
    return [entry for report in last.values() for entry in _inputs_of(report) if entry.column not in accepted]


def _inputs_of(report: MonitoringReport) -> tuple[BrokenInput, ...]:
    if report.drift is None:
        return ()
    findings = [finding for finding in report.drift.findings if finding.code == INPUT_BROKE]
    if report.drift.broken or not findings:
        return report.drift.broken
    first = day_number(report.since[:10])
    count = max(day_number(report.until[:10]) - first, 1)
    days = tuple((EPOCH + timedelta(days=first + number)).isoformat() for number in range(count))
    return tuple(BrokenInput(column=finding.where, days=days, message=finding.message) for finding in findings)


def broken_days(broken: Iterable[BrokenInput]) -> frozenset[int]:
    """Return the days with a broken cell, counted from 1970."""
    return frozenset(day_number(day) for entry in broken for day in entry.days)


def day_number(day: str) -> int:
    """Return the number of a day in ISO 8601, counted from 1970."""
    return (date.fromisoformat(day) - EPOCH).days


def lord_level(rejections: Sequence[bool], wealth: float) -> float:
    """Return the LORD++ level of the next test.

    Parameters
    ----------
    rejections : sequence of bool
        Outcome of each test so far, in order.
    wealth : float
        Initial wealth: bound on the false-alarm rate until the first rejection.

    >>> round(lord_level([], 0.03), 4), round(lord_level([False], 0.03), 4), round(lord_level([True], 0.03), 4)
    (0.0131, 0.0043, 0.0131)
    """
    now = len(rejections) + 1
    found = wealth * _weight(now)
    for count, at in enumerate(index for index, rejected in enumerate(rejections, 1) if rejected):
        found += (FDR_LEVEL if count else FDR_LEVEL - wealth) * _weight(now - at)
    return found


def _weight(index: int) -> float:
    return float(index**-DECAY) / _SUM
