"""Parts of the feature store that land next: expressions, queries and aggregations of views."""

from __future__ import annotations

from typing import Any

import polars as pl

from headway.core.errors import NotApplicable
from headway.core.feature_view import ColumnValue, ConstantValue, FunctionCall


def columns_of(expression: ColumnValue | ConstantValue | FunctionCall) -> frozenset[str]:
    """Return the names of the columns that an expression reads."""
    if isinstance(expression, FunctionCall):
        return frozenset[str]().union(*map(columns_of, expression.arguments))
    return frozenset({expression.name} if isinstance(expression, ColumnValue) else ())


def to_polars(*_: Any, where: str = "") -> pl.Expr:
    """Raise NotApplicable: expressions are not computed yet."""
    raise NotApplicable("expressions of feature views are not computed by this version", where=where)


def run_query(*_: Any) -> pl.DataFrame:
    """Raise NotApplicable: queries are not run yet."""
    raise NotApplicable("queries of feature views are not run by this version")


def aggregate(*_: Any) -> pl.DataFrame:
    """Raise NotApplicable: aggregations are not computed yet."""
    raise NotApplicable("aggregations of feature views are not computed by this version")
