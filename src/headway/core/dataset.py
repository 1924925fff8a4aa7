"""Dataset: a table, the roles of its columns, and its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from headway.core.feature_view import FeatureView
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
    text: tuple[str, ...] = ()
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


class SampledRows(Record, frozen=True, kw_only=True):
    """Rows of a table larger than memory that were looked at; all of its rows were counted.

    Attributes
    ----------
    n_rows, n_sampled : int
        Rows of the table, and of the sample.
    drawn : str
        What was drawn at random, each whole: groups, queries, or single rows.
    n_groups, n_groups_sampled : int
        Groups of the table and of the sample; 0 if no groups are declared.
    n_groups_exact : bool
        Whether the groups were counted, and not estimated by a sketch.
    until : str
        Time of the last row of the table, ISO 8601; empty if rows have no time.
    """

    n_rows: int
    n_sampled: int
    drawn: Literal["groups", "queries", "rows"]
    n_groups: int = 0
    n_groups_sampled: int = 0
    n_groups_exact: bool = True
    until: str = ""

    def __str__(self) -> str:
        """Return one sentence: which rows were counted, and which sampled."""
        counted = f"of {self.n_rows:,} rows all were counted and {self.n_sampled:,} sampled"
        about = "" if self.n_groups_exact else "about "
        if self.drawn == "groups":
            return f"{counted}: {self.n_groups_sampled:,} of {about}{self.n_groups:,} groups, each whole"
        if self.drawn == "queries":
            return f"{counted}: whole queries at random"
        groups = f", from {self.n_groups_sampled:,} of {about}{self.n_groups:,} groups" if self.n_groups else ""
        return f"{counted} at random{groups}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A polars table with its roles; `digest` is that of its content, `provenance` its origin.

    `tracked` is what DVC records of the files that it was read from. `blanks` are the strings that were read as missing
    values of numeric columns: by column, how often each occurs. Of a table larger than memory, `table` holds the
    `sampled` rows, and the digest is that of all rows; `all_rows` has them if a step needs them. `views` are the
    feature views that were joined to the table, whose features are columns like others.
    """

    name: str
    table: polars.DataFrame
    roles: Roles
    digest: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    tracked: tuple[TrackedData, ...] = ()
    blanks: dict[str, dict[str, int]] = field(default_factory=dict)
    sampled: SampledRows | None = None
    all_rows: polars.LazyFrame | None = None
    views: tuple[FeatureView, ...] = ()

    @property
    def features(self) -> list[str]:
        """The columns that a model may read, in the order of the table."""
        return [name for name in self.table.columns if name not in self.roles.not_features]

    @property
    def texts(self) -> list[str]:
        """The features that are texts."""
        return [name for name in self.features if name in self.roles.text]

    @property
    def tabular_features(self) -> list[str]:
        """The features that are numbers or categories, and not texts."""
        return [name for name in self.features if name not in self.roles.text]
