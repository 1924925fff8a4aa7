"""D026: a column that in requests is not what it is in the table: absent, never filled, or of other values."""

from __future__ import annotations

import polars as pl

from headway.core.contracts import CheckContext
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
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

FILLED = 0.05
FAR = 0.1


def plugin(survey: CheckContext) -> list[Finding]:
    """Features of the table beside what servers were asked, 100 requests or more.

    Filled in more than 5 % of the table and in no request: it stops, or warns where it is declared. In no request at
    all, since no live model reads it: a warning, or a note where it is declared. Of other values than in the rows
    learned from: a warning, where the detector shows it at 5 % over all features and the shares are apart by more than
    0.1 (triangular discrimination). A note says so where nobody can tell that.
    """
    asked = request_rows(survey)
    hard = [each for name in survey.dataset.features if (each := _hard(survey, name, asked))]
    told = {finding.where for finding in hard}
    try:
        return hard + [each for each in _unlike(survey, asked) if each.where not in told]
    except NotApplicable as reason:
        message = f"whether {len(asked):,} requests have the values of the table cannot be told: {reason.what}"
        return [*hard, Finding(code="D026", severity="note", message=message, where="requests", hint=reason.hint)]


def _hard(survey: CheckContext, name: str, asked: pl.DataFrame) -> Finding | None:
    """What is a fact of a feature: it is in no request, or is filled in none."""
    dataset, count = survey.dataset, len(asked)
    declared = name in dataset.roles.known
    if name not in asked.columns:
        message = (
            f"'{name}' is in none of {count:,} requests: no live model reads it, so nobody showed that it can be had"
        )
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
    if in_table <= FILLED or filled_share(asked[name]):
        return None
    return Finding(
        code="D026",
        severity="warn" if declared else "stop",
        message=f"'{name}' is filled in {in_table:.1%} of {len(dataset.table):,} rows, and in none of {count:,} requests",
        where=f"column {name}",
        measured=0.0,
        limit=FILLED,
        hint=f"{known_line(name, 'outcome')}, or let callers send it",
    )


def _unlike(survey: CheckContext, asked: pl.DataFrame) -> list[Finding]:
    """Features whose values moved far between the rows learned from and the requests."""
    learned = training_rows(survey)
    drift = compare_with_requests(survey, learned, asked)
    far = feature_distances(drift)
    return [
        Finding(
            code="D026",
            severity="warn",
            message=f"'{name}' has other values in {len(asked):,} requests than in {len(learned.table):,} rows learned "
            f"from: shares are {far[name]:.2f} apart, at a chance of {ALPHA:.0%} over all features",
            where=f"column {name}",
            measured=far[name],
            limit=FAR,
            hint="repair the source that changed, or train anew where the world did: headway watch tells since when",
        )
        for name in drifted_features(drift)
        if far[name] > FAR
    ]
