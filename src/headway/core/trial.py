"""Trial: a variant that is served in processes of its own for the time of a measurement."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway.core.variant import Variant

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Floats = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A running server: its address, its first process, and its start time (`time.perf_counter`).

    `request` encodes rows, float64 of shape (n, d); `answers` decodes the numbers of a response in row-major order.
    """

    host: str
    port: int
    process: int
    began_s: float
    request: Callable[[Floats], bytes]
    answers: Callable[[bytes], Floats]


Serve = Callable[[Variant], AbstractContextManager[Trial]]
"""Serves a variant until the block is left."""
