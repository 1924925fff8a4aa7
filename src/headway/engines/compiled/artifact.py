"""Artifacts of headway's own kernels: pack arrays into bytes, and choose the processor's instructions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError
from headway.core.record import Settings

Array = NDArray[Any]

_ALIGNMENT = 64


def pack_arrays(magic: bytes, kinds: Sequence[str], *arrays: Array) -> bytes:
    """Return the bytes of arrays, each converted to its dtype; `magic` ends in a newline."""
    found = [np.ascontiguousarray(array, kind) for array, kind in zip(arrays, kinds, strict=True)]
    head = magic + msgspec.json.encode([len(array) for array in found]) + b"\n"
    return b"".join(part + bytes(_align(len(part)) - len(part)) for part in [head, *(a.tobytes() for a in found)])


def unpack_arrays(content: bytes, magic: bytes, kinds: Sequence[str], what: str) -> list[Array]:
    """Return the arrays of an artifact without copying them; raise EngineError unless it is a complete one."""
    if not content.startswith(magic):
        raise EngineError(f"these bytes are not a {what}", hint="headway optimize")
    try:
        line, _, _ = content[len(magic) :].partition(b"\n")
        lengths = msgspec.json.decode(line, type=list[int])
        if len(lengths) != len(kinds) or min(lengths) < 0:
            raise ValueError(f"{len(lengths)} arrays, expected {len(kinds)}")
        at = _align(len(magic) + len(line) + 1)
        arrays: list[Array] = []
        for kind, length in zip(kinds, lengths, strict=True):
            arrays.append(np.frombuffer(content, kind, length, at))
            at = _align(at + arrays[-1].nbytes)
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise EngineError(f"the {what} is damaged: {error}", hint="headway optimize") from error
    return arrays


def _align(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT


LEVELS = ("portable", "avx2", "avx512")


def instruction_level(settings: Settings, *, engine: str, best: int) -> int:
    """Return the index in LEVELS that the settings request, by default the best of this machine.

    Raises EngineError for unknown settings and for levels that this machine does not support.
    """
    unknown = sorted(set(settings) - {"level"})
    if unknown:
        raise EngineError(f"engine {engine!r} has no setting {unknown[0]!r}", hint="level")
    requested = settings.get("level", "")
    if not requested:
        return best
    if requested not in LEVELS[: best + 1]:
        raise EngineError(
            f"setting 'level' is {requested!r}, this machine supports {', '.join(LEVELS[: best + 1])}",
            hint=LEVELS[best],
        )
    return LEVELS.index(str(requested))
