"""A model that remembers: a row that was answered before is answered from memory, to the bit as then."""

from __future__ import annotations

from threading import Lock
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models

Floats = NDArray[np.float64]


class Cache:
    """Opens what transform `cache` made: the last `rows` different rows are kept, the oldest goes first.

    A batch is the model's own: to look each of its rows up would cost more than it saves.
    """

    formats: ClassVar[tuple[str, ...]] = ("cache",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'cache' has no setting {min(settings)!r}", hint="leave it out")
        header, (self._model,) = open_models(content, models=1)
        self._most = int(header.numbers.get("rows", 0))
        if self._most < 1:
            raise EngineError("the cache does not say how many rows it keeps", hint=REBUILD_HINT)
        self._kept: dict[bytes, Floats] = {}
        self._lock = Lock()

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Never: it is made of a model that another engine took."""
        raise NotApplicable(f"a {type(model).__name__} is no cache")

    def predict(self, rows: Floats) -> Floats:
        """rows: float64 [n, d] -> float64 [n, k]; raises EngineError as the model does."""
        if len(rows) != 1:
            return self._model.predict(rows)
        key = rows.tobytes()
        found = self._kept.get(key)
        if found is None:
            found = self._model.predict(rows)
            with self._lock:
                if len(self._kept) >= self._most:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = found
        return found.copy()


plugin = Cache
