"""The cryptographic digest of a table's content: SHA-256 of its one form, whatever the order of rows and columns.

Rows are put in the order of their fingerprints, ties by their content, and the whole is hashed once. So two tables of
one digest hold the same rows as surely as SHA-256 has no collision; nothing is asked of a sum of hashes, which would
have to be far longer to be as safe (Clarke et al., Incremental Multiset Hash Functions, ASIACRYPT 2003).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.data.provenance.canonical import CanonicalColumn, Words, canonical_columns
from headway.data.provenance.fingerprint import fingerprint_columns

VERSION = 1
Order = NDArray[np.intp]


def table_digest(table: pl.DataFrame) -> str:
    """`sha256:` and the digest of a table's content: names, cells and how often each row is there.

    >>> digest(pl.DataFrame({"a": [1, 2]})) == digest(pl.DataFrame({"a": [2.0, 1.0]}))
    True
    """
    return columns_digest(canonical_columns(table), len(table))


def columns_digest(columns: Sequence[CanonicalColumn], n_rows: int) -> str:
    """The digest of columns in their one form."""
    order = canonical_order(columns, fingerprint_columns(columns, n_rows).rows)
    content = hashlib.sha256(json.dumps(["headway digest", VERSION, n_rows, len(columns)]).encode())
    for column in columns:
        for part in _column_bytes(column, order):
            content.update(part)
    return f"sha256:{content.hexdigest()}"


def canonical_order(columns: Sequence[CanonicalColumn], rows: Words) -> Order:
    """The rows in the order of their fingerprints; those that share one in the order of what they hold."""
    order = np.argsort(rows, kind="stable")
    same = rows[order][1:] == rows[order][:-1]
    if not same.any():
        return order
    tied = np.append(same, False) | np.append(False, same)
    among = order[tied]
    held = [pl.Series(rows[among]), *(series for column in columns for series in _sort_keys(column, among))]
    frame = pl.DataFrame([series.alias(str(place)) for place, series in enumerate(held)])
    order[tied] = among[frame.with_row_index("at").sort(frame.columns)["at"].to_numpy()]
    return order


def _sort_keys(column: CanonicalColumn, among: Order) -> list[pl.Series]:
    """What some rows hold in a column, so that it can be sorted by."""
    texts = [] if column.texts is None else [column.texts.gather(among)]
    return [*(pl.Series(words[among]) for words in column.cells()[0]), *texts]


def _column_bytes(column: CanonicalColumn, order: Order) -> Iterator[bytes | memoryview]:
    """What a column is, then the bytes of its cells in an order: of texts their lengths, then all texts in a row."""
    words, missing = column.cells()
    kind = "missing" if missing is not None and missing.all() else column.kind
    if kind == "missing" or column.texts is None:
        words = [each for place, each in enumerate(words) if place == 0 or each.any()]
        yield json.dumps([column.name, kind, len(words)]).encode()
        yield from (np.ascontiguousarray(each[order], dtype="<u8").data for each in words)
        return
    yield json.dumps([column.name, kind, 1]).encode()
    texts = column.texts.gather(order)
    yield np.ascontiguousarray(texts.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy(), dtype="<i8").data
    yield "".join(texts.drop_nulls().str.join("").to_list()).encode()
