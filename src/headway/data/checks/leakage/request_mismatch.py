"""D026: A column differs between requests and table: it is absent, never filled, or has other values."""

from __future__ import annotations

import polars as pl

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import (
    ALPHA,
    compare_with_requests,
    drifted_features,
    feature_distances,
    filled_share,
    request_rows,
    training_rows,
)
from headway.data.roles import known_line

CODES = ("D026",)
FILLED = 0.05
MIN_DISTANCE = 0.1


def plugin(context: CheckContext) -> list[Finding]:
    """Compare the features of the table with at least 100 requests.

    A feature filled in more than 5 % of the table and in no request is a `stop`, or a warning if it is declared.
    A feature that is in no request is a warning, or a note if it is declared. Different values are a warning if
    the detector is significant at 5 % over all features and the distributions differ by more than 0.1 (triangular
    discrimination). If the detector cannot judge, a note says why.
    """
    requests = request_rows(context)
    absent = [finding for name in context.dataset.features if (finding := _absence(context, name, requests))]
    reported = {finding.where for finding in absent}
    try:
        shifted = _shifted_features(context, requests)
    except NotApplicable as reason:
        message = f"{len(requests):,} requests cannot be compared with the values of the table: {reason.what}"
        return [*absent, Finding(code="D026", severity="note", message=message, where="requests", hint=reason.hint)]
    return absent + [finding for finding in shifted if finding.where not in reported]


def _absence(context: CheckContext, name: str, requests: pl.DataFrame) -> Finding | None:
    """Return a finding if a feature is absent from requests or never filled in them."""
    dataset, count = context.dataset, len(requests)
    declared = name in dataset.roles.known
    if name not in requests.columns:
        message = f"'{name}' is in none of {count:,} requests: no live model reads it, so its availability is unproven"
        return Finding(
            code="D026",
            severity="note" if declared else "warn",
            message=message,
            where=f"column {name}",
            measured=0.0,
            limit=FILLED,
            hint=f'{known_line(name, "outcome")} (or "request" if callers can send it)',
        )
    in_table = filled_share(dataset.table[name])
    if in_table <= FILLED or filled_share(requests[name]):
        return None
    return Finding(
        code="D026",
        severity="warn" if declared else "stop",
        message=f"'{name}' is filled in {in_table:.1%} of {len(dataset.table):,} rows, and in none of {count:,} "
        "requests",
        where=f"column {name}",
        measured=0.0,
        limit=FILLED,
        hint=f"{known_line(name, 'outcome')}, or let callers send it",
    )


def _shifted_features(context: CheckContext, requests: pl.DataFrame) -> list[Finding]:
    """Return a finding per feature whose distribution differs between training rows and requests."""
    train = training_rows(context)
    drift = compare_with_requests(context, train, requests)
    distances = feature_distances(drift)
    return [
        Finding(
            code="D026",
            severity="warn",
            message=f"'{name}' has other values in {len(requests):,} requests than in {len(train.table):,} training "
            f"rows: the distributions differ by {distances[name]:.2f}, at a significance of {ALPHA:.0%} over all "
            "features",
            where=f"column {name}",
            measured=distances[name],
            limit=MIN_DISTANCE,
            hint="repair the changed source, or retrain if the population changed; headway watch shows since when",
        )
        for name in drifted_features(drift)
        if distances[name] > MIN_DISTANCE
    ]
