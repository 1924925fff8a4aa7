"""Rows in quarantine, and what a person decided on them."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.record import Record, StoredRecord

Decision = Literal["released", "discarded"]


class RowDecision(StoredRecord, frozen=True, kw_only=True):
    """Rows in quarantine that a person released or discarded.

    `rows` are digests of their content, by which they are known wherever they come again, `numbers` their numbers in
    the source then, and `file` is the file in quarantine.
    """

    version: ClassVar[int] = 1

    name: str
    decision: Decision
    file: str
    rows: tuple[str, ...]
    numbers: tuple[int, ...]
    who: str
    why: str
    at: str


class QuarantineFile(Record, frozen=True, kw_only=True):
    """A file of rows that failed the contract: its name, the source that was checked, when (ISO 8601), and its rows."""

    file: str
    source: str
    at: str
    n_rows: int


class QuarantinedRow(Record, frozen=True, kw_only=True):
    """A row in quarantine: its number in the source then, why it failed, and its values as text, None where missing."""

    row: int
    reason: str
    values: dict[str, str | None]
