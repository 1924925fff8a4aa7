"""A small network as a tape: steps in order over one file of float32 numbers a row, and the bytes of its artifact.

A step has eight numbers: what it does, where in the file it writes and how many numbers, its operands, and two sizes.
`engines/dense_kernel/tape.h` says what each means, and checks all of them when a tape is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.engines.compiled.artifact import pack_arrays, unpack_arrays

Array = NDArray[Any]

OPERATIONS = (
    *("add", "sub", "mul", "div", "least", "greatest", "less", "less_equal", "equal", "where", "to_whole"),
    *("abs", "floor", "round", "is_nan", "sqrt", "log", "exp", "sigmoid", "tanh", "erf"),
    *("copy", "take", "look_up", "softmax", "sum", "dense"),
)
"""What a step may do, in the order of their numbers."""
IN_FILE, IN_POOL, ONE_NUMBER = 0, 1, 2
"""Where an operand lies: two bits for each of them; one number stands GRAIN times in the pool."""
VECTOR_SIZE = 16
"""Kernels go by whole vectors: what is after a span is read and written up to the next of so many numbers."""
MAX_FLOATS = 1 << 20
_MAGIC = b"headway tape 1\n"
_KINDS = ("int64", "int32", "float32", "int32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Steps int32 [s, 8] from a row of `width` numbers, at the start of its file, to `outputs` at `answer` in it.

    `size` is that of the file. `pool` float32 holds weights, tables and constants; `places` int32 what is taken where.
    """

    width: int
    outputs: int
    answer: int
    size: int
    steps: Array
    pool: Array
    places: Array


def write_program(tape: Program) -> bytes:
    """The bytes of a tape."""
    numbers = np.array([tape.width, tape.outputs, tape.answer, tape.size])
    return pack_arrays(_MAGIC, _KINDS, numbers, np.ravel(tape.steps), tape.pool, tape.places)


def read_program(content: bytes) -> list[Array]:
    """The arrays of an artifact, without copying them; raises EngineError for anything that is not one."""
    return unpack_arrays(content, _MAGIC, _KINDS, "tape of a network")
