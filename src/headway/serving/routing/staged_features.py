"""Features of a release whose first model decides most rows: the others are looked up only for the rows that it leaves.

The features of the first model are looked up for all rows of a batch, and those that it does not read for the rows that
it does not decide. In the log the other rows have no value of these features, and the event time `DEFERRED_US`, whose
bits are NaN for a number that features of the request are computed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace

from headway.core.feature_view import FeatureView
from headway.core.release import Contract
from headway.core.variant import Signature
from headway.engines.cascade import Cascade
from headway.features.online_rows import DEFERRED_US
from headway.features.rules import views_read
from headway.serving.routing.online_features import WINDOWS, FeatureRows, OnlineFeatures

if TYPE_CHECKING:
    from headway.core.contracts import Engine, Floats, Ints, OnlineStore

DECIDED = "decided"
"""Counts the rows that the first model decided."""


def open_features(
    signature: Signature, views: Sequence[FeatureView], store: OnlineStore | None, engine: Engine
) -> OnlineFeatures:
    """Return the online features of a release, in two stages if its engine is a cascade that defers some."""
    if isinstance(engine, Cascade) and (late := _deferred_inputs(signature, views, engine)):
        return StagedFeatures(signature, views, store, model=engine, late=late)
    return OnlineFeatures(signature, views, store)


def _deferred_inputs(signature: Signature, views: Sequence[FeatureView], model: Cascade) -> frozenset[str]:
    """Return the inputs that views bring which the first model needs no look-up of."""
    names = signature.names
    brought = {name for view in views for name in view.feature_names}
    early = [name for name in names if name not in brought] + [names[column] for column in model.columns]
    looked_up = {view.name for view in views_read(views, early)}
    free = {name for view in views if view.name in looked_up and not view.is_on_demand for name in view.feature_names}
    return frozenset(names).difference(early, free) if model.columns else frozenset()


class StagedFeatures(OnlineFeatures):
    """Completes the rows of requests in two stages.

    Parameters
    ----------
    signature, views, store
        As of `OnlineFeatures`.
    model : Cascade
        Says which rows its first model does not decide.
    late : frozenset of str
        Inputs that are looked up and computed for these rows alone.
    """

    def __init__(
        self,
        signature: Signature,
        views: Sequence[FeatureView],
        store: OnlineStore | None,
        *,
        model: Cascade,
        late: frozenset[str],
    ) -> None:
        super().__init__(signature, views, store)
        self.late, self._model = late, model
        self._first, self._second = (
            _Stage(self, signature, views, store, [name for name in signature.names if (name in late) == is_late])
            for is_late in (False, True)
        )

    def get_online_features(self, rows: Floats, keys: Sequence[str]) -> FeatureRows:
        """Look up and compute the features of requests; those in `late` only where the first model does not decide.

        Parameters and result are those of `OnlineFeatures.get_online_features`.
        """
        complete = np.full((len(rows), self._width), np.nan)
        early = self._first.features.get_online_features(rows.take(self._first.request, axis=1), keys)
        complete[:, self._first.columns] = early.rows
        refused, seen = dict(early.refused), dict(zip(self._first.seen, early.seen, strict=True))
        texts = dict(zip(self._first.texts, early.texts, strict=True))
        which = np.flatnonzero(self._model.undecided(complete))
        self.counts.append({(DECIDED, "", ""): len(rows) - len(which)})
        if len(which):
            some = rows.take(which, axis=0).take(self._second.request, axis=1)
            late = self._second.features.get_online_features(some, [keys[row] for row in which.tolist()])
            complete[np.ix_(which, self._second.columns)] = late.rows
            for name, times in zip(self._second.seen, late.seen, strict=True):
                if name != WINDOWS or name not in seen:  # the first stage has aggregated a moment before
                    seen[name] = _placed(seen.get(name), times, which, len(rows))
            for name, strings in zip(self._second.texts, late.texts, strict=True):
                texts.setdefault(name, _placed_strings(strings, which, len(rows)))
            for row, error in late.refused.items():
                error.where = f"row {which[row]}{error.where.removeprefix(f'row {row}')}"
                refused.setdefault(int(which[row]), error)
        nothing = np.full(len(rows), DEFERRED_US, dtype=np.int64)
        return FeatureRows(
            rows=complete,
            seen=tuple(seen.get(name, nothing) for name in self.seen_names),
            texts=tuple(texts.get(name, [None] * len(rows)) for name in (*self.texts, *self.read_strings)),
            refused=refused,
        )


class _Stage:
    """The features of some inputs, and where they are in the rows of requests and of the model."""

    def __init__(
        self,
        owner: OnlineFeatures,
        signature: Signature,
        views: Sequence[FeatureView],
        store: OnlineStore | None,
        names: Sequence[str],
    ) -> None:
        inputs = tuple(field for field in signature.inputs if field.name in names)
        self.features = OnlineFeatures(
            replace(signature, inputs=inputs), views_read(views, names), store, texts=owner.texts
        )
        self.features.counts = owner.counts
        self.columns = np.array([signature.names.index(name) for name in names])
        self.request = np.array([owner.request.names.index(name) for name in self.features.request.names])
        self.seen = self.features.seen_names
        self.texts = (*self.features.texts, *self.features.read_strings)


def _placed(before: Ints | None, times: Ints, which: Ints, n: int) -> Ints:
    """Return the times of n rows: these for some rows, and those that are known already for the others."""
    found = np.full(n, DEFERRED_US, dtype=np.int64) if before is None else before.copy()
    found[which] = times
    return found


def _placed_strings(strings: Sequence[str | None], which: Ints, n: int) -> list[str | None]:
    """Return the strings of n rows: these for some rows, and None for the others."""
    found: list[str | None] = [None] * n
    for row, string in zip(which.tolist(), strings, strict=True):
        found[row] = string
    return found


def contract_of(features: OnlineFeatures, contract: Contract) -> Contract:
    """Return the contract for rows of these features: inputs that are not looked up for each row may be missing."""
    late = features.late if isinstance(features, StagedFeatures) else frozenset()
    columns = tuple(replace(column, may_miss=True) if column.name in late else column for column in contract.columns)
    return replace(contract, columns=columns)
