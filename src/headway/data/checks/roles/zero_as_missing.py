"""D009: Zeros of a measure that cannot be 0, such as a blood pressure, seem to stand for missing values."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from headway.core.arrays import Floats
from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D009",)
NEVER_ZERO = re.compile(
    r"(^|_)(bmi|body_mass(_index|_g|_kg)?|glucose|glu|plas|insulin|insu|blood_pressure|bp|sys(tolic)?(_bp)?|dia(stolic)?(_bp)?|"
    r"skin(_?fold)?(_?thickness)?|triceps|height(_cm|_in|_m)?|weight(_kg|_lb|_lbs)?|heart_rate|pulse|resting_bp|trest_?bps|"
    r"thalach|max_hr|chol(esterol)?|ldl|hdl|triglycerides?|h(a)?emoglobin|platelets?|creatinine|albumin|sodium|potassium|"
    r"waist|body_temp(erature)?|oxygen_saturation|spo2)(_|$)"
)
"""Measures of a living body, in lower case with underscores."""
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[ .-]+")
MAX_SHARE, MIN_ROWS = 0.05, 50
MIN_GAP, MIN_STEPS = 0.25, 10
"""An isolated zero: the next value is at least this share of the median, and this many usual steps between values."""


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding per numeric feature whose zeros seem to stand for missing values.

    They do in a measure of the body, and in any column where zeros are rare (5 % at most) and far from all other
    values, none of which is negative. `measured` is the share of zeros.
    """
    dataset = context.dataset
    numbers = (dataset.table[name] for name in dataset.features if dataset.table.schema[name].is_numeric())
    return [finding for column in numbers for finding in _zeros(column)]


def _zeros(column: pl.Series) -> list[Finding]:
    values: Floats = column.drop_nulls().cast(pl.Float64).to_numpy()
    values = values[np.isfinite(values)]
    zeros = int((values == 0).sum())
    if not zeros or len(values) < MIN_ROWS or (values < 0).any():
        return []
    others = np.unique(values[values > 0])
    is_measure = NEVER_ZERO.search(CAMEL.sub("_", column.name).lower()) is not None
    if len(others) < MIN_STEPS or not (
        is_measure or (zeros <= MAX_SHARE * len(values) and _is_isolated(values, others))
    ):
        return []
    why = "a measure that cannot be 0" if is_measure else f"and no other value is below {others[0]:g}"
    return [
        Finding(
            code="D009",
            severity="warn",
            message=f"'{column.name}' is 0 in {zeros:,} of {len(values):,} rows, {why}: these zeros seem to stand for "
            "missing values",
            where=f"column {column.name}",
            measured=zeros / len(values),
            limit=0.0,
            hint="leave these values empty in the source, or in the query: NULLIF(COLUMN, 0)",
        )
    ]


def _is_isolated(values: Floats, others: Floats) -> bool:
    """Return whether 0 is far from the sorted positive values, compared with their median and steps."""
    low = others[: max(MIN_STEPS, len(others) // 4)]
    return bool(
        others[0] >= MIN_GAP * np.median(values[values > 0]) and others[0] >= MIN_STEPS * np.median(np.diff(low))
    )
