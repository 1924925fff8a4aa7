"""The feature views of a release: which columns a request brings, and which are looked up by its key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from headway.core.errors import Refused
from headway.core.release import FeatureView
from headway.core.variant import Signature
from headway.features.online import OnlineTable

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints


class OnlineFeatures:
    """Fills the rows of requests up to what a model reads; without views they are whole as they come."""

    def __init__(self, signature: Signature, views: Sequence[FeatureView], folder: Path) -> None:
        """Open the online tables in a folder.

        Raises Refused where a view has a column that the model does not read, or that another view has too;
        StoreError where a table is not there.
        """
        names = list(signature.names)
        self.names = tuple(view.name for view in views)
        self.columns = frozenset(column for view in views for column in view.columns)
        _expect_columns(views, names)
        self.asked = replace(
            signature, inputs=tuple(each for each in signature.inputs if each.name not in self.columns)
        )
        self._width = len(names)
        self._brought = [names.index(name) for name in self.asked.names]
        self._tables = [
            (OnlineTable(folder, view.table), [names.index(column) for column in view.columns]) for view in views
        ]
        for (table, places), view in zip(self._tables, views, strict=True):
            _expect_width(view, table.get([])[0].shape[1], len(places))

    def get_online_features(self, rows: Floats, keys: Sequence[str]) -> tuple[Floats, tuple[Ints, ...]]:
        """Rows as the model reads them, float64 [n, d], and for each view since when its values are known, int64 [n].

        `rows` float64 [n, asked] are as the requests brought them, `keys` [n] theirs; what no table has is NaN.
        """
        whole = np.empty((len(rows), self._width))
        whole[:, self._brought] = rows
        seen = []
        for table, places in self._tables:
            values, times_us = table.get(keys)
            whole[:, places] = values
            seen.append(times_us)
        return whole, tuple(seen)


def _expect_width(view: FeatureView, met: int, wanted: int) -> None:
    if met != wanted:
        raise Refused(f"view '{view.name}' has {wanted} columns, its table '{view.table}' has {met}")


def _expect_columns(views: Sequence[FeatureView], names: Sequence[str]) -> None:
    met: set[str] = set()
    for view in views:
        for column in view.columns:
            if column not in names or column in met:
                message = "that another view has too" if column in met else "that the model does not read"
                raise Refused(f"view '{view.name}' has a column '{column}' {message}")
            met.add(column)
