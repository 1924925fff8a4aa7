"""A model with a cache: a row that was answered before gets the same answer, to the bit."""

from __future__ import annotations

from threading import Lock
from typing import ClassVar

from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable
from headway.core.record import Settings
from headway.engines.formats.nested import REBUILD_HINT, open_models


class Cache:
    """Engine for the artifacts of transform `cache`: it keeps the last `rows` distinct rows, and evicts the oldest.

    A batch goes straight to the model, since looking up each row would cost more than it saves.
    """

    formats: ClassVar[tuple[str, ...]] = ("cache",)
    files: ClassVar[tuple[str, ...]] = ()

    def __init__(self, content: bytes, settings: Settings) -> None:
        if settings:
            raise EngineError(f"engine 'cache' has no setting {min(settings)!r}", hint="remove it")
        header, (self._model,) = open_models(content, models=1)
        self._max_rows = int(header.numbers.get("rows", 0))
        if self._max_rows < 1:
            raise EngineError("the cache has no limit of rows", hint=REBUILD_HINT)
        self._answers: dict[bytes, Floats] = {}
        self._lock = Lock()

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: a cache is built around a model that another engine imported."""
        raise NotApplicable(f"a {type(model).__name__} is not a cache")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; raise EngineError as the model does."""
        if len(rows) != 1:
            return self._model.predict(rows)
        key = rows.tobytes()
        found = self._answers.get(key)
        if found is None:
            found = self._model.predict(rows)
            with self._lock:
                if len(self._answers) >= self._max_rows:
                    del self._answers[next(iter(self._answers))]
                self._answers[key] = found
        return found.copy()


plugin = Cache
