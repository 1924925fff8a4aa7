"""Windows of monitoring: the periods since a release was judged, each as it was at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from headway.core.config import Config
from headway.core.dataset import Dataset, SampledRows
from headway.core.errors import DataError
from headway.core.monitoring import RowSource
from headway.data.settings.data import DataSection
from headway.evaluation.statistics.intervals import MIN_GROUPS
from headway.monitoring.budget import Period
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.prediction_log import LostSpan, LostSpans
from headway.monitoring.scored_rows import (
    ScoredRows,
    calendar_windows,
    logged_rows,
    parse_delay,
    score_rows,
    window_name,
)
from headway.storage.addresses import log_root

Span = tuple[datetime, datetime]
MAX_PERIODS_BEFORE = 24
"""The usual number of requests is the median over at most this many ended periods."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MonitoringWindow:
    """A period to monitor, with the rows it is compared with, as they were at a time.

    Attributes
    ----------
    name : str
    since, until : datetime
        The period, [since, until).
    at : datetime
        Labels that arrived after this time are left out.
    rows : ScoredRows
        All rows, including those of the period.
    base : ScoredRows
        Rows that include those on which the release was judged.
    judging : tuple of datetime
        The period on which the release was judged.
    before : sequence of tuple of datetime
        Earlier out-of-sample periods, oldest first.
    over : bool
        Whether the period has ended.
    due : bool
        Whether the declared label delay has passed since its end.
    n_trained : int
        Number of rows that the model was trained on.
    n_before : tuple of int
        Number of rows of earlier periods of the log that have ended, oldest first.
    lost : sequence of LostSpan
        Spans of the period in which the log lost rows.
    sampled : SampledRows or None
        Which rows of a table larger than memory are looked at.
    broken_when_judged : frozenset of int
        Days on which an input was broken and still is, counted from 1970: they are no reference.
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
    n_before: tuple[int, ...] = ()
    lost: Sequence[LostSpan] = ()
    sampled: SampledRows | None = None
    broken_when_judged: frozenset[int] = frozenset()

    @property
    def current(self) -> ScoredRows:
        """Rows of the period."""
        return self.rows.between(self.since, self.until, name=self.name)

    @property
    def judged(self) -> ScoredRows:
        """Rows of the period that the release was judged on, with and without label, of days without a broken input."""
        return self.base.between(*self.judging).without_days(self.broken_when_judged)

    @property
    def past(self) -> list[ScoredRows]:
        """Labeled rows of earlier periods, oldest first."""
        past = [self.rows.between(*span).labeled() for span in self.before]
        return past if self.rows is self.base else [self.judged.labeled(), *past]

    @property
    def n_known(self) -> int:
        """Number of labeled rows since the training began."""
        later = [self.rows] if self.rows is self.base else [self.base, self.rows]
        until = np.datetime64(self.until)
        known = (float(((rows.times < until) & ~np.isnan(rows.labels)).sum()) * rows.rows_per_row for rows in later)
        return self.n_trained + sum(map(round, known))

    def period(self, release: str, source: RowSource) -> Period:
        """Return the period, as the budget identifies it."""
        return Period(release=release, source=source, since=self.since.isoformat(), until=self.until.isoformat())


def monitoring_windows(
    deployed: DeployedRelease,
    dataset: Dataset | None,
    config: Config,
    *,
    now: datetime,
    until: datetime | None = None,
    every: str = "1mo",
    source: RowSource = "table",
    broken_when_judged: frozenset[int] = frozenset(),
) -> Iterator[MonitoringWindow]:
    """Yield each period since the release was judged, with the labels that had arrived by then.

    A period of the table has the labels that arrived within the label delay; one of the log has all labels until now.
    A period of the table that has not ended is skipped unless it has 20 groups; one of the log is shown from its first
    request on. With periods of hours or days, a time without any request, between two periods or after the last, is a
    window of its own. Rows are scored once for all periods.

    Parameters
    ----------
    dataset : Dataset or None
        The project's table; None for a log, if the rows that the release was judged on are not in it.
    now : datetime
        The time, UTC without zone.
    until : datetime, optional
        Rows are as they were at this time; by default as of `now`, with all rows of the table.
    every : str
        Length of a period, such as `1mo`, `14d` or `1h`.
    source : {"table", "log"}
    broken_when_judged : frozenset of int, optional
        Days of the reference on which an input was broken and still is, counted from 1970.

    Raises
    ------
    DataError
        For the log of scores that another system computed.
    """
    if source == "log" and deployed.scores:
        raise DataError(
            "the scores of another system are in the table, not in a log of headway",
            where="[model] scores",
            hint="headway watch --source table",
        )
    delay = parse_delay(config[DataSection].label_delay)
    of_log = source == "log"
    name = deployed.release.name
    root = log_root(config, name) if of_log else config.state
    logged = logged_rows(root, deployed) if of_log else None
    lost = LostSpans(root, name, [deployed.digest]).read() if of_log else []
    base = _scored(deployed, dataset, logged, delay)
    rows = base if logged is None else logged
    until = until or (now if of_log else max(now, end_time(rows) + delay))
    rows = rows.between(deployed.trained_until, until)
    base = base.between(deployed.trained_until, deployed.judged[1]).by_day() if of_log else rows
    since, spans = deployed.judged[1], [(start, stop) for start, stop, _ in calendar_windows(rows, every=every)]
    spans = _with_empty(spans, until) if of_log and every.endswith(("h", "d")) else spans
    counts: list[int] = []
    for start, stop in spans:
        begin = max(start, since)
        part = rows.between(begin, min(stop, until))
        if begin >= min(stop, until) or not (of_log or len(part)):
            continue
        if stop > until and not of_log and len(np.unique(part.groups)) < MIN_GROUPS:
            continue
        at = until if of_log else min(stop + delay, until)
        then = rows.as_of(at)
        yield MonitoringWindow(
            name=window_name(begin, every),
            since=begin,
            until=min(stop, until),
            at=at,
            rows=then,
            base=base.as_of(at) if of_log else then,
            judging=deployed.judged,
            before=[span for span in spans if span[1] <= begin],
            over=stop <= until,
            due=stop + delay <= until,
            n_trained=deployed.training.n_rows,
            n_before=tuple(counts[-MAX_PERIODS_BEFORE:]),
            sampled=dataset.sampled if dataset and not of_log else None,
            broken_when_judged=broken_when_judged,
            lost=[span for span in lost if span.since_us < _micros(stop) and span.until_us >= _micros(begin)],
        )
        if of_log and stop <= until and len(part):
            counts.append(part.n_sent)


def _scored(
    deployed: DeployedRelease, dataset: Dataset | None, logged: ScoredRows | None, delay: timedelta
) -> ScoredRows:
    """Return the rows of the table since the training; none without a table."""
    if dataset is not None:
        return score_rows(deployed, dataset, since=deployed.trained_until, delay=delay)
    if logged is None:
        raise DataError("the project has no table to monitor", where="[data] source", hint="headway watch --source log")
    return logged.subset(np.zeros(len(logged), dtype=np.bool_))


def _with_empty(spans: Sequence[Span], until: datetime) -> list[Span]:
    """Return the periods of a log, and each gap between two of them or after the last as one period more."""
    ends = [*(start for start, _ in spans[1:]), until]
    found = []
    for (start, stop), following in zip(spans, ends, strict=True):
        found += [(start, stop), (stop, following)] if stop < following else [(start, stop)]
    return found


def end_time(rows: ScoredRows) -> datetime:
    """Return the time just after the last row; without rows, the smallest datetime."""
    if not len(rows):
        return datetime.min
    last: datetime = rows.times[-1].astype("datetime64[us]").item()
    return last + timedelta(microseconds=1)


def _micros(time: datetime) -> int:
    """Return a time without zone, in UTC, in microseconds since 1970."""
    return int(time.replace(tzinfo=UTC).timestamp() * 1_000_000)
