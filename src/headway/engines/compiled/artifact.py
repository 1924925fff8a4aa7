"""Artifacts of headway's own kernels, the base of the engines that run them, and the programs of small networks.

A program is a list of steps over one buffer of float32 numbers per row. A step has eight numbers: the operation, the
offset and count of its output in the buffer, its operands, and two sizes. `engines/dense_kernel/program.h` documents
them, and checks all of them when a program is opened.
"""

from __future__ import annotations

import importlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats, summed_duplicates
from headway.core.contracts import ImportedModel
from headway.core.errors import EngineError, NotApplicable, PluginError
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


LEVELS = ("portable", "neon") if platform.machine() in {"aarch64", "arm64"} else ("portable", "avx2", "avx512", "amx")
"""Instruction levels of this machine's architecture, from the one that any processor has."""


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


def load_kernels(engine: str) -> Any:
    """Return the extension of an engine; raise PluginError, with a hint, if it was not built."""
    try:
        return importlib.import_module(f"headway.engines._{engine}")
    except ImportError as error:
        raise PluginError(
            f"engine {engine!r} is not built: no C compiler was available when headway was installed",
            hint="apt-get install gcc python3-dev, then: pip install --force-reinstall --no-deps --no-cache-dir "
            "--no-binary headway headway",
        ) from error


class KernelEngine:
    """Base of the engines that run headway's own kernels: in C, without the GIL, for one row or a batch.

    Attributes
    ----------
    name : str
        Name of the engine.
    kernels : module
        Its extension.
    artifact, rejection : str
        For error messages: what the engine opens, and why a row is rejected.
    """

    files: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[Settings] = {"level": ""}
    name: ClassVar[str]
    kernels: ClassVar[Any]
    artifact: ClassVar[str]
    rejection: ClassVar[str]

    def __init__(self, numbers: Array, arrays: Sequence[Array], settings: Settings, *, outputs: int) -> None:
        level = instruction_level(settings, engine=self.name, best=int(self.kernels.level()))
        try:
            self._model = self.kernels.open((np.append(numbers, level), *arrays))
        except ValueError as error:
            raise EngineError(f"the {self.artifact} is invalid: {error}", hint="headway optimize") from error
        self._answer, self._width, self._outputs = self.kernels.answer, int(numbers[0]), outputs

    @classmethod
    def import_model(cls, model: object) -> ImportedModel:
        """Raise NotApplicable: transforms compile the artifacts from models that other engines imported."""
        raise NotApplicable(f"a {type(model).__name__} is imported by another engine, and compiled by a transform")

    def predict(self, rows: Floats) -> Floats:
        """Compute scores float64 [n, k] for rows float64 [n, d]; binary: of the positive class, k = 1.

        Raises EngineError for rows of another width, and for rows that the kernels reject.
        """
        scores = np.empty((len(rows), self._outputs))
        self._run(self._answer, rows, scores)
        return scores

    def predict_sparse(self, rows: Any, absent: float) -> Floats:
        """Compute the scores of `predict` for a SciPy matrix (n, d) in CSR form, which is never made dense.

        Parameters
        ----------
        rows : csr_matrix or csr_array of shape (n, d)
            Its indices may be in any order; values that are stored for the same cell are summed.
        absent : float
            Value of the cells that are not stored: 0.0 or NaN.
        """
        if rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        values = rows.data if rows.data.dtype.char in "df" else rows.data.astype(np.float64)
        scores = np.empty((len(rows.indptr) - 1, self._outputs))
        try:
            done = self.kernels.answer_sparse(self._model, rows.indptr, rows.indices, values, scores, absent != absent)
        except ValueError as error:
            raise EngineError(f"the sparse matrix is invalid: {error}", hint="rows.check_format()") from error
        if done is None:
            return self.predict_sparse(summed_duplicates(rows), absent)
        if not done:
            raise EngineError(self.rejection, hint="impute or drop such rows")
        return scores

    def _run(self, kernel: Callable[..., bool], rows: Floats, out: Array, *arguments: float) -> None:
        """Let a kernel write its answers to rows into `out`."""
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise EngineError(f"rows of shape {rows.shape}, the model reads [n, {self._width}]")
        if not kernel(self._model, np.ascontiguousarray(rows, np.float64), out, *arguments):
            raise EngineError(self.rejection, hint="impute or drop such rows")


OPERATIONS = (
    *("add", "sub", "mul", "div", "min", "max", "less", "less_equal", "equal", "where", "trunc"),
    *("abs", "floor", "round", "is_nan", "sqrt", "log", "exp", "sigmoid", "tanh", "erf"),
    *("copy", "take", "lookup", "softmax", "sum", "dense", "conv", "pool"),
)
"""Operations, in the order of their codes."""
IN_BUFFER, IN_POOL, SCALAR = 0, 1, 2
"""Where an operand is stored, two bits each; a scalar is repeated VECTOR_SIZE times in the pool."""
VECTOR_SIZE = 16
"""Kernels read and write whole vectors, so a span is padded to a multiple of this many numbers."""
MAX_FLOATS = 1 << 20
_PROGRAM_MAGIC = b"headway tape 1\n"  # the name of the format on disk
_PROGRAM_KINDS = ("int64", "int32", "float32", "int32")


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
        Source positions of `take` steps, and the sizes of convolutions and pooling.
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
    return pack_arrays(_PROGRAM_MAGIC, _PROGRAM_KINDS, numbers, np.ravel(program.steps), program.pool, program.indices)


def read_program(content: bytes) -> list[Array]:
    """Return the arrays of an artifact without copying them; raise EngineError unless it is a program."""
    return unpack_arrays(content, _PROGRAM_MAGIC, _PROGRAM_KINDS, "program of a network")
