"""Which instructions of the processor headway's own kernels use: the setting `level` of their engines."""

from __future__ import annotations

from headway.core.errors import EngineError
from headway.core.record import Settings

LEVELS = ("portable", "avx2", "avx512")


def level_of(settings: Settings, *, engine: str, best: int) -> int:
    """The place in LEVELS that settings ask for; absent is the best of this machine. Raises EngineError for others."""
    unknown = sorted(set(settings) - {"level"})
    if unknown:
        raise EngineError(f"engine {engine!r} has no setting {unknown[0]!r}", hint="level")
    wanted = settings.get("level", "")
    if not wanted:
        return best
    if wanted not in LEVELS[: best + 1]:
        raise EngineError(
            f"setting 'level' is {wanted!r}, this machine can {', '.join(LEVELS[: best + 1])}", hint=LEVELS[best]
        )
    return LEVELS.index(str(wanted))
