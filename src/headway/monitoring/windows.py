"""The periods since a release was judged, each as it stood at a time, by rows of the table or of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from headway.core.config import Config
from headway.core.dataset import Dataset
from headway.core.watch import RowSource
from headway.evaluation.statistics.intervals import MIN_GROUPS
from headway.monitoring.budget import Period
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.scored_rows import ScoredRows, calendar_windows, logged_rows, parse_delay, score_rows

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOptions:
    """What is looked at: rows of the table or of the log, as they stood at `until`, in periods of a length (`1mo`).

    Without `until` it is as they stand `now` (UTC), and all that the table has is there.
    """

    now: datetime
    until: datetime | None = None
    every: str = "1mo"
    source: RowSource = "table"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitoringWindow:
    """A period to be watched: all rows as they stood at a time, and which of them are beside it.

    `rows` hold the period, `base` the period of the judge; `before` are the earlier periods which the model has not
    learned from, oldest first. `over` says that it has ended, `due` that its labels have had their time to come;
    `n_trained` counts the rows that the model learned from.
    """

    name: str
    since: datetime
    until: datetime
    at: datetime
    rows: ScoredRows
    base: ScoredRows
    judging: Span
    before: Sequence[Span]
    over: bool
    due: bool
    n_trained: int

    @property
    def window(self) -> ScoredRows:
        """The rows of the period."""
        return self.rows.between(self.since, self.until, name=self.name)

    @property
    def judged(self) -> ScoredRows:
        """The rows of the period that the release was judged on, those without a label too, as the window has them."""
        return self.base.between(*self.judging)

    @property
    def past(self) -> list[ScoredRows]:
        """The labelled rows of earlier periods, oldest first."""
        past = [self.rows.between(*span).known() for span in self.before]
        return past if self.rows is self.base else [self.judged.known(), *past]

    @property
    def n_known(self) -> int:
        """The labelled rows since the beginning of its training."""
        later = [self.rows] if self.rows is self.base else [self.base, self.rows]
        until = np.datetime64(self.until)
        return self.n_trained + sum(int(((each.times < until) & ~np.isnan(each.labels)).sum()) for each in later)

    def period(self, release: str, source: RowSource) -> Period:
        """What is asked about, as the budget knows it."""
        return Period(release=release, source=source, since=self.since.isoformat(), until=self.until.isoformat())


def monitoring_windows(
    post: DeployedRelease, dataset: Dataset, config: Config, look: WindowOptions
) -> Iterator[MonitoringWindow]:
    """Each period since the release was judged, as it stood when the labels of its last row had come, or at the look.

    The labels of the log come by themselves, so that each period of it stands as it is at the look. A period that is
    not over is left for later, unless it has 20 groups. Rows are answered once for all periods.
    """
    delay = parse_delay(config.data.label_delay)
    base = score_rows(post, dataset, since=post.trained_until, delay=delay)
    of_log = look.source == "log"
    rows = logged_rows(config.state, post) if of_log else base
    until = look.until or (look.now if of_log else max(look.now, end_time(rows) + delay))
    rows = rows.between(post.trained_until, until)
    base = base.between(post.trained_until, post.judged[1]).by_day() if of_log else rows
    since, spans = post.judged[1], [(start, stop) for start, stop, _ in calendar_windows(rows, every=look.every)]
    for start, stop in spans:
        begin = max(start, since)
        part = rows.between(begin, min(stop, until))
        if not len(part) or (stop > until and len(np.unique(part.groups)) < MIN_GROUPS):
            continue
        at = until if of_log else min(stop + delay, until)
        then = rows.as_of(at)
        yield MonitoringWindow(
            name=f"{begin:%Y-%m}" if look.every == "1mo" else f"{begin:%Y-%m-%d}",
            since=begin,
            until=min(stop, until),
            at=at,
            rows=then,
            base=base.as_of(at) if of_log else then,
            judging=post.judged,
            before=[span for span in spans if span[1] <= begin],
            over=stop <= until,
            due=stop + delay <= until,
            n_trained=post.training.n_rows,
        )


def end_time(rows: ScoredRows) -> datetime:
    """Just after the last row; of no rows, the beginning of time."""
    if not len(rows):
        return datetime.min
    last: datetime = rows.times[-1].astype("datetime64[us]").item()
    return last + timedelta(microseconds=1)
