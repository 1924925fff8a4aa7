"""headway's own kernels for ensembles of trees: exact, in C, the GIL released; a row or a batch at a time.

Settings: `level` ("avx512", "avx2" or "portable"; absent takes the best that the machine has).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable, PluginError
from headway.core.record import Settings
from headway.engines.compiled.artifact import instruction_level
from headway.engines.compiled.forest import read_forest

try:
    from headway.engines import _trees  # type: ignore[attr-defined, unused-ignore]
except ImportError as error:
    raise PluginError(
        "engine 'trees' was not built: no C compiler was at hand when headway was installed",
        hint="apt-get install gcc python3-dev, then: pip install --force-reinstall --no-deps --no-cache-dir "
        "--no-binary headway headway",
    ) from error

Floats = NDArray[np.float64]

IMPORTS_MODELS = False  # a transform writes what it opens


class Trees:
    """Opens forests that a transform compiled; it takes no model of any library itself."""

    formats: ClassVar[tuple[str, ...]] = ("forest",)
    files: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Settings] = {"level": ""}

    def __init__(self, content: bytes, settings: Settings) -> None:
        numbers, *arrays = read_forest(content)
        level = instruction_level(settings, engine="trees", best=int(_trees.level()))
        try:
            self._forest = _trees.open((np.append(numbers, level), *arrays))
        except ValueError as error:
            raise EngineError(f"the compiled forest is not sound: {error}", hint="headway optimize") from error
        self._answer, self._width, self._outputs = _trees.answer, int(numbers[0]), len(arrays[1])

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Never: what it opens is made of a model that the engine of its library took."""
        raise NotApplicable(f"a {type(model).__name__} comes through the engine of its library, and is compiled then")

    def predict(self, rows: Floats) -> Floats:
        """rows: float64 [n, d] -> float64 [n, k]; binary: the probability of the positive class, k = 1.

        Raises EngineError where rows have another number of columns than the model, or hold what its library refuses.
        """
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        found = np.empty((len(rows), self._outputs))
        if not self._answer(self._forest, np.ascontiguousarray(rows, np.float64), found):
            raise EngineError(
                "the model takes no infinite value, and none that is missing where it saw none when it was fitted",
                hint="fill or leave out such rows",
            )
        return found


plugin = Trees
