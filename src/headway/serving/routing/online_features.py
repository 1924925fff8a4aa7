"""Online features of a release: which columns a request brings, and which are looked up by its key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from headway.core.errors import Refused, StoreError
from headway.core.feature_view import FeatureView
from headway.core.variant import Signature

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints, OnlineStore


class OnlineFeatures:
    """Completes the rows of requests with features from online tables.

    `names` are the feature views, `columns` the features that they bring, and `request` is the signature of what a
    request brings itself: without views, the whole signature of the model.
    """

    def __init__(self, signature: Signature, views: Sequence[FeatureView], store: OnlineStore | None) -> None:
        """Take the online store, and expect the tables of the views in it.

        Raises
        ------
        Refused
            If a view has a column that the model does not read, or that another view has too.
        StoreError
            If a table is missing.
        StoreUnavailable
            If the store does not answer.
        """
        names = list(signature.names)
        self.names = tuple(view.name for view in views)
        self.columns = frozenset(column for view in views for column in view.columns)
        _require_valid_columns(views, names)
        inputs = tuple(field for field in signature.inputs if field.name not in self.columns)
        self.request = replace(signature, inputs=inputs)
        self._width = len(names)
        self._request_columns = [names.index(name) for name in self.request.names]
        self._store = store
        self._tables = [(view.online_table, [names.index(column) for column in view.columns]) for view in views]
        if not views:
            return
        if store is None:
            raise StoreError(
                f"view '{views[0].name}' needs an online store", hint="serve the release with headway serve"
            )
        found = store.read([(table, ()) for table, _ in self._tables])
        for (_, columns), (values, _), view in zip(self._tables, found, views, strict=True):
            _require_width(view, values.shape[1], len(columns))

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
        if self._store is None or not self._tables:
            return complete, ()
        found = self._store.read([(table, keys) for table, _ in self._tables])
        for (_, columns), (values, _) in zip(self._tables, found, strict=True):
            complete[:, columns] = values
        return complete, tuple(times_us for _, times_us in found)


def _require_width(view: FeatureView, found: int, expected: int) -> None:
    if found != expected:
        raise Refused(f"view '{view.name}' has {expected} columns, its table '{view.online_table}' has {found}")


def _require_valid_columns(views: Sequence[FeatureView], names: Sequence[str]) -> None:
    seen: set[str] = set()
    for view in views:
        for column in view.columns:
            if column not in names or column in seen:
                reason = "that another view has too" if column in seen else "that the model does not read"
                raise Refused(f"view '{view.name}' has a column '{column}' {reason}")
            seen.add(column)
