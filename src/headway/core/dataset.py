"""Dataset: a table, the roles of its columns, and its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from headway.core.provenance import TrackedData
from headway.core.record import Record

if TYPE_CHECKING:
    import polars

REQUEST = "request"
OUTCOME = "outcome"
ASKED_AT = "__asked_at"
"""Column with the time of a request: a datetime, UTC."""


class Roles(Record, frozen=True, kw_only=True):
    """Role of each column; declared once, and used by every split, interval, check and test."""

    target: str
    task: str = "binary"
    classes: tuple[str, ...] = ()
    time: str = ""
    decision: str = ""
    groups: str = ""
    query_id: str = ""
    slices: tuple[str, ...] = ()
    sensitive_features: tuple[str, ...] = ()
    sample_weight: str = ""
    known: dict[str, str] = {}
    ignore: tuple[str, ...] = ()

    @property
    def not_features(self) -> frozenset[str]:
        """Columns that a model must not read: the roles themselves, and columns known only after the outcome."""
        after = {name for name, when in self.known.items() if when == OUTCOME}
        return frozenset(
            {self.target, self.time, self.groups, self.query_id, self.sample_weight, *self.ignore, *after} - {""}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A polars table with its roles; `digest` is that of its content, `provenance` its origin.

    `tracked` is what DVC records of the files that it was read from. `blanks` are the strings that were read as missing
    values of numeric columns: by column, how often each occurs.
    """

    name: str
    table: polars.DataFrame
    roles: Roles
    digest: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    tracked: tuple[TrackedData, ...] = ()
    blanks: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def features(self) -> list[str]:
        """The columns that a model may read, in the order of the table."""
        return [name for name in self.table.columns if name not in self.roles.not_features]
