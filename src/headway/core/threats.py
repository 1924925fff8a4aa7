"""Threats: what speaks of a requirement, whether it is covered, accepted risks, and assessments that repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import ClassVar, Literal

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord, canonical, digest_of, write
from headway.core.verdict import RuleResult

CATALOGUE_VERSION = "2026.12"
"""Version of the catalogue of requirements; another one opens a new assessment."""
Coverage = Literal["covered", "measured", "gap", "not applicable"]
"""`measured`: a measurement breaks its rule, so that the attack is shown to succeed."""
Standard = Literal["MITRE ATLAS", "OWASP AISVS 1.0", "OWASP ML Top 10"]
Topic = Literal[
    "evasion",
    "extraction",
    "privacy",
    "poisoning",
    "supply chain",
    "access",
    "availability",
    "monitoring",
    "accountability",
]
"""What a requirement is about."""
GapCode = Literal[
    "absent",
    "old",
    "other model",
    "other data",
    "contradicted",
    "expired acceptance",
    "no rule",
    "undecided",
    "breaks its rule",
]
ReopenCode = Literal["model", "data", "exposure", "catalogue", "time"]
"""What changed since the assessment before, so that a new one was opened."""


class ThreatEvidence(Record, frozen=True, kw_only=True):
    """One thing that speaks of requirements: a measurement, a check, a signature, a setting, a log or a record.

    Attributes
    ----------
    key : str
        Its kind and name, such as `measure:attack.success` or `setting:serve.contract`.
    message : str
        What it says, as a clause.
    at : str
        When it was made, ISO 8601 in UTC; empty for what holds now, such as a setting.
    record : str
        Digest of the record or file that it was read from; empty for a setting.
    model, data : str
        Digests of the variant or release, and of the data, that it is about; empty if it is about none.
    is_signed : bool
        Whether it is part of the signed release.
    problem : str
        Why it contradicts the requirements instead, such as a finding that is not resolved.
    result : RuleResult, optional
        What its rule says of a measurement. A measurement without one covers nothing.
    """

    key: str
    message: str
    at: str = ""
    record: str = ""
    model: str = ""
    data: str = ""
    is_signed: bool = False
    problem: str = ""
    measurement: Measurement | None = None
    result: RuleResult | None = None


class MissingEvidence(Record, frozen=True, kw_only=True):
    """Evidence that a requirement lacks, why, and the next step: a sentence, and a command that can be pasted."""

    key: str
    code: GapCode
    message: str
    next_step: str
    command: str


class RequirementCoverage(Record, frozen=True, kw_only=True):
    """Whether a requirement of the catalogue is covered, by what, or what is missing.

    `reason` says why it is not applicable. `accepted` is the digest of the risk that a person accepted for a gap; empty
    if none did, or it has ended.
    """

    id: str
    standard: Standard
    topic: Topic
    level: int
    title: str
    coverage: Coverage
    reason: str = ""
    evidence: tuple[ThreatEvidence, ...] = ()
    missing: tuple[MissingEvidence, ...] = ()
    accepted: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it is a gap, or measured, without an accepted risk."""
        return self.coverage in ("gap", "measured") and not self.accepted


class AcceptedRisk(StoredRecord, frozen=True, kw_only=True):
    """A gap that a person accepted until a day (ISO 8601, included), for one exposure (its digest).

    It ends when the exposure changes: what is accepted for a server of this machine is not for one of a network. With
    `is_withdrawn` it ends what was accepted before.
    """

    version: ClassVar[int] = 1

    name: str
    requirement: str
    who: str
    reason: str
    at: str
    until: str
    exposure: str
    is_withdrawn: bool = False

    def holds(self, *, exposure: str, now: datetime) -> bool:
        """Return whether it still holds for an exposure (its digest) at a time with its zone."""
        in_time = now.astimezone(UTC).date().isoformat() <= self.until
        return in_time and self.exposure == exposure and not self.is_withdrawn


class ThreatAssessment(StoredRecord, frozen=True, kw_only=True):
    """Coverage of every requirement of the catalogue at one time; `number` counts the assessments of a project.

    Attributes
    ----------
    release, model : str
        Digests of the live release and of its variant; empty if no release is live.
    data : dict of str to str
        Digest of the data that the live release was trained and judged on, by period.
    exposure : dict of str to str
        Who can reach the model and how, by the setting that says so.
    why : tuple of str
        What changed, so that this number was opened; empty for the first.
    opened : tuple of str
        Requirements that were covered in the record before and are a gap now.
    due : str
        Day by which the next assessment is due, ISO 8601.
    """

    version: ClassVar[int] = 1

    name: str
    at: str
    by: str
    headway: str
    number: int
    catalogue: str
    requirements: tuple[RequirementCoverage, ...]
    release: str = ""
    model: str = ""
    data: dict[str, str] = {}
    exposure: dict[str, str] = {}
    owner: str = ""
    why: tuple[ReopenCode, ...] = ()
    opened: tuple[str, ...] = ()
    due: str = ""

    def count(self, coverage: Coverage, *, level: int = 3) -> int:
        """Return how many requirements up to a level have a coverage."""
        return sum(row.coverage == coverage and row.level <= level for row in self.requirements)

    def open_gaps(self, *, level: int = 3) -> list[RequirementCoverage]:
        """Return the gaps, and what was measured to succeed, up to a level without an accepted risk."""
        return [row for row in self.requirements if row.is_open and row.level <= level]


class TrendPoint(Record, frozen=True, kw_only=True):
    """How many requirements were covered, measured to succeed, gaps and not applicable in one assessment."""

    at: str
    number: int
    covered: int
    gaps: int
    not_applicable: int
    open_gaps: int
    measured: int = 0


class ThreatResult(Record, frozen=True, kw_only=True):
    """An assessment, the one before it, the accepted risks that hold by requirement, and coverage over time."""

    now: ThreatAssessment
    before: ThreatAssessment | None = None
    accepted: dict[str, AcceptedRisk] = {}
    trend: tuple[TrendPoint, ...] = ()


def reopen_reasons(
    before: ThreatAssessment,
    *,
    release: str,
    exposure: Mapping[str, str],
    now: datetime,
    data: Mapping[str, str] | None = None,
) -> tuple[ReopenCode, ...]:
    """Return why an assessment does not stand any more: what it rests on has changed, or its time is over.

    Parameters
    ----------
    data : mapping of str to str, optional
        Digests of the data of the live release, which never change for one release.
    """
    changed: Mapping[ReopenCode, bool] = {
        "model": before.release != release,
        "data": data is not None and before.data != data,
        "exposure": before.exposure != exposure,
        "catalogue": before.catalogue != CATALOGUE_VERSION,
        "time": now.astimezone(UTC).date().isoformat() > before.due,
    }
    return tuple(code for code, differs in changed.items() if differs)


def exposure_digest(exposure: Mapping[str, str]) -> str:
    """Return the digest of an exposure."""
    return digest_of(canonical(dict(exposure)))


def accepted_risks(
    risks: Iterable[AcceptedRisk], *, exposure: Mapping[str, str], now: datetime
) -> dict[str, tuple[str, AcceptedRisk]]:
    """Return the risks that are accepted now, by the id of their requirement, each with its digest; the last counts."""
    last = {risk.requirement: risk for risk in risks}
    of = exposure_digest(exposure)
    return {id: (digest_of(write(risk)), risk) for id, risk in last.items() if risk.holds(exposure=of, now=now)}
