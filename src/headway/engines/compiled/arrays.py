"""Arrays one after the other as the bytes of an artifact: a word for what they are, lengths, then each aligned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.errors import EngineError

Array = NDArray[Any]

_ALIGNED = 64


def packed(magic: bytes, kinds: Sequence[str], *arrays: Array) -> bytes:
    """The bytes of arrays, each as its kind; `magic` ends in a new line."""
    found = [np.ascontiguousarray(array, kind) for array, kind in zip(arrays, kinds, strict=True)]
    head = magic + msgspec.json.encode([len(array) for array in found]) + b"\n"
    return b"".join(part + bytes(_aligned(len(part)) - len(part)) for part in [head, *(a.tobytes() for a in found)])


def unpacked(content: bytes, magic: bytes, kinds: Sequence[str], what: str) -> list[Array]:
    """The arrays of an artifact, without copying them; raises EngineError for anything that is no such `what`."""
    if not content.startswith(magic):
        raise EngineError(f"these bytes are no {what}", hint="headway optimize")
    try:
        line, _, _ = content[len(magic) :].partition(b"\n")
        lengths = msgspec.json.decode(line, type=list[int])
        if len(lengths) != len(kinds) or min(lengths) < 0:
            raise ValueError(f"{len(lengths)} arrays, expected {len(kinds)}")
        at = _aligned(len(magic) + len(line) + 1)
        arrays: list[Array] = []
        for kind, length in zip(kinds, lengths, strict=True):
            arrays.append(np.frombuffer(content, kind, length, at))
            at = _aligned(at + arrays[-1].nbytes)
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise EngineError(f"the {what} is not whole: {error}", hint="headway optimize") from error
    return arrays


def _aligned(at: int) -> int:
    return -(-at // _ALIGNED) * _ALIGNED
