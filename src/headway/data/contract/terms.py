"""TableContract: what was agreed that a table holds, column by column; people read and edit it as `contract.toml`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from headway.core.record import Record

ColumnType = Literal["number", "whole", "text", "boolean", "date", "time"]
Bound = int | float | str
"""The end of a range; of dates and times as text in ISO 8601."""


class ColumnContract(Record, frozen=True, kw_only=True):
    """What one column may be.

    `missing` is the largest share of rows without a value: at 0 each row needs one, at 1 none does. A column that is
    `optional` may be absent from a table. `lowest`, `highest`, `shortest` and `longest` are inside; `pattern` is a
    regular expression that a whole text fits, lengths are those of texts, in characters.
    """

    type: ColumnType
    optional: bool = False
    missing: Annotated[float, Meta(ge=0, le=1)] = 0.0
    lowest: Bound | None = None
    highest: Bound | None = None
    values: tuple[bool | Bound, ...] = ()
    pattern: str = ""
    shortest: Annotated[int, Meta(ge=0)] | None = None
    longest: Annotated[int, Meta(ge=0)] | None = None


class TableContract(Record, frozen=True, kw_only=True):
    """What a table holds: its columns, the keys that no two rows share, and how columns go together.

    A relation is `a <= b`, `a < b`, `a == b`, `a + b == c` or `a, b -> c` (rows equal in a and b are equal in c). Rows
    that lack one of its values, or a part of a key, are not judged by it.
    """

    columns: dict[str, ColumnContract] = {}
    unique: tuple[tuple[str, ...], ...] = ()
    relations: tuple[str, ...] = ()
