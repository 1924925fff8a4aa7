"""Rows that break a rule together: equal in a key, or equal in it and not in what it tells; spilled to disk.

Of each row of a table larger than memory two hashes of its key, 128 bits, and one of what it tells go to files by their
first bits: rows of one key are in one file, and no more than a file is in memory. Two keys of equal hashes, which would
be told as one, are not to be expected once in 10^20 tables of ten million rows.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.data.contract.rules import KeyConstraint

ROWS_PER_FILE = 1_000_000
_BATCH_ROWS = 100_000
_ROW = np.dtype([("key", "<u8"), ("key_too", "<u8"), ("determines", "<u8"), ("row", "<u8")])


def violates_key(constraint: KeyConstraint) -> pl.Expr:
    """Where rows in memory break the rule; those that lack a part of it do not."""
    whole = _is_complete(constraint)
    key = [part.alias(str(place)) for place, part in enumerate(constraint.key)]
    if constraint.determines is None:
        return whole & (pl.len().over(whole, *key) > 1)
    return whole & (constraint.determines.min() != constraint.determines.max()).over(whole, *key)


def rows_violating_key(frame: pl.LazyFrame, constraint: KeyConstraint, *, n_rows: int) -> NDArray[np.bool_]:
    """Which rows break the rule, bool [n], in a table of any size; temporary files hold 32 bytes a row."""
    count = max(1, -(-n_rows // ROWS_PER_FILE))
    found = np.zeros(n_rows, dtype=np.bool_)
    with tempfile.TemporaryDirectory(prefix="headway-keys-") as place:
        files = [Path(place) / str(number) for number in range(count)]
        _spill(_hashed(frame, constraint), files)
        for file in files:
            found[_violations_in_file(file, determines=constraint.determines is not None)] = True
    return found


def _is_complete(constraint: KeyConstraint) -> pl.Expr:
    parts = constraint.key if constraint.determines is None else (*constraint.key, constraint.determines)
    return pl.all_horizontal(part.is_not_null() for part in parts)


def _hashed(frame: pl.LazyFrame, constraint: KeyConstraint) -> pl.LazyFrame:
    key = pl.struct([part.alias(str(place)) for place, part in enumerate(constraint.key)])
    determines = pl.lit(0, dtype=pl.UInt64) if constraint.determines is None else constraint.determines.hash(seed=3)
    names = {"key": key.hash(seed=1), "key_too": key.hash(seed=2), "determines": determines}
    row = pl.int_range(pl.len(), dtype=pl.UInt64)
    return frame.select(**names, row=row, whole=_is_complete(constraint))


def _spill(frame: pl.LazyFrame, files: list[Path]) -> None:
    with ExitStack() as stack:
        opened = [stack.enter_context(file.open("wb")) for file in files]
        for batch in frame.collect_batches(chunk_size=_BATCH_ROWS, maintain_order=True, engine="streaming"):
            rows = np.empty(len(batch), dtype=_ROW)
            for name in _ROW.names or ():
                rows[name] = batch[name].to_numpy()
            rows = rows[batch["whole"].to_numpy()]
            place = rows["key"] % len(files)
            for number, file in enumerate(opened):
                rows[place == number].tofile(file)


def _violations_in_file(file: Path, *, determines: bool) -> NDArray[np.uint64]:
    rows = np.fromfile(file, dtype=_ROW)
    rows = rows[np.lexsort((rows["key_too"], rows["key"]))]
    new = np.ones(len(rows), dtype=np.bool_)
    new[1:] = (rows["key"][1:] != rows["key"][:-1]) | (rows["key_too"][1:] != rows["key_too"][:-1])
    starts = np.flatnonzero(new)
    if not len(starts):
        return np.empty(0, dtype=np.uint64)
    if determines:
        lowest, highest = (each.reduceat(rows["determines"], starts) for each in (np.minimum, np.maximum))
        wrong = lowest != highest
    else:
        wrong = np.diff(starts, append=len(rows)) > 1
    found: NDArray[np.uint64] = rows["row"][np.repeat(wrong, np.diff(starts, append=len(rows)))]
    return found
