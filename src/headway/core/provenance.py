"""Provenance: the version of data of a period, its origin, and differences between versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.record import FormerValues, Record, StoredRecord

JUDGED = ("train", "validation", "test")
"""Periods whose rows a model is trained and judged on."""


class TrainingDigests(Record, frozen=True, kw_only=True):
    """What a model is trained with: digests of the code, of the settings and of the labeled rows; empty if unknown."""

    code: str = ""
    settings: str = ""
    rows: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it is known what the model was trained with."""
        return bool(self.code)

    def differences(self, now: TrainingDigests) -> list[str]:
        """Return what is not the same now: `code`, `settings`, `rows`."""
        return [name for name in self.__struct_fields__ if getattr(self, name) != getattr(now, name)]


class ColumnPrint(Record, frozen=True, kw_only=True):
    """Fingerprint of a column: its type, the sum of its cell hashes in hex, and a summary of its distribution.

    `knots` are quantiles of a number or time at equal shares of a sample of the rows; `shares` are those of the rows in
    each of some hash buckets, so that no string is stored.
    """

    kind: str
    cells: str
    missing: int
    knots: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    sampled: int = 0


class StageInput(Record, frozen=True, kw_only=True):
    """An input: a file, folder or URL, and its digest (`md5:...`) if one was recorded."""

    name: str
    digest: str = ""


class TrackedData(Record, frozen=True, kw_only=True):
    """A file or folder of data as DVC recorded it in the file `record`, with the command and inputs that made it.

    `digest` is `md5:...`, for a folder that of the list of its files (`.dir`); empty if DVC has recorded none.
    `difference` describes how the data on disk differ, `missing` is True if files are absent; `error` says why the
    record is unusable.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "made_from": "inputs",
        "unlike": "difference",
        "gone": "missing",
        "unread": "error",
    }

    path: str
    record: str
    digest: str = ""
    size_bytes: int = 0
    n_files: int = 0
    stage: str = ""
    command: str = ""
    inputs: tuple[StageInput, ...] = ()
    difference: str = ""
    missing: bool = False
    error: str = ""

    def __str__(self) -> str:
        """Return one line: `flights.csv is md5:6887... by flights.csv.dvc`."""
        if self.error:
            return f"{self.record} was not read: {self.error}"
        stage = f", made by its stage {self.stage}" if self.stage else ""
        differs = f"; on disk {self.difference}" if self.difference else ""
        return f"{self.path} is {self.digest or 'not recorded yet'} by {self.record}{stage}{differs}"


class Provenance(StoredRecord, frozen=True, kw_only=True):
    """The version of data of a period: its digest, a fingerprint by column, and its origin.

    `rows` is the blob of the row fingerprints (uint64, little endian); `form` is the version of the fingerprint.
    `facts` gives source, query, handling of personal data, origin and code; `tracked` the DVC records of its files.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"period": {"choose": "validation"}}

    period: str
    digest: str
    n_rows: int
    columns: dict[str, ColumnPrint]
    rows: str
    form: int
    facts: dict[str, str] = {}
    tracked: tuple[TrackedData, ...] = ()
    at: str = ""


class LineageDelivery(StoredRecord, frozen=True, kw_only=True):
    """Lineage events that a receiver accepted, by digest; `failed` is why `n_pending` were not sent."""

    former_kinds: ClassVar[tuple[str, ...]] = ("sent",)
    former_names: ClassVar[Mapping[str, str]] = {"left": "n_pending"}

    to: str
    events: tuple[str, ...] = ()
    n_pending: int = 0
    failed: str = ""
    at: str = ""


class ColumnChange(Record, frozen=True, kw_only=True):
    """A column that changed.

    `distance` is the largest difference between cumulative shares, or shares of a hash bucket, in [0, 1];
    `chance_level` is the 99th percentile of it for two samples of that size. Both are None if the columns cannot be
    compared.
    """

    name: str
    change: Literal["added", "removed", "changed"]
    missing: tuple[int, int] = (0, 0)
    distance: float | None = None
    chance_level: float | None = None


class Difference(Record, frozen=True, kw_only=True):
    """Difference of two versions of data: changed columns, added and removed rows (a changed row counts as both).

    Rows are compared in the columns that both versions have; None if only fingerprints of other columns are left.
    """

    before: str
    after: str
    rows: tuple[int, int]
    same: bool
    columns: tuple[ColumnChange, ...] = ()
    rows_added: int | None = None
    rows_removed: int | None = None
