"""Trial: a variant that is served, in processes of its own, for as long as somebody asks it."""

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
    """A server that listens: its address, the process that began all others, and when that was (`time.perf_counter`).

    `request` gives the bytes to send for rows, float64 [n, d]; `answers` the numbers in the body of an answer, in
    row-major order.
    """

    host: str
    port: int
    process: int
    began_s: float
    request: Callable[[Floats], bytes]
    answers: Callable[[bytes], Floats]


Serve = Callable[[Variant], AbstractContextManager[Trial]]
"""Serves a variant until the block is left."""
