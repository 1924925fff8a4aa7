"""Online features of a release: which columns a request brings, and which are looked up by its key."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from headway.core.errors import Refused
from headway.core.feature_view import FeatureView
from headway.core.variant import Signature
from headway.features.online import OnlineTable

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints


class OnlineFeatures:
    """Completes the rows of requests with features from online tables.

    `names` are the feature views, `columns` the features that they bring, and `request` is the signature of what a
    request brings itself: without views, the whole signature of the model.
    """

    def __init__(self, signature: Signature, views: Sequence[FeatureView], folder: Path) -> None:
        """Open the online tables in a folder.

        Raises
        ------
        Refused
            If a view has a column that the model does not read, or that another view has too.
        StoreError
            If a table is missing.
        """
        names = list(signature.names)
        self.names = tuple(view.name for view in views)
        self.columns = frozenset(column for view in views for column in view.columns)
        _require_valid_columns(views, names)
        inputs = tuple(field for field in signature.inputs if field.name not in self.columns)
        self.request = replace(signature, inputs=inputs)
        self._width = len(names)
        self._request_columns = [names.index(name) for name in self.request.names]
        self._tables = [
            (OnlineTable(folder, view.table), [names.index(column) for column in view.columns]) for view in views
        ]
        for (table, columns), view in zip(self._tables, views, strict=True):
            _require_width(view, table.get([])[0].shape[1], len(columns))

    def get_online_features(self, rows: Floats, keys: Sequence[str]) -> tuple[Floats, tuple[Ints, ...]]:
        """Look up the features of requests by key.

        Parameters
        ----------
        rows : float64 [n, width of `request`]
            Rows as the requests brought them.
        keys
            Key of each row.

        Returns
        -------
        rows : float64 [n, d]
            Rows as the model reads them; a value that no table has is NaN.
        times_us : int64 [n] for each view
            When the values were written, in microseconds since 1970.
        """
        complete = np.empty((len(rows), self._width))
        complete[:, self._request_columns] = rows
        written = []
        for table, columns in self._tables:
            values, times_us = table.get(keys)
            complete[:, columns] = values
            written.append(times_us)
        return complete, tuple(written)


def _require_width(view: FeatureView, found: int, expected: int) -> None:
    if found != expected:
        raise Refused(f"view '{view.name}' has {expected} columns, its table '{view.table}' has {found}")


def _require_valid_columns(views: Sequence[FeatureView], names: Sequence[str]) -> None:
    seen: set[str] = set()
    for view in views:
        for column in view.columns:
            if column not in names or column in seen:
                reason = "that another view has too" if column in seen else "that the model does not read"
                raise Refused(f"view '{view.name}' has a column '{column}' {reason}")
            seen.add(column)
