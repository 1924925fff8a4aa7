"""A small network lowered to a program, and the bytes of its artifact.

A program is a list of steps over one buffer of float32 numbers per row. A step has eight numbers: the operation, the
offset and count of its output in the buffer, its operands, and two sizes. `engines/dense_kernel/program.h` documents
them, and checks all of them when a program is opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headway.engines.compiled.artifact import pack_arrays, unpack_arrays

Array = NDArray[Any]

OPERATIONS = (
    *("add", "sub", "mul", "div", "min", "max", "less", "less_equal", "equal", "where", "trunc"),
    *("abs", "floor", "round", "is_nan", "sqrt", "log", "exp", "sigmoid", "tanh", "erf"),
    *("copy", "take", "lookup", "softmax", "sum", "dense"),
)
"""Operations, in the order of their codes."""
IN_BUFFER, IN_POOL, SCALAR = 0, 1, 2
"""Where an operand is stored, two bits each; a scalar is repeated VECTOR_SIZE times in the pool."""
VECTOR_SIZE = 16
"""Kernels read and write whole vectors, so a span is padded to a multiple of this many numbers."""
MAX_FLOATS = 1 << 20
_MAGIC = b"headway tape 1\n"  # the name of the format on disk
_KINDS = ("int64", "int32", "float32", "int32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Steps from a row of `width` numbers, at the start of the buffer, to `outputs` numbers at `output_offset`.

    Attributes
    ----------
    size : int
        Number of float32 in the buffer.
    steps : ndarray of int32, shape (s, 8)
    pool : ndarray of float32
        Weights, tables and constants.
    indices : ndarray of int32
        Source positions of `take` steps.
    """

    width: int
    outputs: int
    output_offset: int
    size: int
    steps: Array
    pool: Array
    indices: Array


def write_program(program: Program) -> bytes:
    """Return the bytes of a program."""
    numbers = np.array([program.width, program.outputs, program.output_offset, program.size])
    return pack_arrays(_MAGIC, _KINDS, numbers, np.ravel(program.steps), program.pool, program.indices)


def read_program(content: bytes) -> list[Array]:
    """Return the arrays of an artifact without copying them; raise EngineError unless it is a program."""
    return unpack_arrays(content, _MAGIC, _KINDS, "program of a network")
