"""A model that reads other columns than it was trained on: some of a row's, and constants for the rest."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import EngineError
from headway.core.record import Settings
from headway.engines.formats.columns import CONSTANT, ColumnSelection
from headway.engines.formats.nested import REBUILD_HINT, open_models


class Columns(ColumnSelection):
    """Engine for models without some of their features (transform `without`), and for first stages of a cascade."""

    formats: ClassVar[tuple[str, ...]] = ("columns",)

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'columns' has no setting {min(settings)!r}", hint="remove it")
        header, (model,) = open_models(content, models=1)
        if not header.columns or min(header.columns) < CONSTANT:
            raise EngineError("the model has no columns to read", hint=REBUILD_HINT)
        if len(header.constants) != (len(header.columns) if CONSTANT in header.columns else 0):
            raise EngineError("the model has no value for a column that it does not read", hint=REBUILD_HINT)
        constants = [np.nan if value is None else value for value in header.constants]
        super().__init__(model, header.columns, constants)
        self._width = max(header.columns) + 1

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; raise EngineError as the model does."""
        if rows.shape[1] < self._width:
            raise EngineError(f"the model reads column {self._width - 1}, and a row has {rows.shape[1]}")
        return super().predict(rows)


plugin = Columns
