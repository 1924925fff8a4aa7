"""The samples that leakage checks compare: training rows, test rows and requests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.dataset import ASKED_AT, Dataset
from headway.core.drift import Drift
from headway.core.errors import NotApplicable
from headway.core.variant import Field, Signature
from headway.data.context import CheckContext, Window, Windows
from headway.data.matrix import group_codes, matrix

BEFORE_TEST = ("train", "validation")


def train_and_test(survey: CheckContext) -> tuple[Dataset, Dataset]:
    """Return the rows used for training and model selection, and the test; raise NotApplicable without both."""
    test = survey.periods.get("test")
    if test is None or not any(name in survey.periods for name in BEFORE_TEST):
        raise NotApplicable("no rows are held out to compare with", hint="[split] train, validation and test")
    return training_rows(survey), test


def training_rows(survey: CheckContext) -> Dataset:
    """Return the rows used for training and model selection; the whole dataset if it is not split."""
    seen = [survey.periods[name] for name in BEFORE_TEST if name in survey.periods]
    if not seen:
        return survey.dataset
    return replace(seen[0], name="train", table=pl.concat([period.table for period in seen]))


MIN_REQUESTS = 100
MAX_CATEGORIES = 200
DAYS_PER_RUN = 7
ALPHA = 0.05
_TEXT = (pl.String, pl.Categorical, pl.Enum)


def request_rows(survey: CheckContext) -> pl.DataFrame:
    """Return the rows that the live release was asked; raise NotApplicable below 100 requests."""
    found = survey.requests()
    if found is None or len(found) < MIN_REQUESTS:
        count = 0 if found is None else len(found)
        raise NotApplicable(
            f"the log has {count} requests, and {MIN_REQUESTS} are needed to compare",
            hint="headway serve, send it requests, then check again",
        )
    return found


def served_rows(survey: CheckContext) -> tuple[str, pl.DataFrame]:
    """Return the requests, else the period `live`, else the test, with the name of that sample.

    Raises
    ------
    NotApplicable
        If there is none of them.
    """
    requests = survey.requests()
    if requests is not None and len(requests) >= MIN_REQUESTS:
        return "requests", requests
    name = next((period for period in ("live", "test") if period in survey.periods), "")
    if not name:
        raise NotApplicable("no row is served or held out", hint="[split] train, validation and test")
    return name, survey.periods[name].table


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


def compare_with_requests(survey: CheckContext, dataset: Dataset, requests: pl.DataFrame) -> Drift:
    """Test whether requests come from the distribution of a dataset, over their common features.

    Days are the groups, in runs of a week, if rows have a time. Strings with more than 200 values are left out.

    Raises
    ------
    NotApplicable
        If there is no detector, no request time, or too few groups.
    """
    if survey.detector is None or ASKED_AT not in requests.columns:
        raise NotApplicable("the requests have no time, or there is no detector to compare them")
    names = [
        name for name in dataset.features if name in requests.columns and _is_supported(dataset.table.schema[name])
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
    return survey.detector(windows)


def _is_supported(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or dtype == pl.Boolean or dtype in _TEXT


def _as_numbers_or_strings(table: pl.DataFrame, names: list[str]) -> pl.DataFrame:
    texts = [table.schema[name] in _TEXT for name in names]
    casts = zip(names, texts, strict=True)
    return table.select(pl.col(name).cast(pl.String if text else pl.Float64) for name, text in casts)


def _field(column: pl.Series) -> Field:
    if column.dtype != pl.String:
        return Field(name=column.name)
    return Field(name=column.name, datatype="BYTES", categories=tuple(column.drop_nulls().unique().sort()))


def _day_numbers(times: pl.Series) -> NDArray[np.int64]:
    """Return the days since 1970."""
    return times.cast(pl.Date).to_physical().cast(pl.Int64).to_numpy()
