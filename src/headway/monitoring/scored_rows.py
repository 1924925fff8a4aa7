"""Rows that a release answered, with the labels known of them: what watch and retraining measure on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.core.config import Costs
from headway.core.contracts import Comparison, Window
from headway.core.dataset import ASKED_AT, Dataset
from headway.core.errors import ConfigError, DataError
from headway.core.variant import Field
from headway.data import matrix
from headway.monitoring.degradation import DecisionCosts, decision_costs
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.performance_estimation import LabeledScores
from headway.monitoring.prediction_log import LabelReader, read_predictions
from headway.registry.project import Project

_DELAY = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WINDOW_LENGTH = re.compile(r"[1-9]\d*(d|w|mo|q|y)")
WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredRows:
    """Rows in order of time: `times` datetime64[us], `rows` float64 [n, d] as the release reads them, `scores` float64
    [n] as it answers, `labels` float64 [n], NaN where not known, `groups` int64 [n] numbered in order of time. `told`
    is when each label came, NaT for never.

    `run` is how many neighbouring groups lean on each other: 7 where groups are days, else 1.
    """

    name: str
    table: pl.DataFrame
    times: NDArray[np.datetime64]
    rows: Floats
    scores: Floats
    labels: Floats
    told: NDArray[np.datetime64]
    groups: Ints
    run: int

    def __len__(self) -> int:
        return len(self.times)

    def between(self, since: datetime, until: datetime, *, name: str = "") -> ScoredRows:
        """The rows of [since, until)."""
        return self.part((self.times >= np.datetime64(since)) & (self.times < np.datetime64(until)), name)

    def known(self) -> ScoredRows:
        """The rows whose label is known."""
        return self.part(~np.isnan(self.labels))

    def as_of(self, at: datetime) -> ScoredRows:
        """The same rows as they stood at a time, without the labels that came later."""
        return changed(self, labels=np.where(self.told <= np.datetime64(at), self.labels, np.nan))

    def by_day(self) -> ScoredRows:
        """The same rows, those of one day as one group."""
        return changed(self, groups=day_numbers(self.times), run=WEEK)

    def window(self) -> Window:
        """The rows as a detector sees them."""
        return Window(rows=self.rows, groups=self.groups)

    def scored(self) -> LabeledScores:
        """The labelled rows as a calibrator learns from them."""
        some = self.known()
        return LabeledScores(scores=some.scores, labels=some.labels, groups=some.groups)

    def priced(self, *, threshold: float, costs: Costs) -> DecisionCosts:
        """What the decision on each labelled row cost."""
        some = self.known()
        return DecisionCosts(
            costs=decision_costs(some.scores, some.labels, threshold=threshold, costs=costs), groups=some.groups
        )

    def part(self, chosen: NDArray[np.bool_], name: str = "") -> ScoredRows:
        """The rows chosen, bool [n]."""
        return ScoredRows(
            name=name or self.name,
            table=self.table.filter(pl.Series(chosen)),
            times=self.times[chosen],
            rows=self.rows[chosen],
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            told=self.told[chosen],
            groups=self.groups[chosen],
            run=self.run,
        )


def score_rows(
    post: DeployedRelease, dataset: Dataset, *, since: datetime, delay: timedelta = timedelta(0)
) -> ScoredRows:
    """The rows of a dataset from a time on, in order of time, answered by the release at its post.

    A label came `delay` after its row; texts as labels are numbered. Raises DataError where the time column is no time.
    """
    moments = time_expression(dataset)
    table = dataset.table.filter(moments >= since).sort(moments, maintain_order=True)
    rows = matrix.matrix(table, post.release.variant.signature)
    target = table[dataset.roles.target]
    labels = target.rank("dense") if target.dtype in (pl.String, pl.Categorical, pl.Enum) else target
    days = bool(dataset.roles.groups) and table.schema[dataset.roles.groups] == pl.Date
    times: NDArray[np.datetime64] = table.select(moments).to_series().to_numpy()
    told: NDArray[np.datetime64] = np.asarray(times + np.timedelta64(delay), dtype=times.dtype)
    return ScoredRows(
        name=dataset.name,
        table=table,
        times=times,
        rows=rows,
        scores=post.answer(rows)[:, 0],
        labels=labels.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy(),
        told=told,
        groups=_group_numbers(table, dataset.roles.groups),
        run=WEEK if days else 1,
    )


def release_comparison(post: DeployedRelease, answered: ScoredRows) -> Comparison:
    """The labelled rows as probes take them, the release beside itself: quality has no need of another model."""
    some = answered.known()
    scores = some.scores[:, None]
    return Comparison(
        variant=post.release.variant,
        model=post.model,
        reference=post.model,
        rows=some.rows,
        labels=some.labels,
        scores=scores,
        reference_scores=scores,
        groups=np.unique(some.groups, return_inverse=True)[1].astype(np.int64),
        slices={},
        threshold=post.release.threshold,
    )


def calendar_windows(answered: ScoredRows, *, every: str) -> Iterator[tuple[datetime, datetime, ScoredRows]]:
    """The rows cut into periods of the calendar (`1mo`, `1w`, `28d`), each with its [since, until), oldest first.

    Raises ConfigError for a length that there is not.
    """
    if not _WINDOW_LENGTH.fullmatch(every):
        raise ConfigError(f"{every!r} is no length of a period", where="--every", hint="such as 1mo, 1w or 28d")
    times = pl.Series("since", answered.times)
    starts = times.dt.truncate(every).unique().sort().to_frame()
    bounds = starts.with_columns(until=pl.col("since").dt.offset_by(every))
    for since, until in bounds.iter_rows():
        name = f"{since:%Y-%m}" if every == "1mo" else f"{since:%Y-%m-%d}"
        yield since, until, answered.between(since, until, name=name)


def parse_delay(text: str) -> timedelta:
    """How long after its row a label arrives: `1d`, `12h`, `30m`; none where nothing is declared.

    >>> parse_delay("12h")
    datetime.timedelta(seconds=43200)
    """
    found = _DELAY.fullmatch(text or "0d")
    if not found:
        raise ConfigError(f"label_delay is {text!r}", where="[data] label_delay", hint='label_delay = "1d"')
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def day_numbers(times: NDArray[np.datetime64]) -> Ints:
    """The day of each time, since 1970."""
    return times.astype("datetime64[D]").astype(np.int64)


def time_expression(dataset: Dataset) -> pl.Expr:
    """The time of a row without its zone, in microseconds; raises DataError where the column is no time."""
    column = dataset.roles.time
    if not column or not dataset.table.schema[column].is_temporal():
        raise DataError(f"time column '{column}' is no time", hint="[data] time must name a date or datetime column")
    return pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(None)


def _group_numbers(table: pl.DataFrame, column: str) -> Ints:
    """Days since 1970 where groups are days; else in order of their first row; without groups each row is its own."""
    if not column:
        return np.arange(len(table), dtype=np.int64)
    if table.schema[column] == pl.Date:
        return table[column].to_physical().cast(pl.Int64).to_numpy()
    order = table[column].unique(maintain_order=True)
    numbers = pl.DataFrame({column: order, "number": np.arange(len(order), dtype=np.int64)})
    return (
        table.select(column)
        .join(numbers, on=column, how="left", maintain_order="left", nulls_equal=True)["number"]
        .to_numpy()
    )


KEY = "key"
_LABELED_AT = "told_us"


def logged_rows(state: Path, post: DeployedRelease) -> ScoredRows:
    """What callers were answered by the release at its post, in order of time (UTC), the rows of a day as one group.

    Answers that it gave beside another release, and calls that ended in an error, are left out. A row whose key has no
    label, or that has no key, stays without. Raises DataError where it has answered nobody yet.
    """
    name = post.release.name
    logged = read_predictions(state, name, [post.digest])
    rows = logged if logged.is_empty() else logged.filter((pl.col("answered") == 1) & (pl.col("status") == 0))
    if rows.is_empty():
        raise DataError(
            f"the log has no answer of the live release of {name!r}",
            where=str(state),
            hint=f"headway serve {name}@live",
        )
    labels = LabelReader(state, name).read().select(KEY, "label", pl.col("at_us").alias(_LABELED_AT))
    known = rows.join(labels, on=KEY, how="left", maintain_order="left")
    times = known["at_us"].to_numpy().astype("datetime64[us]")
    inputs = [f"in.{field}" for field in post.release.variant.signature.names]
    return ScoredRows(
        name="log",
        table=known.select("at_us", KEY, "label", *inputs),
        times=times,
        rows=known.select(inputs).cast(pl.Float64).to_numpy(),
        scores=known["out.0"].to_numpy(),
        labels=known["label"].fill_null(float("nan")).to_numpy(),
        told=known[_LABELED_AT].cast(pl.Datetime("us")).to_numpy(),
        groups=day_numbers(times),
        run=WEEK,
    )


def logged_requests(project: Project) -> pl.DataFrame | None:
    """What callers asked the live release, a column a feature, its texts as texts, and when (ASKED_AT, UTC).

    None where nobody asked it yet.
    """
    if project.state.last(project.name, "live") is None:
        return None
    bundle = project.register.resolve(f"{project.name}@live")
    logged = read_predictions(project.config.state, project.name, [bundle.digest])
    features = [_request_column(each) for each in bundle.release.variant.signature.inputs]
    when = pl.col("at_us").cast(pl.Datetime("us")).alias(ASKED_AT)
    return None if logged.is_empty() else logged.select(*features, when)


def _request_column(field: Field) -> pl.Expr:
    """A feature as it was in the request: the log keeps the rank of a text, and an unseen one as no number."""
    column = pl.col(f"in.{field.name}")
    if field.datatype != "BYTES":
        return column.alias(field.name)
    ranks = column.fill_nan(None).cast(pl.Int64)
    texts = dict(enumerate(field.categories))
    return ranks.replace_strict(texts, default=None, return_dtype=pl.String).alias(field.name)


def count_without_key(rows: ScoredRows) -> int:
    """How many rows of the log have no key by which a label could come."""
    return int((rows.table[KEY] == "").sum())
