"""What a person decided on rows in quarantine."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.record import StoredRecord

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
