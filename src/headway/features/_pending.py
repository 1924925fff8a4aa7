"""A part of the feature store that lands next: queries of views."""

from __future__ import annotations

from typing import Any

import polars as pl

from headway.core.errors import NotApplicable


def run_query(*_: Any) -> pl.DataFrame:
    """Raise NotApplicable: queries are not run yet."""
    raise NotApplicable("queries of feature views are not run by this version")
