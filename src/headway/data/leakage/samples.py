"""The samples that leakage checks compare: training rows, test rows and requests."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headway.core.arrays import Ints
from headway.core.dataset import ASKED_AT, Dataset
from headway.core.errors import NotApplicable
from headway.core.monitoring import Drift
from headway.core.variant import Field, Signature
from headway.data.context import CheckContext, Window, Windows
from headway.data.matrix import STRING_DTYPES, group_codes, is_number_or_string, matrix

BEFORE_TEST = ("train", "validation")
MIN_REQUESTS = 100
MAX_CATEGORIES = 200
DAYS_PER_RUN = 7
ALPHA = 0.05


def train_and_test(context: CheckContext) -> tuple[Dataset, Dataset]:
    """Return the rows used for training and model selection, and the test; raise NotApplicable without rows of both."""
    train, test = training_rows(context), context.periods.get("test")
    is_split = any(name in context.periods for name in BEFORE_TEST)
    if test is None or not is_split or train.table.is_empty() or test.table.is_empty():
        raise NotApplicable("no rows are held out to compare with", hint="[split] train, validation and test")
    return train, test


def train_and_test_features(context: CheckContext) -> tuple[Dataset, Dataset]:
    """Return training and test rows; raise NotApplicable without both, or without a feature."""
    train, test = train_and_test(context)
    if not train.features:
        raise NotApplicable("no feature is left to compare rows by", hint="[data] ignore")
    return train, test


def training_rows(context: CheckContext) -> Dataset:
    """Return the rows used for training and model selection; the whole dataset if it is not split."""
    seen = [context.periods[name] for name in BEFORE_TEST if name in context.periods]
    if not seen:
        return context.dataset
    return replace(seen[0], name="train", table=pl.concat([period.table for period in seen]))


def request_rows(context: CheckContext) -> pl.DataFrame:
    """Return the rows of the requests to the live release; raise NotApplicable below 100 requests."""
    found = context.requests()
    if found is None or len(found) < MIN_REQUESTS:
        count = 0 if found is None else len(found)
        raise NotApplicable(
            f"the log has {count} requests, and {MIN_REQUESTS} are needed to compare",
            hint="headway serve, send requests, then check again",
        )
    return found


def served_rows(context: CheckContext) -> tuple[str, pl.DataFrame]:
    """Return the requests, else the period `live`, else the test, with the name of that sample.

    Raises
    ------
    NotApplicable
        If there is none of them.
    """
    requests = context.requests()
    if requests is not None and len(requests) >= MIN_REQUESTS:
        return "requests", requests
    name = next((period for period in ("live", "test") if period in context.periods), "")
    if not name:
        raise NotApplicable("no row is served or held out", hint="[split] train, validation and test")
    return name, context.periods[name].table


def filled_share(column: pl.Series) -> float:
    """Return the share of rows with a value; 0 for an empty column."""
    present = column.fill_nan(None) if column.dtype.is_float() else column
    return present.count() / len(column) if len(column) else 0.0


def drifted_features(drift: Drift) -> list[str]:
    """Return the features with significant drift after correction for their number, the largest distance first."""
    far = feature_distances(drift)
    shown = [
        measurement.slice
        for measurement in drift.measurements
        if measurement.name == "drift.p" and measurement.slice and measurement.value <= ALPHA
    ]
    return sorted(shown, key=lambda name: -far[name])


def feature_distances(drift: Drift) -> dict[str, float]:
    """Return the distance between the two distributions of each feature, in [0, 1]."""
    return {
        measurement.slice: measurement.value
        for measurement in drift.measurements
        if measurement.name == "drift.distance"
    }


def compare_with_requests(context: CheckContext, dataset: Dataset, requests: pl.DataFrame) -> Drift:
    """Test whether requests come from the distribution of a dataset, over their common features.

    Days are the groups, in runs of a week, if rows have a time. Strings with more than 200 values are left out.

    Raises
    ------
    NotApplicable
        If there are no detector, no request times, or too few groups.
    """
    if context.detector is None or ASKED_AT not in requests.columns:
        raise NotApplicable("the requests have no time, or no drift detector is installed")
    names = [
        name
        for name in dataset.tabular_features
        if name in requests.columns and is_number_or_string(dataset.table.schema[name])
    ]
    both = pl.concat([_as_numbers_or_strings(item, names) for item in (dataset.table, requests)])
    fields = [_field(both[name]) for name in names]
    signature = Signature(inputs=tuple(item for item in fields if len(item.categories) <= MAX_CATEGORIES))
    if not signature.inputs:
        raise NotApplicable("no feature of the table is in the requests", hint="[data] ignore")
    rows, count = matrix(both, signature), len(dataset.table)
    timed = bool(dataset.roles.time)
    windows = Windows(
        before=Window(
            rows=rows[:count], groups=_day_numbers(dataset.table[dataset.roles.time]) if timed else group_codes(dataset)
        ),
        after=Window(rows=rows[count:], groups=_day_numbers(requests[ASKED_AT])),
        signature=signature,
        run=DAYS_PER_RUN if timed else 1,
        alpha=ALPHA,
    )
    return context.detector(windows)


def _as_numbers_or_strings(table: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    texts = [table.schema[name] in STRING_DTYPES for name in names]
    casts = zip(names, texts, strict=True)
    return table.select(pl.col(name).cast(pl.String if text else pl.Float64) for name, text in casts)


def _field(column: pl.Series) -> Field:
    if column.dtype != pl.String:
        return Field(name=column.name)
    return Field(name=column.name, datatype="BYTES", categories=tuple(column.drop_nulls().unique().sort()))


def _day_numbers(times: pl.Series) -> Ints:
    """Return the days since 1970."""
    return times.cast(pl.Date).to_physical().cast(pl.Int64).to_numpy()
