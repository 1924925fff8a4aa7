"""Rows scored by a deployed release, with the labels known of them, from a table or from the prediction log."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.dataset import ASKED_AT, Dataset
from headway.core.errors import ConfigError, DataError
from headway.core.label_sets import decide_labels
from headway.core.texts import text_codes
from headway.core.variant import DECIDES, MULTILABEL, Field, Signature, Variant
from headway.data import matrix
from headway.data.context import Window
from headway.data.settings.model import Costs
from headway.data.texts import text_columns, word_counts
from headway.evaluation.context import Comparison
from headway.monitoring.degradation import DecisionCosts, decision_costs
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.performance_estimation import LabeledScores
from headway.monitoring.prediction_log import LabelReader, LostSpans, at_one_rate, outside, read_predictions
from headway.registry.project import Project
from headway.storage.addresses import log_root

_DELAY = re.compile(r"(\d+)([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WINDOW_LENGTH = re.compile(r"[1-9]\d*(h|d|w|mo|q|y)")
WEEK = 7


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoredRows:
    """Rows scored by a release, in order of time.

    Attributes
    ----------
    name : str
    table : DataFrame
        All columns of the rows.
    times : ndarray of shape (n,)
        Time of each row, datetime64[us].
    rows : ndarray of shape (n, d)
        Features as the release reads them, float64.
    scores : ndarray of shape (n,)
        Predictions of the release.
    labels : ndarray of shape (n,)
        Labels, NaN if unknown.
    labeled_at : ndarray of shape (n,)
        When each label arrived, NaT for never.
    groups : ndarray of shape (n,)
        Groups numbered in order of time, int64.
    run : int
        Number of neighboring groups that are dependent: 7 if groups are days, else 1.
    weights : ndarray of shape (n,) or None
        Number of requests that each row of a log that samples stands for; None for one each.
    texts : tuple of int
        Columns of `rows` that are texts; detectors see their numbers of words.
    rows_per_row : float
        Number of rows of the table that each row stands for: above 1 if the table is larger than memory and sampled.
    answers : ndarray of shape (n,) or (n, k), or None
        Index of the predicted class, int64, and its probability as `confidence`; None unless a classifier reads texts.
    probabilities : ndarray of shape (n, k) or None
        Probability of each class, of a multiclass model; None for other tasks.
    """

    name: str
    table: pl.DataFrame
    times: NDArray[np.datetime64]
    rows: Floats
    scores: Floats
    labels: Floats
    labeled_at: NDArray[np.datetime64]
    groups: Ints
    run: int
    weights: Floats | None = None
    rows_per_row: float = 1.0
    texts: tuple[int, ...] = ()
    answers: Ints | None = None
    confidence: Floats | None = None
    probabilities: Floats | None = None

    def __len__(self) -> int:
        return len(self.times)

    @property
    def n_sent(self) -> int:
        """Estimated number of rows before sampling: that of the rows, unless log or table are sampled."""
        return round(len(self) * self.rows_per_row) if self.weights is None else round(float(self.weights.sum()))

    def between(self, since: datetime, until: datetime, *, name: str = "") -> ScoredRows:
        """Return the rows of [since, until)."""
        return self.subset((self.times >= np.datetime64(since)) & (self.times < np.datetime64(until)), name)

    def labeled(self) -> ScoredRows:
        """Return the rows with a known label."""
        return self.subset(~np.isnan(self.labels))

    def as_of(self, at: datetime) -> ScoredRows:
        """Return the rows as they were at a time, without the labels that arrived later."""
        return changed(self, labels=np.where(self.labeled_at <= np.datetime64(at), self.labels, np.nan))

    def by_day(self) -> ScoredRows:
        """Return the rows with those of one day as one group."""
        return changed(self, groups=day_numbers(self.times), run=WEEK)

    def detector_window(self) -> Window:
        """Return the rows as a window of a detector."""
        rows = _with_word_counts(self.rows, self.texts)
        return Window(rows=rows, groups=self.groups, weights=self.weights, days=day_numbers(self.times))

    def without_days(self, days: Collection[int]) -> ScoredRows:
        """Return the rows of other days than these, counted from 1970."""
        return self.subset(~np.isin(day_numbers(self.times), list(days))) if days else self

    def labeled_scores(self) -> LabeledScores:
        """Return the labeled rows for performance estimation."""
        labeled = self.labeled()
        return LabeledScores(
            scores=labeled.scores, labels=labeled.labels, groups=labeled.groups, weights=labeled.weights
        )

    def decision_costs(self, *, threshold: float, costs: Costs) -> DecisionCosts:
        """Return the cost of the decision on each labeled row."""
        labeled = self.labeled()
        return DecisionCosts(
            costs=decision_costs(labeled.scores, labeled.labels, threshold=threshold, costs=costs),
            groups=labeled.groups,
            weights=labeled.weights,
        )

    def subset(self, chosen: Bools, name: str = "") -> ScoredRows:
        """Return the chosen rows, bool [n]."""
        return ScoredRows(
            name=name or self.name,
            table=self.table.filter(pl.Series(chosen)),
            times=self.times[chosen],
            rows=self.rows[chosen],
            scores=self.scores[chosen],
            labels=self.labels[chosen],
            labeled_at=self.labeled_at[chosen],
            groups=self.groups[chosen],
            run=self.run,
            weights=None if self.weights is None else self.weights[chosen],
            rows_per_row=self.rows_per_row,
            texts=self.texts,
            answers=None if self.answers is None else self.answers[chosen],
            confidence=None if self.confidence is None else self.confidence[chosen],
            probabilities=None if self.probabilities is None else self.probabilities[chosen],
        )


def input_window(table: pl.DataFrame, times: pl.Expr, signature: Signature) -> Window:
    """Return rows of a table as a window whose groups are days, without scoring them."""
    days = day_numbers(table.select(times).to_series().to_numpy())
    rows = _with_word_counts(matrix.matrix(table, signature), text_columns(signature))
    return Window(rows=rows, groups=days, days=days)


def _with_word_counts(rows: Floats, texts: tuple[int, ...]) -> Floats:
    """Return rows with the number of words of each text in its place."""
    if texts:
        rows = rows.copy()
        for column in texts:
            rows[:, column] = word_counts(rows[:, column])
    return rows


def score_rows(
    deployed: DeployedRelease, dataset: Dataset, *, since: datetime, delay: timedelta = timedelta(0)
) -> ScoredRows:
    """Score the rows of a dataset from a time on, in order of time.

    A label arrives `delay` after its row; string labels are numbered. Raises DataError if the time column holds no
    times.
    """
    time = time_expression(dataset)
    table = dataset.table.filter(time >= since).sort(time, maintain_order=True)
    rows = matrix.matrix(table, deployed.release.variant.signature)
    target = table[dataset.roles.target]
    labels = target.rank("dense") if target.dtype in matrix.STRING_DTYPES else target
    days = bool(dataset.roles.groups) and table.schema[dataset.roles.groups] == pl.Date
    times: NDArray[np.datetime64] = table.select(time).to_series().to_numpy()
    labeled_at: NDArray[np.datetime64] = np.asarray(times + np.timedelta64(delay), dtype=times.dtype)
    predicted = None if deployed.scores else deployed.predict(rows)
    answers, confidence = _decisions(deployed, predicted)
    return ScoredRows(
        name=dataset.name,
        table=table,
        times=times,
        rows=rows,
        scores=table[deployed.scores].cast(pl.Float64).to_numpy() if predicted is None else predicted[:, 0],
        labels=labels.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy(),
        labeled_at=labeled_at,
        groups=_group_numbers(table, dataset.roles.groups),
        run=WEEK if days else 1,
        rows_per_row=dataset.sampled.n_rows / dataset.sampled.n_sampled if dataset.sampled else 1.0,
        texts=text_columns(deployed.release.variant.signature),
        answers=answers,
        confidence=confidence,
        probabilities=predicted if deployed.release.variant.task == "multiclass" else None,
    )


def _decisions(deployed: DeployedRelease, predicted: Floats | None) -> tuple[Ints | None, Floats | None]:
    """Return the predicted class of each row and its probability, of a classifier that reads texts.

    Of several labels a row, return the indicator matrix (n, k) and no probability.
    """
    variant = deployed.release.variant
    if predicted is not None and variant.signature.texts and variant.task == MULTILABEL:
        return decide_labels(predicted), None
    if predicted is None or not variant.signature.texts or variant.task not in DECIDES:
        return None, None
    if predicted.shape[1] > 1:
        return predicted.argmax(1).astype(np.int64), predicted.max(1)
    second = predicted[:, 0]
    return (second >= deployed.release.threshold).astype(np.int64), np.maximum(second, 1 - second)


def release_comparison(deployed: DeployedRelease, answered: ScoredRows) -> Comparison:
    """Return the labeled rows for metrics, with the release as its own reference."""
    labeled = answered.labeled()
    scores = labeled.scores[:, None] if labeled.probabilities is None else labeled.probabilities
    return Comparison(
        variant=deployed.release.variant,
        model=deployed.model,
        reference=deployed.model,
        rows=labeled.rows,
        labels=labeled.labels,
        scores=scores,
        reference_scores=scores,
        groups=np.unique(labeled.groups, return_inverse=True)[1].astype(np.int64),
        slices={},
        weights=labeled.weights,
        threshold=deployed.release.threshold,
    )


def calendar_windows(answered: ScoredRows, *, every: str) -> Iterator[tuple[datetime, datetime, ScoredRows]]:
    """Yield calendar periods (`1mo`, `1w`, `28d`, `1h`) of the rows, each with its [since, until), oldest first.

    Raises ConfigError for an invalid length.
    """
    if not _WINDOW_LENGTH.fullmatch(every):
        raise ConfigError(f"invalid period length {every!r}", where="--every", hint="such as 1mo, 1w, 28d or 1h")
    times = pl.Series("since", answered.times)
    starts = times.dt.truncate(every).unique().sort().to_frame()
    bounds = starts.with_columns(until=pl.col("since").dt.offset_by(every))
    for since, until in bounds.iter_rows():
        yield since, until, answered.between(since, until, name=window_name(since, every))


def window_name(since: datetime, every: str) -> str:
    """Return the name of a period: its month, day or hour.

    >>> window_name(datetime(2013, 9, 2, 14), "1mo"), window_name(datetime(2013, 9, 2, 14), "1h")
    ('2013-09', '2013-09-02 14:00')
    """
    return f"{since:%Y-%m}" if every == "1mo" else f"{since:%Y-%m-%d %H:%M}" if every[-1] == "h" else f"{since:%F}"


def parse_delay(text: str) -> timedelta:
    """Parse a label delay: `1d`, `12h`, `30m`; zero if empty.

    >>> parse_delay("12h")
    datetime.timedelta(seconds=43200)
    """
    found = _DELAY.fullmatch(text or "0d")
    if not found:
        raise ConfigError(f"label_delay is {text!r}", where="[data] label_delay", hint='label_delay = "1d"')
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def day_numbers(times: NDArray[np.datetime64]) -> Ints:
    """Return the day of each time, counted from 1970."""
    return times.astype("datetime64[D]").astype(np.int64)


def time_expression(dataset: Dataset) -> pl.Expr:
    """Return the time of a row without its zone, in microseconds; raises DataError if the column holds no times."""
    column = dataset.roles.time
    if not column or not dataset.table.schema[column].is_temporal():
        raise DataError(
            f"time column '{column}' holds no times", hint="[data] time must name a date or datetime column"
        )
    return pl.col(column).cast(pl.Datetime("us")).dt.replace_time_zone(None)


def _group_numbers(table: pl.DataFrame, column: str) -> Ints:
    """Number groups: days since 1970 if groups are days, else by first row; without groups each row is one."""
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


KEY, RATE = "key", "rate"
_LABELED_AT = "labeled_at_us"


def logged_rows(state: Path, deployed: DeployedRelease) -> ScoredRows:
    """Return what callers got from the release, in order of time (UTC), from the prediction log; a day is a group.

    Shadow answers and failed requests are left out, and so is the time in which the log lost rows. Rows of a log that
    samples are weighted by their rate. A row without a key, or with a label that its task cannot have, has no label.
    Raises DataError if the log has no answer of the release.
    """
    name = deployed.release.name
    rows = read_predictions(state, name, [deployed.digest])
    if not rows.is_empty():
        spans = LostSpans(state, name, [deployed.digest]).read()
        rows = rows.filter(pl.Series(outside(spans, rows["at_us"].to_numpy())))
        rows = rows.filter((pl.col("answered") == 1) & (pl.col("status") == 0))
    if rows.is_empty():
        raise DataError(
            f"the log has no prediction of the live release of {name!r}",
            where=str(state),
            hint=f"headway serve {name}@live",
        )
    labels = LabelReader(state, name).read().select(KEY, "label", pl.col("at_us").alias(_LABELED_AT))
    labeled = rows.join(labels, on=KEY, how="left", maintain_order="left")
    times = labeled["at_us"].to_numpy().astype("datetime64[us]")
    variant = deployed.release.variant
    signature, stored = variant.signature, labeled["label"].fill_null(float("nan")).to_numpy()
    inputs = [f"in.{field}" for field in signature.names]
    values = labeled.select(inputs).cast(pl.Float64).to_numpy(writable=True)
    for column in text_columns(signature):
        values[:, column] = text_codes.keep(labeled[f"text.{signature.names[column]}"])
    n_outputs = sum(name.startswith("out.") for name in labeled.columns)
    outputs = labeled.select(f"out.{k}" for k in range(n_outputs)).to_numpy()
    answers, confidence = _decisions(deployed, outputs)
    return ScoredRows(
        name="log",
        table=labeled.select("at_us", KEY, "label", *inputs, *([RATE] if rows[RATE].min() != 1 else [])),
        times=times,
        rows=values,
        texts=text_columns(signature),
        scores=labeled["out.0"].to_numpy(),
        labels=np.where(possible_labels(stored, variant), stored, np.nan),
        labeled_at=labeled[_LABELED_AT].cast(pl.Datetime("us")).to_numpy(),
        groups=day_numbers(times),
        run=WEEK,
        weights=None if rows[RATE].min() == 1 else (1 / labeled[RATE]).to_numpy(),
        answers=answers,
        confidence=confidence,
        probabilities=outputs if variant.task == "multiclass" else None,
    )


def logged_requests(project: Project) -> pl.DataFrame | None:
    """Return the requests to the live release: a column for each feature, with original categories, and the time (UTC).

    None if there are none yet. Checks of data give each row the same weight, so a log that samples is thinned to one
    rate a day.
    """
    if project.state.last(project.name, "live") is None:
        return None
    bundle = project.registry.resolve(f"{project.name}@live")
    logged = at_one_rate(read_predictions(log_root(project.config, project.name), project.name, [bundle.digest]))
    features = [request_column(field) for field in bundle.release.variant.signature.inputs]
    when = pl.col("at_us").cast(pl.Datetime("us")).alias(ASKED_AT)
    return None if logged.is_empty() else logged.select(*features, when)


def request_column(field: Field) -> pl.Expr:
    """Return a feature as it was in the request: the log holds the rank of a category, and none for an unseen one."""
    if field.is_text:
        return pl.col(f"text.{field.name}").alias(field.name)
    column = pl.col(f"in.{field.name}")
    if field.datatype != "BYTES":
        return column.alias(field.name)
    ranks = column.fill_nan(None).cast(pl.Int64)
    texts = dict(enumerate(field.categories))
    return ranks.replace_strict(texts, default=None, return_dtype=pl.String).alias(field.name)


def count_impossible_labels(rows: ScoredRows, variant: Variant) -> int:
    """Count the logged rows with a label that their task cannot have."""
    return int((~possible_labels(rows.table["label"].drop_nulls().to_numpy(), variant)).sum())


def possible_labels(labels: Floats, variant: Variant) -> Bools:
    """Return which labels, float64 [n], rows of the variant's task can have."""
    if variant.task not in DECIDES:
        return np.isfinite(labels)
    values, index = np.unique(labels, return_inverse=True)
    return np.array([variant.can_have_label(value) for value in values.tolist()], dtype=np.bool_)[index]


def count_without_key(rows: ScoredRows) -> int:
    """Count the logged rows without a key, which can get no label."""
    return int((rows.table[KEY] == "").sum())
