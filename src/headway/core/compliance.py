"""The compliance record of a release: what its stored evidence shows, point by point, and what is missing."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.record import Record, StoredRecord

SourceKind = Literal[
    "release", "pointer_update", "erasure", "evidence", "assessment", "training", "monitoring", "threats", "settings"
]
DocumentName = Literal["cards", "ai-act", "nist-ai-rmf", "gdpr"]


class RecordSource(Record, frozen=True, kw_only=True):
    """Stored bytes that a record rests on: their digest, and the file that holds them.

    `signature` is the file of the signature that they carry themselves; one without it is covered by the signature of
    the compliance record alone. `at` is when the source was made, ISO 8601.
    """

    digest: str
    kind: SourceKind
    file: str
    signature: str = ""
    at: str = ""


class Figure(Record, frozen=True, kw_only=True):
    """A number, and where it is in its source: the JSON pointer of a measurement, of a number, or of a list.

    A measurement has all of its numbers: interval, rows and groups. Of a list the figure is the `length`.
    """

    name: str
    value: float
    source: str
    pointer: str
    kind: Literal["measurement", "number", "length"] = "number"
    low: float | None = None
    high: float | None = None
    n_rows: int | None = None
    n_groups: int | None = None
    slice: str = ""
    unit: str = ""


class Fact(Record, frozen=True, kw_only=True):
    """A text, and the JSON pointer of the same text in its source."""

    label: str
    text: str
    source: str
    pointer: str


class Gap(Record, frozen=True, kw_only=True):
    """What a point lacks, and the next step.

    `subject` is the column, check or requirement that it is about; `fact` is the text of a finding that says why.
    """

    what: str
    subject: str = ""
    hint: str = ""
    fact: Fact | None = None


class Point(Record, frozen=True, kw_only=True):
    """One point of a law or framework: its section, our words for it, and what the evidence shows of it.

    A point without gaps has all that headway looks for. Whether that suffices is for a person to judge.
    """

    id: str
    section: str
    title: str
    statements: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    figures: tuple[Figure, ...] = ()
    gaps: tuple[Gap, ...] = ()


class RecordDocument(Record, frozen=True, kw_only=True):
    """Points that are read together: the cards, a law, or a framework."""

    name: DocumentName
    title: str
    points: tuple[Point, ...]


class WrittenRecord(StoredRecord, frozen=True, kw_only=True):
    """A compliance record that was signed and written: its digest, that of the release, and when."""

    version: ClassVar[int] = 1

    name: str
    record: str
    release: str
    at: str


class ComplianceRecord(StoredRecord, frozen=True, kw_only=True):
    """The documents of one release, with every source; `files` maps each file of the record to its digest.

    `at` is the time of the latest source, so that the same evidence gives the same record. `keep_until` is the end of
    its retention, and `legal_hold` the reason why nothing may be deleted; both may be empty.
    """

    version: ClassVar[int] = 1

    name: str
    release: str
    at: str
    headway: str
    sources: tuple[RecordSource, ...]
    documents: tuple[RecordDocument, ...]
    keep_until: str = ""
    legal_hold: str = ""
    files: dict[str, str] = {}

    @property
    def points(self) -> tuple[Point, ...]:
        """All points, in the order of the documents."""
        return tuple(point for document in self.documents for point in document.points)

    @property
    def missing(self) -> tuple[Point, ...]:
        """The points with gaps."""
        return tuple(point for point in self.points if point.gaps)

    @property
    def gaps(self) -> dict[Gap, tuple[str, ...]]:
        """Every gap once, with the sections of the points that have it."""
        found: dict[Gap, list[str]] = {}
        for point in self.missing:
            for gap in point.gaps:
                found.setdefault(gap, []).append(point.section)
        return {gap: tuple(dict.fromkeys(sections)) for gap, sections in found.items()}

    @property
    def figures(self) -> tuple[Figure, ...]:
        """Every number, once."""
        return tuple(dict.fromkeys(figure for point in self.points for figure in point.figures))

    @property
    def facts(self) -> tuple[Fact, ...]:
        """Every text that was taken from a source, once."""
        gaps = (gap.fact for point in self.points for gap in point.gaps if gap.fact)
        return tuple(dict.fromkeys([*(fact for point in self.points for fact in point.facts), *gaps]))
