"""headway's kernels for small dense networks: float32, in C, without the GIL, for one row or a batch.

Settings: `level` ("avx512", "avx2", on ARM "neon", or "portable"; by default the best of the machine).
"""

from __future__ import annotations

from typing import ClassVar

from headway.core.record import Settings
from headway.engines.compiled.artifact import KernelEngine, load_kernels, read_program

IMPORTS_MODELS = False  # transforms write its artifacts


class Dense(KernelEngine):
    """Engine for networks that a transform lowered to programs, in float32; it imports no models."""

    formats: ClassVar[tuple[str, ...]] = ("dense",)
    name = "dense"
    kernels = load_kernels("dense")
    artifact = "program of the network"
    rejection = "a row reads outside a table of the network"

    def __init__(self, content: bytes, settings: Settings) -> None:
        numbers, *arrays = read_program(content)
        super().__init__(numbers, arrays, settings, outputs=int(numbers[1]))


plugin = Dense
