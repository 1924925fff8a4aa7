"""A text pipeline as a program: vectorizers, the weights of their features, and the steps from their sums to scores.

A vectorizer reads one column of texts. Each of its features adds its value times a row of weights to sums, which begin
at `bias`. Steps then compute the scores in one buffer of float64 per text; they are stored as the steps of dense
networks are. `engines/text_kernel/program.h` documents all fields, and checks them when a program is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.errors import EngineError
from headway.engines.compiled.artifact import pack_arrays, unpack_arrays

Array = NDArray[Any]

ANALYZERS = ("word", "char", "char_wb")
ACCENTS = (None, "ascii", "unicode")
VALUE_OPS = ("present", "sublinear", "scale", "l1", "l2", "max", "above")
OPERATIONS = (
    *("add", "sub", "mul", "div", "min", "max", "pow", "mod", "equal", "greater", "greater_equal", "where"),
    *("neg", "abs", "sqrt", "log", "exp", "sigmoid", "tanh", "relu", "trunc", "is_nan", "copy"),
    *("sum", "softmax", "dense", "take", "lookup"),
)
"""Operations, in the order of their codes."""
IN_POOL, REPEATED = 1, 2
"""Flags of an operand, two bits each."""
MAX_NGRAM = 256
_LINE = 8
"""Rows of weights begin at multiples of this many numbers, unless they are shorter."""
_MAGIC = b"headway text 1\n"
_NUMBERS = 7
_KINDS = ("int64", "int64", "int64", "uint8", "int64", "int32", "float64", "float64", "int32", "int32", "int64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Analyzer:
    """How a column of texts becomes n-grams, and n-grams become numbered features.

    Attributes
    ----------
    column : int
        Position among the columns of texts.
    token : str
        Characters of a token: `word` (`\\w` of Python's `re`) or `visible` (no white space).
    min_length : int
        Characters of the shortest token.
    vocabulary : tuple of str
        The features in order; empty if they are hashed.
    hashed : int
        Number of hashed features (MurmurHash3, as in HashingVectorizer), 0 for a vocabulary.
    """

    column: int
    kind: str = "word"
    ngram_range: tuple[int, int] = (1, 1)
    lowercase: bool = True
    strip_accents: str | None = None
    token: str = "word"
    min_length: int = 2
    stop_words: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    hashed: int = 0
    alternate_sign: bool = True

    @property
    def features(self) -> int:
        """Number of features."""
        return self.hashed or len(self.vocabulary)


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueOp:
    """One of VALUE_OPS, with a factor for each feature (`scale`) or one threshold (`above`)."""

    name: str
    values: Floats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextVectorizer:
    """An analyzer, the operations on its counts, and the rows that its features add to sums from `out` on.

    Attributes
    ----------
    operations : tuple of ValueOp
        In order; they change the counts of the features that a text has.
    weights : ndarray of float64, shape (r, k), or None
        None if row i is the sum i itself, as trees read features.
    row_of : ndarray of int32, shape (features,), or None
        The row of each feature, -1 for none; None if each feature has its own.
    """

    analyzer: Analyzer
    operations: tuple[ValueOp, ...]
    weights: Floats | None
    row_of: Array | None = None
    out: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TextProgram:
    """Vectorizers, sums and steps.

    Attributes
    ----------
    texts : tuple of int
        Columns of a row that have the numbers of texts.
    width : int
        Numbers of a row, at the start of the buffer; the sums follow them.
    sums : int
        Number of sums; they begin at the first numbers of the pool.
    steps : ndarray of int32, shape (s, 8)
    pool : ndarray of float64
        Where the sums begin, then constants of the steps.
    indices : ndarray of int32
        Source positions of `take` steps.
    """

    texts: tuple[int, ...]
    width: int
    outputs: int
    output_offset: int
    size: int
    sums: int
    vectorizers: tuple[TextVectorizer, ...]
    steps: Array
    pool: Floats
    indices: Array


def write_text_program(program: TextProgram) -> bytes:
    """Return the bytes of a program."""
    writer = _TableWriter(program.pool)
    for vectorizer in program.vectorizers:
        writer.add(vectorizer)
    header = [len(program.texts), program.width, program.outputs, program.output_offset, program.size, program.width]
    return pack_arrays(
        _MAGIC,
        _KINDS,
        np.array([*header, program.sums]),
        np.ravel(np.array(writer.vectorizers, np.int64)),
        np.ravel(np.array(writer.value_ops, np.int64)),
        np.frombuffer(b"".join(writer.strings), np.uint8),
        np.cumsum([0, *map(len, writer.strings)]),
        writer.rows.joined,
        writer.weights.joined,
        writer.pool.joined,
        np.ravel(program.steps),
        program.indices,
        np.array(program.texts, np.int64),
    )


class _Arrays:
    """Arrays that are stored as one."""

    def __init__(self, *arrays: Array) -> None:
        self._arrays, self.size = list(arrays), sum(map(len, arrays))

    def add(self, array: Array) -> int:
        """Append an array and return its offset."""
        at = self.size
        self._arrays.append(array)
        self.size += len(array)
        return at

    @property
    def joined(self) -> Array:
        return np.concatenate(self._arrays) if self._arrays else np.empty(0)


class _TableWriter:
    """The tables of an artifact, as vectorizers are added to them."""

    def __init__(self, pool: Floats) -> None:
        self.strings: list[bytes] = []
        self.value_ops: list[tuple[int, int]] = []
        self.vectorizers: list[list[int]] = []
        self.pool, self.rows, self.weights = _Arrays(pool), _Arrays(), _Arrays()

    def add(self, vectorizer: TextVectorizer) -> None:
        analyzer, first = vectorizer.analyzer, len(self.value_ops)
        table = np.empty((0, 0)) if vectorizer.weights is None else _padded(vectorizer.weights)
        for operation in vectorizer.operations:
            at = 0 if operation.values is None else self.pool.add(operation.values)
            self.value_ops.append((VALUE_OPS.index(operation.name), at))
        self.vectorizers.append(
            [
                *(analyzer.column, ANALYZERS.index(analyzer.kind), *analyzer.ngram_range, int(analyzer.lowercase)),
                *(ACCENTS.index(analyzer.strip_accents), int(analyzer.token == "visible"), analyzer.min_length),
                *(analyzer.hashed, int(analyzer.alternate_sign)),
                *(self._add_strings(analyzer.vocabulary), len(analyzer.vocabulary)),
                *(self._add_strings(analyzer.stop_words), len(analyzer.stop_words)),
                *(first, len(self.value_ops) - first),
                *(self.weights.add(table.ravel()), table.shape[1], vectorizer.out, vectorizer.width),
                *(-1 if vectorizer.row_of is None else self.rows.add(vectorizer.row_of), analyzer.features),
            ]
        )

    def _add_strings(self, strings: Sequence[str]) -> int:
        at = len(self.strings)
        self.strings += [string.encode() for string in strings]
        return at


def _padded(weights: Floats) -> Floats:
    """Return the rows of weights, padded to whole cache lines if they are long."""
    width = weights.shape[1]
    table = np.zeros((len(weights), width if width < _LINE else -(-width // _LINE) * _LINE))
    table[:, :width] = weights
    return table


def read_text_program(content: bytes) -> tuple[tuple[int, ...], list[Array]]:
    """Return the columns of a row that are texts, and the arrays of the kernel without copying them.

    Raises EngineError unless the bytes are a program.
    """
    *arrays, texts = unpack_arrays(content, _MAGIC, _KINDS, "text program")
    numbers, columns = arrays[0].tolist(), tuple(texts.tolist())
    if len(numbers) != _NUMBERS or len(columns) != numbers[0] or any(not 0 <= at < numbers[1] for at in columns):
        raise EngineError("the text program reads columns that do not exist", hint="headway optimize")
    return columns, arrays


def step(
    operation: str, *, out: int, n: int, operands: Sequence[tuple[int, int]] = (), m: int = 0, k: int = 0
) -> tuple[int, ...]:
    """Return the eight numbers of a step; operands are offsets with flags."""
    offsets = [at for at, _ in operands] + [0] * (3 - len(operands))
    flags = sum(flag << 2 * number for number, (_, flag) in enumerate(operands))
    return (OPERATIONS.index(operation), out, n, *offsets, flags or m, k)


@runtime_checkable
class TextEngine(Protocol):
    """Optional method of an engine of text pipelines, which lets a transform compile them."""

    @classmethod
    def text_program(cls, content: bytes) -> bytes:
        """Return the artifact for engine `text`; raise NotApplicable, which names the part that it cannot express."""
        ...
