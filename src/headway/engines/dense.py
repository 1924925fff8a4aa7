"""headway's kernels for small dense networks: float32, in C, without the GIL, for one row or a batch.

Settings: `level` ("amx", "avx512", "avx2", on ARM "neon", or "portable"; by default the best of the machine), and
`precision` of products ("f32", or "bf16": weights and inputs rounded to bfloat16, sums in float32).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from headway.core.errors import EngineError
from headway.core.record import Settings
from headway.engines.compiled.artifact import LEVELS, KernelEngine, load_kernels, read_program

IMPORTS_MODELS = False  # transforms write its artifacts
PRECISIONS = ("f32", "bf16")


class Dense(KernelEngine):
    """Engine for networks that a transform lowered to programs; it imports no models.

    Any level computes with either precision. In bfloat16 the levels differ by the rounding of their sums in float32,
    and only "amx" is faster than in float32.
    """

    defaults: ClassVar[Settings] = {"level": "", "precision": "f32"}

    formats: ClassVar[tuple[str, ...]] = ("dense",)
    name = "dense"
    kernels = load_kernels("dense")
    artifact = "program of the network"
    rejection = "a row reads outside a table of the network"

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return the precisions worth trying on this CPU: float32, and bfloat16 if it has AMX."""
        return PRECISIONS if LEVELS[int(cls.kernels.level())] == "amx" else PRECISIONS[:1]

    def __init__(self, content: bytes, settings: Settings) -> None:
        numbers, *arrays = read_program(content)
        precision = settings.get("precision", "f32")
        if precision not in PRECISIONS:
            raise EngineError(
                f"setting 'precision' is {precision!r}, not one of {', '.join(PRECISIONS)}", hint="precision = 'f32'"
            )
        others = {name: value for name, value in settings.items() if name != "precision"}
        numbers = np.append(numbers, PRECISIONS.index(str(precision)))
        super().__init__(numbers, arrays, others, outputs=int(numbers[1]))


plugin = Dense
