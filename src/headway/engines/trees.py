"""headway's kernels for tree ensembles: exact, in C, without the GIL, for one row or a batch.

Settings: `level` ("avx512", "avx2" or "portable"; by default the best of the machine).
"""

from __future__ import annotations

from typing import ClassVar

from headway.core.record import Settings
from headway.engines.compiled.artifact import KernelEngine, load_kernels
from headway.engines.compiled.forest import read_forest

IMPORTS_MODELS = False  # transforms write its artifacts


class Trees(KernelEngine):
    """Engine for forests that a transform compiled; it imports no models."""

    formats: ClassVar[tuple[str, ...]] = ("forest",)
    name = "trees"
    kernels = load_kernels("trees")
    artifact = "compiled forest"
    rejection = "the model rejects infinite values, and missing values in columns that had none when it was fitted"

    def __init__(self, content: bytes, settings: Settings) -> None:
        numbers, *arrays = read_forest(content)
        super().__init__(numbers, arrays, settings, outputs=len(arrays[1]))


plugin = Trees
