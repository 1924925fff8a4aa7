"""The one setting that engines share: how many threads a model runs on."""

from __future__ import annotations

from headway.core.errors import EngineError
from headway.core.record import Settings


def threads_of(settings: Settings, *, engine: str, default: int) -> int:
    """The number of threads that settings ask for, 0 for what the library takes by itself.

    Raises EngineError for a setting of another name, or one that is no whole number from 0.

    >>> threads_of({"threads": 2}, engine="lightgbm", default=0), threads_of({}, engine="onnxruntime", default=1)
    (2, 1)
    """
    unknown = sorted(set(settings) - {"threads"})
    if unknown:
        raise EngineError(f"engine {engine!r} has no setting {unknown[0]!r}", mend="threads")
    threads = settings.get("threads", default)
    if type(threads) is not int or threads < 0:
        raise EngineError(f"setting 'threads' is {threads!r}, not a whole number of threads", mend="threads = 1")
    return threads
