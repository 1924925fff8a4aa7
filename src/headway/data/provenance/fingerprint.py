"""A fast fingerprint of a table by column and by row, to see what changed; it is no proof against a forger.

Each cell is hashed under a key of its column's name, and the hashes are added: so no order of rows or columns matters.
Sums of 64 bits can be forged (Wagner, A Generalized Birthday Problem, CRYPTO 2002): what is signed is `digest.py`'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from headway.data.provenance.canonical import CanonicalColumn, Words, canonical_columns

VERSION = 1
"""Counts the changes of the form: fingerprints of two versions are not compared."""
_SEED = b"headway fingerprint 1"
_BLOCK = 1 << 15  # rows whose hashes stay in the cache of a core
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # those of SplitMix64
_LANE = np.uint64(0x9E3779B97F4A7C15)
_HALF, _LESS = np.uint64(32), np.uint64(29)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """Of each column a sum over its cells, 16 hex digits; of each row one number, uint64 [n], which ties its cells."""

    columns: dict[str, str]
    rows: Words

    @property
    def whole(self) -> str:
        """The sum over all rows: equal where two tables hold the same rows, in whatever order."""
        return _hex(self.rows.sum(dtype=np.uint64))


def fingerprint_table(table: pl.DataFrame) -> Fingerprint:
    """The fingerprint of a table; equal for equal content in any order, type and file format.

    >>> one, other = pl.DataFrame({"a": [1, 2], "b": ["x", None]}), pl.DataFrame({"b": [None, "x"], "a": [2.0, 1.0]})
    >>> fingerprint(one).columns == fingerprint(other).columns, fingerprint(one).whole == fingerprint(other).whole
    (True, True)
    """
    return fingerprint_columns(canonical_columns(table), len(table))


def fingerprint_columns(columns: Sequence[CanonicalColumn], n_rows: int) -> Fingerprint:
    """The fingerprint of columns in their one form."""
    rows = np.zeros(n_rows, np.uint64)
    sums = {column.name: _add_column(column, rows) for column in columns}
    for start in range(0, n_rows, _BLOCK):
        block = rows[start : start + _BLOCK]
        _mix(block, np.empty_like(block))
    return Fingerprint(columns=sums, rows=rows)


def _add_column(column: CanonicalColumn, rows: Words) -> str:
    """Add the hashes of a column's cells to their rows, and give their sum; a missing cell adds nothing."""
    total = np.uint64(0)
    if column.kind == "missing":
        return _hex(total)
    named = f"{column.kind} {column.name}".encode()
    key = np.uint64(int.from_bytes(hashlib.blake2b(named, digest_size=8, key=_SEED).digest(), "big"))
    spare = np.empty(_BLOCK, np.uint64)
    with np.errstate(over="ignore"):
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            (cells, *others), missing = column.cells(part)
            scratch = spare[: len(cells)]
            cells += key
            for words in others:
                np.multiply(words, _LANE, out=scratch)
                cells += scratch
            _mix(cells, scratch)
            if missing is not None:
                cells[missing] = 0
            rows[part] += cells
            total += cells.sum(dtype=np.uint64)
    return _hex(total)


def _mix(words: Words, scratch: Words) -> None:
    """Let each bit of a word move all its bits, in place."""
    for shift, factor in ((_HALF, _FIRST), (_LESS, _SECOND)):
        np.right_shift(words, shift, out=scratch)
        np.bitwise_xor(words, scratch, out=words)
        np.multiply(words, factor, out=words)
    np.right_shift(words, _HALF, out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def _hex(word: np.uint64) -> str:
    return f"{int(word):016x}"
