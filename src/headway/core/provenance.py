"""Provenance: which data a period was, by its content, and who made it from what; and how two versions differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.record import FormerValues, Record, StoredRecord


class ColumnPrint(Record, frozen=True, kw_only=True):
    """A column by its content: its kind, the sum of its cells in hex, and what tells whether its values moved.

    `knots` are the values of a number or a time at equal shares of the rows, of a sample of them; `shares` those of the
    rows whose text falls into each of some buckets, so that no text is kept.
    """

    kind: str
    cells: str
    missing: int
    knots: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    sampled: int = 0


class Ingredient(Record, frozen=True, kw_only=True):
    """What something was made from: a file, folder or URL, and its digest (`md5:...`) where one was recorded."""

    name: str
    digest: str = ""


class Tracked(Record, frozen=True, kw_only=True):
    """A file or folder of data as DVC recorded it, in which file (`record`), and by which command it was made of what.

    `digest` is `md5:...`, of a folder that of the list of its files (`.dir`); empty where DVC has recorded none.
    `unlike` says how what is on disk differs from it, `gone` that it is not there; `unread` why nothing is known.
    """

    path: str
    record: str
    digest: str = ""
    size_bytes: int = 0
    n_files: int = 0
    stage: str = ""
    command: str = ""
    made_from: tuple[Ingredient, ...] = ()
    unlike: str = ""
    gone: bool = False
    unread: str = ""

    def __str__(self) -> str:
        """In a line: `flights.csv is md5:6887... by flights.csv.dvc`."""
        if self.unread:
            return f"{self.record} was not read: {self.unread}"
        stage = f", made by its stage {self.stage}" if self.stage else ""
        differs = f"; on disk {self.unlike}" if self.unlike else ""
        return f"{self.path} is {self.digest or 'not recorded yet'} by {self.record}{stage}{differs}"


class Provenance(StoredRecord, frozen=True, kw_only=True):
    """Which data the rows of a period were: their digest, a fingerprint by column, and where they came from.

    `rows` is the blob of the fingerprints of rows (uint64, little endian); `form` counts how fingerprints were taken.
    `facts` says source, query, what became of personal data, who made it from what, and by which code; `tracked` what
    DVC says of its files.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"period": {"choose": "validation"}}

    period: str
    digest: str
    n_rows: int
    columns: dict[str, ColumnPrint]
    rows: str
    form: int
    facts: dict[str, str] = {}
    tracked: tuple[Tracked, ...] = ()
    at: str = ""


class LineageDelivery(StoredRecord, frozen=True, kw_only=True):
    """Events of lineage that a receiver took, by their digests, and how many were `left`; `failed` says why."""

    former_kinds: ClassVar[tuple[str, ...]] = ("sent",)

    to: str
    events: tuple[str, ...] = ()
    left: int = 0
    failed: str = ""
    at: str = ""


class ColumnChange(Record, frozen=True, kw_only=True):
    """A column that is not as it was.

    `moved` is the largest distance of the shares of rows below a value, or of texts in a bucket, in [0, 1], and
    `chance` what one draw of as many rows and another differ by in one of a hundred; None where nothing compares.
    """

    name: str
    change: Literal["added", "removed", "changed"]
    missing: tuple[int, int] = (0, 0)
    moved: float | None = None
    chance: float | None = None


class Difference(Record, frozen=True, kw_only=True):
    """What became of one version of data: columns that changed, rows that came and went (a row that changed did both).

    Rows are compared in the columns that both have; they are None where only fingerprints of other columns are left.
    """

    before: str
    after: str
    rows: tuple[int, int]
    same: bool
    columns: tuple[ColumnChange, ...] = ()
    rows_added: int | None = None
    rows_removed: int | None = None
