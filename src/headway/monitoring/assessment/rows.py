"""Which rows of a table are later than those that were assessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headway.core.dataset import Dataset
from headway.monitoring.answered import moments_of


def later_rows(dataset: Dataset, until: str) -> Dataset | None:
    """The rows after a time in ISO 8601; None where there is none, or rows have no time, or no time is said."""
    if not until or not dataset.roles.time:
        return None
    rows = dataset.table.filter(moments_of(dataset) > datetime.fromisoformat(until))
    return None if rows.is_empty() else replace(dataset, table=rows)


def last_time(dataset: Dataset) -> str:
    """The time of the last row in ISO 8601; empty where rows have none."""
    if not dataset.roles.time:
        return ""
    last = dataset.table.select(moments_of(dataset)).to_series().max()
    return last.isoformat() if isinstance(last, datetime) else ""
