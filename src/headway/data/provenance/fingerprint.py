"""Fingerprint and digest of a table's content, equal for csv, parquet and Arrow and for any order of rows and columns.

Cells are first brought to a canonical form of 64-bit words. A number is its value: 3, 3.0 and true are equal,
-0.0 is
0.0, and a float32 is its shortest decimal, as in csv. NaN is a missing value, as for models. A date is its midnight; a
time with a zone is its instant. Everything else is text.

The fingerprint is fast and locates changes: cells are hashed under a key of the column name and added. Sums
of 64 bits can be forged (Wagner, A Generalized Birthday Problem, CRYPTO 2002), so records are signed over the
digest: the SHA-256 of the canonical form, with rows in the order of their fingerprints and ties in the order
of their content. Incremental multiset hashes would have to be far longer (Clarke et al., ASIACRYPT 2003).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import nanoarrow
import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Bools
from headway.core.errors import DataError

Words = NDArray[np.uint64]
ColumnKind = Literal["number", "time", "instant", "text", "missing"]
CellWords = tuple[list[Words], Bools | None]
"""Arrays of words of some cells (further ones are 0 where the first is enough), and a mask of missing cells, if any."""

ALL = slice(None)
MISSING = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
"""The first word of a missing cell; no number, time or text length has this value."""
_INLINE = 12  # bytes of a string that its Arrow view contains
_EXACT = 2**53  # integers up to this are exact floats
_DAY_US = 86_400_000_000
_SHORT_DECIMAL = 15  # digits that a float64 keeps


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalColumn:
    """An Arrow column, which `cells` converts to canonical form in parts.

    `scale` is the number of microseconds in one of `values`, 0 for nanoseconds. `wide` marks integers beyond
    2^53. `texts` are the strings of a text column; its words hold only a hash of long ones.
    """

    name: str
    kind: ColumnKind
    values: NDArray[Any]
    nulls: Bools | None
    texts: pl.Series | None = None
    scale: int = 1
    wide: bool = False

    def cells(self, part: slice = ALL) -> CellWords:
        """Return the words of a part of the column, and a mask of missing cells."""
        nulls = None if self.nulls is None else self.nulls[part]
        if self.kind == "missing":
            return [np.full(len(self.values[part]), MISSING)], nulls
        read: Callable[[CanonicalColumn, NDArray[Any], Bools | None], CellWords] = _READERS.get(self.kind, _time_words)
        words, missing = read(self, self.values[part], nulls)
        if missing is not None:
            words[0][missing] = MISSING
            for rest in words[1:]:
                rest[missing] = 0
        return words, missing


def canonical_columns(table: pl.DataFrame) -> list[CanonicalColumn]:
    """Return the columns of a table sorted by name; raise DataError for Python objects."""
    return [canonical_column(table[name]) for name in sorted(table.columns)]


def canonical_column(column: pl.Series) -> CanonicalColumn:
    """Classify a column as number, time, instant or text, or as missing if all cells are."""
    name, kind = column.name, column.dtype
    if column.null_count() == len(column):
        return CanonicalColumn(name, "missing", np.zeros(len(column)), np.ones(len(column), np.bool_))
    if kind == pl.Object:
        hint = "columns of numbers, texts, dates or times"
        raise DataError(f"column '{name}' holds Python objects", where=name, hint=hint)
    if isinstance(kind, pl.Date | pl.Datetime):
        zoned = isinstance(kind, pl.Datetime) and kind.time_zone is not None
        unit = kind.time_unit if isinstance(kind, pl.Datetime) else ""
        scale = {"ns": 0, "us": 1, "ms": 1000, "": _DAY_US}[unit or ""]
        values, nulls = _arrow_buffers(column.to_physical(), np.int32 if not unit else np.int64)
        return CanonicalColumn(name, "instant" if zoned else "time", values, nulls, scale=scale)
    numbers = _as_numbers(column)
    if numbers is not None:
        values, nulls = _arrow_buffers(numbers, numbers.to_physical().head(0).to_numpy().dtype)
        return CanonicalColumn(name, "number", values, nulls, wide=_is_wide(values))
    return _text_column(name, _as_texts(column))


def _as_numbers(column: pl.Series) -> pl.Series | None:
    kind = column.dtype
    if kind.is_float() and kind != pl.Float64:
        return column.cast(pl.String).cast(pl.Float64)
    if kind == pl.Boolean:
        return column.cast(pl.Float64)
    if isinstance(kind, pl.Decimal):
        return column.cast(pl.Float64) if (kind.precision or _EXACT) <= _SHORT_DECIMAL else None
    plain = kind == pl.Float64 or (kind.is_integer() and not str(kind).endswith("128"))
    return column if plain else None


def _as_texts(column: pl.Series) -> pl.Series:
    """Format a column as in csv; binary values in hex, nested ones as JSON."""
    if column.dtype == pl.String:
        return column
    if column.dtype == pl.Binary:
        return column.bin.encode("hex")
    if column.dtype.is_nested():
        encoded = column.alias("value").to_frame().select(pl.struct("value").struct.json_encode()).to_series()
        return encoded.set(column.is_null(), None)
    return column.dt.to_string("iso") if column.dtype == pl.Duration else column.cast(pl.String)


def _arrow_buffers(column: pl.Series, dtype: Any) -> tuple[NDArray[Any], Bools | None]:
    """Return the values of a column without a copy, and a mask of nulls; its name stays here."""
    array = nanoarrow.c_array(next(iter(nanoarrow.c_array_stream(column.rechunk().alias("")))))
    begin, end, view = array.offset, array.offset + len(column), array.view()
    width = 2 if column.dtype == pl.String else 1
    values = np.frombuffer(view.buffer(1), dtype=dtype)[width * begin : width * end]
    if not column.null_count():
        return values, None
    bits = np.frombuffer(view.buffer(0), dtype=np.uint8)
    return values, np.unpackbits(bits, count=end, bitorder="little")[begin:] == 0


def _is_wide(values: NDArray[Any]) -> bool:
    wide = values.dtype.kind in "iu" and values.dtype.itemsize == 8
    return wide and (int(values.max()) > _EXACT or int(values.min()) < -_EXACT)


def _number_words(column: CanonicalColumn, values: NDArray[Any], nulls: Bools | None) -> CellWords:
    """Return numbers as floats; integers that are not exact floats get a second word."""
    floats = values.astype(np.float64)
    floats += 0.0  # no zero is -0.0
    missing = nulls
    if values.dtype.kind == "f" and (nans := np.isnan(floats)).any():
        missing = nans if nulls is None else nans | nulls
    if not column.wide:
        return [floats.view(np.uint64)], missing
    inside = floats < float(2 ** (64 if values.dtype.kind == "u" else 63))
    same = (np.where(inside, floats, 0).astype(values.dtype) == values) & inside
    return [floats.view(np.uint64), np.where(same, 0, values).view(np.uint64)], missing


def _time_words(column: CanonicalColumn, values: NDArray[Any], nulls: Bools | None) -> CellWords:
    """Return microseconds since 1970; the remaining nanoseconds are a second word."""
    if column.scale:
        return [(values.astype(np.int64) * column.scale).view(np.uint64)], nulls
    microseconds, rest = np.divmod(values, 1000)
    return [microseconds.view(np.uint64), rest.view(np.uint64)], nulls


def _text_words(_: CanonicalColumn, values: Words, nulls: Bools | None) -> CellWords:
    return [values[:, 0].copy(), values[:, 1].copy()], nulls


def _text_column(name: str, texts: pl.Series) -> CanonicalColumn:
    values, nulls = _arrow_buffers(texts, np.uint64)
    views = values.reshape(-1, 2)
    long = (views[:, 0] & np.uint64(0xFFFF_FFFF)) > _INLINE
    if nulls is not None:
        long &= ~nulls
    return CanonicalColumn(
        name, "text", _hash_long_texts(texts, views, long) if long.any() else views, nulls, texts=texts
    )


def _hash_long_texts(texts: pl.Series, views: Words, long: Bools) -> Words:
    """Replace the pointers of long strings by length and 96 bits of BLAKE2b."""
    those = texts.filter(pl.Series(long))
    unique = those.unique()
    hashes = [hashlib.blake2b(text.encode(), digest_size=12).digest() for text in unique]
    parts = np.frombuffer(b"".join(hashes), dtype="<u4").reshape(-1, 3).astype(np.uint64)
    indices = those.replace_strict(unique, pl.Series(range(len(unique)), dtype=pl.Int64)).to_numpy()
    found, half = views.copy(), np.uint64(32)
    found[long, 0] = (views[long, 0] & np.uint64(0xFFFF_FFFF)) | (parts[:, 0] << half)[indices]
    found[long, 1] = (parts[:, 1] | (parts[:, 2] << half))[indices]
    return found


_READERS = {"number": _number_words, "text": _text_words}


FINGERPRINT_VERSION = 1
"""Version of the form: fingerprints of two versions are not compared."""
_SEED = b"headway fingerprint 1"
_BLOCK = 1 << 15  # rows whose hashes stay in the cache of a core
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # those of SplitMix64
_LANE = np.uint64(0x9E3779B97F4A7C15)
_HALF, _LESS = np.uint64(32), np.uint64(29)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fingerprint:
    """A hash sum per column, 16 hex digits, and a hash per row, uint64 of shape (n,)."""

    columns: dict[str, str]
    rows: Words

    @property
    def total(self) -> str:
        """Sum over all rows: equal for tables with the same rows in any order."""
        return _hex(self.rows.sum(dtype=np.uint64))


def fingerprint_table(table: pl.DataFrame) -> Fingerprint:
    """Compute the fingerprint of a table, equal for equal content in any order, type and file format.

    >>> one, other = pl.DataFrame({"a": [1, 2], "b": ["x", None]}), pl.DataFrame({"b": [None, "x"], "a": [2.0, 1.0]})
    >>> fingerprint_table(one).columns == fingerprint_table(other).columns
    True
    >>> fingerprint_table(one).total == fingerprint_table(other).total
    True
    """
    return fingerprint_columns(canonical_columns(table), len(table))


def fingerprint_columns(columns: Sequence[CanonicalColumn], n_rows: int) -> Fingerprint:
    """Compute the fingerprint of canonical columns."""
    rows = np.zeros(n_rows, np.uint64)
    sums = {column.name: _add_column(column, rows) for column in columns}
    for start in range(0, n_rows, _BLOCK):
        block = rows[start : start + _BLOCK]
        _mix(block, np.empty_like(block))
    return Fingerprint(columns=sums, rows=rows)


def _add_column(column: CanonicalColumn, rows: Words) -> str:
    """Add the cell hashes of a column to its rows and return their sum; missing cells add nothing."""
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
    """Mix the bits of each word in place, as SplitMix64."""
    for shift, factor in ((_HALF, _FIRST), (_LESS, _SECOND)):
        np.right_shift(words, shift, out=scratch)
        np.bitwise_xor(words, scratch, out=words)
        np.multiply(words, factor, out=words)
    np.right_shift(words, _HALF, out=scratch)
    np.bitwise_xor(words, scratch, out=words)


def _hex(word: np.uint64) -> str:
    return f"{int(word):016x}"


DIGEST_VERSION = 1
Order = NDArray[np.intp]


def table_digest(table: pl.DataFrame) -> str:
    """Compute the SHA-256 digest of a table's content: names, cells, and how often each row occurs.

    >>> table_digest(pl.DataFrame({"a": [1, 2]})) == table_digest(pl.DataFrame({"a": [2.0, 1.0]}))
    True
    """
    return columns_digest(canonical_columns(table), len(table))


def columns_digest(columns: Sequence[CanonicalColumn], n_rows: int) -> str:
    """Compute the digest of canonical columns."""
    order = canonical_order(columns, fingerprint_columns(columns, n_rows).rows)
    content = hashlib.sha256(digest_head(n_rows, len(columns)))
    for column in columns:
        for part in _column_bytes(column, order):
            content.update(part)
    return f"sha256:{content.hexdigest()}"


def digest_head(n_rows: int, n_columns: int) -> bytes:
    """Return what the digest of a table begins with."""
    return json.dumps(["headway digest", DIGEST_VERSION, n_rows, n_columns]).encode()


def column_head(name: str, kind: str, n_words: int) -> bytes:
    """Return what the digest of a column begins with; of a column without a value, `kind` is `missing`."""
    return json.dumps([name, kind, n_words]).encode()


def canonical_order(columns: Sequence[CanonicalColumn], rows: Words) -> Order:
    """Order rows by fingerprint, ties by content."""
    order = np.argsort(rows, kind="stable")
    same = rows[order][1:] == rows[order][:-1]
    if not same.any():
        return order
    tied = np.append(same, False) | np.append(False, same)
    among = order[tied]
    keys = [pl.Series(rows[among]), *(series for column in columns for series in _sort_keys(column, among))]
    frame = pl.DataFrame([series.alias(str(index)) for index, series in enumerate(keys)])
    order[tied] = among[frame.with_row_index("at").sort(frame.columns)["at"].to_numpy()]
    return order


def _sort_keys(column: CanonicalColumn, among: Order) -> list[pl.Series]:
    """Return the sort keys of some rows in a column."""
    texts = [] if column.texts is None else [column.texts.gather(among)]
    return [*(pl.Series(words[among]) for words in column.cells()[0]), *texts]


def _column_bytes(column: CanonicalColumn, order: Order) -> Iterator[bytes | memoryview]:
    """Yield the header of a column, then its cells in order; of text, all lengths and then all strings."""
    words, texts = cells_in_order(column, order)
    kind = "missing" if (words[0] == MISSING).all() else column.kind
    words = [word for index, word in enumerate(words) if index == 0 or word.any()]
    yield column_head(column.name, kind, len(words))
    yield from (word.data for word in words)
    yield texts


def cells_in_order(column: CanonicalColumn, order: Order) -> tuple[list[Words], bytes]:
    """Return the words of a column in an order, little endian, and no strings; of text, all lengths and all strings."""
    if column.texts is None:
        return [np.ascontiguousarray(word[order], dtype="<u8") for word in column.cells()[0]], b""
    texts = column.texts.gather(order)
    lengths = texts.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy()
    strings = "".join(texts.drop_nulls().str.join("").to_list()).encode()
    return [np.ascontiguousarray(lengths, dtype="<i8").view("<u8")], strings


def missing_cells(column: CanonicalColumn) -> int:
    """Return how many cells of a column are missing."""
    nulls = np.zeros(len(column.values), np.bool_) if column.nulls is None else column.nulls
    if column.kind == "number" and column.values.dtype.kind == "f":
        return int((nulls | np.isnan(column.values)).sum())
    return int(nulls.sum())
