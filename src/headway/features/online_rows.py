"""Rows of an online store: keys of entities, packed values, what a batch of them must be, and how far its writer is.

Values are packed as little-endian float64. Event times are microseconds since 1970.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.contracts import OnlineStore
from headway.core.errors import DataError, StoreError
from headway.core.record import Record

NEVER_US = -1
"""Event time of a key without a row."""
DEFERRED_US = -2
"""Event time of a row that was not looked up, since the first model of a cascade decided it."""
MAX_BATCH = 10_000
"""Largest number of rows of one write, which is stored whole or not at all."""
MAX_KEY_BYTES = 4_096
STATES = 0
"""Number of columns of a table of states."""
MAX_WIDTH = 4_096
"""Largest number of features of a table."""
MAX_STRINGS = 1_000_000
"""Largest number of different strings of a feature."""
MaterializeMode = Literal["full", "incremental", "backfill"]
_TABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class MaterializeProgress(Record, frozen=True, kw_only=True):
    """How far the rows of a view are in its online table.

    Attributes
    ----------
    digest : str
        Digest of the definition of the view.
    watermark_us : int, optional
        All rows that a request could see before are in the table; None before the first full run has ended.
    run : str
        Digest of the rows of a run that has not ended; empty for none.
    done : int
        Number of entities of that run which are stored.
    """

    digest: str
    watermark_us: int | None = None
    run: str = ""
    done: int = 0


class MaterializedView(Record, frozen=True, kw_only=True):
    """What a run wrote.

    `rows` were read, `entities` have a row among them, of which `stored` were newer than the stored ones, or had events
    that no state had; `resumed` is the number that an interrupted run had stored before, and `windows` that of entities
    with events for windows. Times are ISO 8601, empty for none.
    """

    view: str
    table: str
    mode: MaterializeMode
    rows: int
    entities: int
    stored: int
    resumed: int = 0
    windows: int = 0
    watermark: str = ""


def entity_key(values: Sequence[str | int]) -> str:
    """Return the key of an entity: of one value the value itself, of several `LENGTH:VALUE` of each.

    Different entities have different keys, since a table has one number of entities.

    >>> entity_key(["JFK"]), entity_key(["N14228", 17])
    ('JFK', '6:N142282:17')
    """
    if len(values) == 1:
        return str(values[0])
    return "".join(f"{len(text)}:{text}" for text in map(str, values))


def entity_values(key: str) -> tuple[str, ...]:
    """Return the values of a key of several entities; of any other string the string itself.

    >>> entity_values("6:N142282:17"), entity_values("JFK")
    (('N14228', '17'), ('JFK',))
    """
    values, start = [], 0
    while start < len(key):
        length, separator, _ = key[start : start + 20].partition(":")
        if not separator or not length.isdecimal() or not length.isascii():
            return (key,)
        begin = start + len(length) + 1
        start = begin + int(length)
        if start > len(key):
            return (key,)
        values.append(key[begin:start])
    return tuple(values) if len(values) > 1 else (key,)


def require_table_name(table: str) -> None:
    """Raise DataError for a name that cannot be a table: it is part of a path."""
    if not _TABLE.fullmatch(table):
        raise DataError(f"invalid table name {table!r}", hint="letters, digits, _ . and -, at most 128")


def packed_rows(table: str, keys: Sequence[str], values: Floats, event_us: Ints) -> list[tuple[str, int, bytes]]:
    """Return key, event time and packed values of a batch; of several rows of a key the newest, the last of equal ones.

    Raises
    ------
    DataError
        If the lengths differ, the batch is too long, or a key cannot be stored.
    """
    require_table_name(table)
    if values.ndim != 2 or not len(keys) == len(values) == len(event_us):
        raise DataError(f"{len(keys)} keys, {len(values)} rows and {len(event_us)} times differ in number", where=table)
    if len(keys) > MAX_BATCH:
        raise DataError(f"a batch has at most {MAX_BATCH:,} rows, not {len(keys):,}", where=table, hint="write several")
    if not 0 < values.shape[1] <= MAX_WIDTH:
        raise DataError(f"a table has 1 to {MAX_WIDTH:,} features, not {values.shape[1]:,}", where=table)
    content, size = np.ascontiguousarray(values, dtype="<f8").tobytes(), values.shape[1] * 8
    newest: dict[str, tuple[str, int, bytes]] = {}
    for index, (key, at_us) in enumerate(zip(keys, event_us.tolist(), strict=True)):
        known = newest.get(key)
        if known is None or at_us >= known[1]:
            newest[key] = (key, at_us, content[index * size : (index + 1) * size])
    for key in newest:
        require_key(table, key)
    return list(newest.values())


def unpacked_rows(rows: Sequence[bytes | None], width: int) -> tuple[Floats, Ints]:
    """Return the values [n, width] and event times [n] of rows, each an int64 time and its values; None: unknown."""
    if width == STATES:
        return np.empty((len(rows), 0)), np.array([NEVER_US if row is None else 0 for row in rows], dtype=np.int64)
    absent = _absent_row(width)
    content = b"".join([absent if row is None else row for row in rows])
    table = np.frombuffer(content, dtype="<f8").reshape(len(rows), width + 1)
    return table[:, 1:].astype(np.float64), table.view("<i8")[:, 0].astype(np.int64)


@lru_cache(maxsize=256)
def _absent_row(width: int) -> bytes:
    values = np.full(width, np.nan)
    return np.append(np.array([NEVER_US], dtype="<i8").view("<f8"), values).astype("<f8").tobytes()


def read_progress(store: OnlineStore, table: str, *, staged: bool = False) -> MaterializeProgress:
    """Return how far the writer of a table, or of its staged one, is."""
    content = store.progress(table, staged=staged)
    try:
        return msgspec.json.decode(content, type=MaterializeProgress) if content else MaterializeProgress(digest="")
    except msgspec.MsgspecError as error:
        hint = "headway features materialize --full"
        raise StoreError(f"the progress cannot be read: {error}", where=f"online table {table}", hint=hint) from error


def require_key(table: str, key: str) -> None:
    """Raise DataError for a key, or a string of a vocabulary, that cannot be stored."""
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise DataError(f"the key {key!r} is not valid Unicode", where=table) from error
    if size > MAX_KEY_BYTES:
        raise DataError(f"a key has at most {MAX_KEY_BYTES:,} bytes, not {size:,}", where=table)
