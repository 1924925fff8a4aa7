"""What a year of watching may spend on false sentences: half for each question, and each period is asked once.

LORD++ (Ramdas, Yang, Wainwright and Jordan 2017): the t-th period is asked at a chance of `wealth * g(t)`, where g(t)
falls as t^-1.6 and sums to 1; each yes earns chance for the periods after it. Until the first yes the chances add up to
less than the wealth however the periods lean on each other, so that a year in which nothing changes has a false
sentence in at most 5 of 100 cases, both questions together. After a true yes at most 5 % of what a question says is
false on average, which is proved where the tests of periods are independent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headway.core.watch import MonitoringAnswer, MonitoringReport, Question

WEALTH: dict[Question, float] = {"drift": 0.025, "harm": 0.025}
FDR_LEVEL = 0.05
YEAR = timedelta(days=365)
DECAY = 1.6
_SUM = 2.2857657  # of t^-1.6 over all t from 1, rounded up


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What is asked about: a release, over [since, until) in ISO 8601, by the rows of the table or of the log."""

    release: str
    source: str
    since: str
    until: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The watches of a project so far, oldest first: what was asked, and what of the year's chance is left."""

    kept: Sequence[MonitoringReport]

    def last(self, period: Period) -> MonitoringReport | None:
        """How a period was last told, None where it was not."""
        return next((each for each in reversed(self.kept) if period_of_report(each) == period), None)

    def level(self, question: Question, period: Period) -> float:
        """The chance of a false yes that a question may take on a period that it was not put to."""
        here = datetime.fromisoformat(period.since)
        answers = list(self._answers(question))
        first = min([here, *(since for since, _ in answers)])
        year = (here - first) // YEAR
        return lord_level(
            [bool(each.shown) for since, each in answers if (since - first) // YEAR == year], WEALTH[question]
        )

    def _answers(self, question: Question) -> Iterator[tuple[datetime, MonitoringAnswer]]:
        """Each period that the question was put to, in the order of asking: its beginning, and the answer."""
        asked = set()
        for watch in self.kept:
            reply, period = watch.reply(question), period_of_report(watch)
            if reply and period not in asked:
                asked.add(period)
                yield datetime.fromisoformat(watch.since), reply


def period_of_report(watch: MonitoringReport) -> Period:
    """The period that a watch is about."""
    return Period(release=watch.release, source=watch.source, since=watch.since, until=watch.until)


def lord_level(yes: Sequence[bool], wealth: float) -> float:
    """The chance for the next test after those that said `yes` or not, of LORD++ with so much wealth to begin with.

    >>> round(lord_level([], 0.03), 4), round(lord_level([False], 0.03), 4), round(lord_level([True], 0.03), 4)
    (0.0131, 0.0043, 0.0131)
    """
    now = len(yes) + 1
    found = wealth * _weight(now)
    for count, at in enumerate(place for place, said in enumerate(yes, 1) if said):
        found += (FDR_LEVEL if count else FDR_LEVEL - wealth) * _weight(now - at)
    return found


def _weight(place: int) -> float:
    return float(place**-DECAY) / _SUM
