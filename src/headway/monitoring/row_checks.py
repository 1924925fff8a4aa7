"""Checks of the rows of a short period, from the first hour on, by rules that need no test and no earlier days.

O010: A column is missing, outside the contract, or constant in far more rows than when the release was judged.
O011: No request was answered in a period of the log, or less than a tenth of the usual number.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from headway.core.arrays import Floats
from headway.core.evidence import Finding
from headway.core.release import Bounds, Contract
from headway.core.variant import Signature

ROWS_BROKE, VOLUME_FELL = "O010", "O011"
MIN_ROWS = 20
MIN_SHARE = 0.05
"""A share must be higher by this and by four standard errors of so many independent rows."""
ERRORS = 4.0
CHANCE = 1e-6
"""A column is constant if its most frequent value would fill all rows with less than this probability."""
MIN_PERIODS, FALL = 3, 10.0


def check_rows(rows: Floats, reference: Floats, contract: Contract, signature: Signature) -> list[Finding]:
    """Return a finding for each column that broke; none for fewer than 20 rows.

    Parameters
    ----------
    rows, reference : ndarray of shape (n, d)
        Rows of the period, and those that the release was judged on, which may be none.
    contract : Contract
        Ranges of the columns in the rows that the release was made on.
    signature : Signature
    """
    if len(rows) < MIN_ROWS:
        return []
    bounds = {column.name: column for column in contract.columns}
    found = []
    for index, field in enumerate(signature.inputs):
        column, before = rows[:, index], reference[:, index]
        broke = next(_breaks(column, before, bounds.get(field.name), contract.margin), None)
        if broke:
            what, share, usual, limit = broke
            found.append(
                Finding(
                    code=ROWS_BROKE,
                    severity="warn",
                    message=f"{field.name} {what} in {share:.0%} of {len(rows):,} rows ({usual:.0%} when judged)",
                    where=field.name,
                    measured=share,
                    limit=limit,
                    hint="check what fills this column",
                )
            )
    return found


def check_volume(n_rows: int, usual: float | None, n_before: int) -> list[Finding]:
    """Return a finding if a period of the log has no request, or few compared with `n_before` periods before."""
    if n_rows and not (usual and n_before >= MIN_PERIODS and n_rows < usual / FALL):
        return []
    amount = f"{n_rows:,} requests were answered" if n_rows else "no request was answered"
    compared = f" (usually {usual:,.0f})" if usual else ""
    return [
        Finding(
            code=VOLUME_FELL,
            severity="warn",
            message=f"{amount}{compared}",
            where="log",
            measured=float(n_rows),
            limit=usual / FALL if usual else None,
            hint="check the server and its callers",
        )
    ]


def _breaks(
    column: Floats, before: Floats, bounds: Bounds | None, margin: float
) -> Iterator[tuple[str, float, float, float]]:
    """Yield what broke, with its share now, its usual share, and the limit."""
    missing, known = np.isnan(column), before[~np.isnan(before)]
    was_missing = float(np.isnan(before).mean()) if len(before) else bounds.missing if bounds else None
    if was_missing is not None and (limit := _limit(was_missing, len(column))) < (share := float(missing.mean())):
        yield "is missing", share, was_missing, limit
    values = column[~missing]
    if bounds is not None and len(values):
        was_outside = float(_outside(known, bounds, margin).mean()) if len(known) else 0.0
        limit, share = _limit(was_outside, len(column)), float(_outside(values, bounds, margin).mean())
        if share > limit:
            yield "is outside its contract", share, was_outside, limit
    if len(values) >= MIN_ROWS and len(known) and (values == values[0]).all():
        usual = float((known == values[0]).mean())
        if usual ** len(values) < CHANCE:
            yield f"is always {values[0]:g}", 1.0, usual, usual


def _limit(usual: float, n_rows: int) -> float:
    """Return the share above which a column broke, for rows of which a usual share is so."""
    spread = max(usual, 1 / n_rows)
    return usual + max(MIN_SHARE, ERRORS * float(np.sqrt(spread * max(1 - spread, 0.0) / n_rows)))


def _outside(values: Floats, bounds: Bounds, margin: float) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which values are outside: beyond the range and its margin, or no known category."""
    if bounds.categories:
        return np.asarray((values < 0) | (values >= len(bounds.categories)))
    low = -np.inf if bounds.lowest is None else bounds.lowest
    high = np.inf if bounds.highest is None else bounds.highest
    tolerance = margin * (high - low) if np.isfinite(high - low) else 0.0
    return np.asarray((values < low - tolerance) | (values > high + tolerance))
