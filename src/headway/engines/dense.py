"""headway's kernels for small dense networks: float32, in C, without the GIL, for one row or a batch.

Settings: `level` ("avx512", "avx2" or "portable"; by default the best of the machine).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable, PluginError
from headway.core.record import Settings
from headway.engines.compiled.artifact import instruction_level
from headway.engines.compiled.program import read_program

try:
    from headway.engines import _dense  # type: ignore[attr-defined, unused-ignore]
except ImportError as error:
    raise PluginError(
        "engine 'dense' is not built: no C compiler was available when headway was installed",
        hint="apt-get install gcc python3-dev, then: pip install --force-reinstall --no-deps --no-cache-dir "
        "--no-binary headway headway",
    ) from error


IMPORTS_MODELS = False  # transforms write its artifacts


class Dense:
    """Engine for networks that a transform lowered to programs; it imports no models."""

    formats: ClassVar[tuple[str, ...]] = ("dense",)
    files: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Settings] = {"level": ""}

    def __init__(self, content: bytes, settings: Settings) -> None:
        numbers, *arrays = read_program(content)
        level = instruction_level(settings, engine="dense", best=int(_dense.level()))
        try:
            self._program = _dense.open((np.append(numbers, level), *arrays))
        except ValueError as error:
            raise EngineError(f"the program of the network is invalid: {error}", hint="headway optimize") from error
        self._answer, self._width, self._outputs = _dense.answer, int(numbers[0]), int(numbers[1])

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: artifacts are compiled from a graph that another engine imported."""
        raise NotApplicable(f"a {type(model).__name__} is imported by another engine, and compiled by a transform")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d], cast to float32; binary: of the positive class, k = 1.

        Raises EngineError for rows of another width, and for a row that reads outside a table.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        scores = np.empty((len(rows), self._outputs))
        if not self._answer(self._program, np.ascontiguousarray(rows, np.float64), scores):
            raise EngineError("a row reads outside a table of the network", hint="impute or drop such rows")
        return scores


plugin = Dense
