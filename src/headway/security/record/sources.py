"""The stored bytes that a compliance record rests on, and how a number is found in them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from headway.core import record
from headway.core.compliance import Fact, Figure, Gap, RecordSource, SourceKind
from headway.core.config import Config, masked
from headway.core.contracts import Signed
from headway.core.errors import StoreError
from headway.core.evidence import Evidence
from headway.core.monitoring import MonitoringReport
from headway.core.record import StoredRecord, canonical, digest_of
from headway.core.settings.project import ProjectSection
from headway.core.settings_section import SettingsSection
from headway.core.threats import ThreatAssessment
from headway.core.training import Training
from headway.data.settings.data import DataSection
from headway.data.settings.personal import PersonalSection
from headway.data.settings.policy import PolicySection
from headway.data.settings.provenance import ProvenanceSection
from headway.data.settings.split import SplitSection
from headway.evaluation.settings.attack import AttackSection
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.bundle import Bundle
from headway.registry.project import Project
from headway.registry.settings.record import RecordSection
from headway.registry.settings.rollout import RolloutSection
from headway.security.threats.evidence import assessment_on, datasets_of
from headway.serving.settings.slo import SloSection

SECTIONS: tuple[type[SettingsSection], ...] = (
    ProjectSection,
    DataSection,
    PersonalSection,
    ProvenanceSection,
    SplitSection,
    SloSection,
    PolicySection,
    RetrainSection,
    RolloutSection,
    AttackSection,
    RecordSection,
)
"""Sections of headway.toml that a record shows; passwords are masked."""
MAX_UPDATES = 50
DEFAULTS = {
    "/record/variant/task": "binary",
    "/record/variant/signature/output": "probability",
}
"""What a release leaves out where it is the default: the texts at these pointers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceFile:
    """A source of a record with its bytes, their own signature if they have one, and the decoded document."""

    listed: RecordSource
    content: bytes
    signature: bytes = b""
    document: Any = None


def source_file(kind: SourceKind, name: str, content: bytes, *, signature: bytes = b"", at: str = "") -> EvidenceFile:
    """Return a source whose file has a name; its digest is that of the bytes."""
    listed = RecordSource(
        digest=digest_of(content),
        kind=kind,
        file=f"{name}.json",
        signature=f"{name}.sig" if signature else "",
        at=_in_utc(at),
    )
    return EvidenceFile(listed=listed, content=content, signature=signature, document=json.loads(content))


def _in_utc(at: str) -> str:
    """Return an ISO time in UTC; one without a zone, as of a replayed stream, is taken as UTC."""
    if not at:
        return ""
    time = datetime.fromisoformat(at)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="seconds")


def read_sources(project: Project, bundle: Bundle, *, erasures: Sequence[Signed] = ()) -> tuple[EvidenceFile, ...]:
    """Read everything that a record of this release rests on.

    Parameters
    ----------
    erasures : sequence of Signed
        The signed proofs of erasure, oldest first.
    """
    release = bundle.release
    found = [
        source_file("release", "release", bundle.signed.content, signature=bundle.signed.signature, at=release.made_at),
        source_file("settings", "settings", canonical(shown_settings(project.config))),
        *_updates(project, bundle),
        *_erasures(erasures),
    ]
    found += [_stored("evidence", f"evidence.{number}", one) for number, one in enumerate(_later(project, bundle), 1)]
    assessment = assessment_on(project, datasets_of(release))
    if assessment is not None:
        found.append(_stored("assessment", "assessment", assessment))
    rows = release.data.get("train")
    trainings = [one for one in project.records(Training) if rows and one.dataset == rows]
    found += [_stored("training", "training", one) for one in trainings[-1:]]
    watched = [one for one in project.records(MonitoringReport) if one.release == bundle.digest and one.is_complete]
    found += [_stored("monitoring", "monitoring", one) for one in watched[-1:]]
    threats = project.latest(ThreatAssessment)
    if threats is not None and threats.release == bundle.digest:
        found.append(_stored("threats", "threats", threats))
    return tuple(found)


def shown_settings(config: Config) -> dict[str, object]:
    """Return the settings that a record shows, as plain data without passwords."""
    return {section.table: masked(msgspec.to_builtins(config[section])) for section in SECTIONS}


def _stored(kind: SourceKind, name: str, found: StoredRecord) -> EvidenceFile:
    return source_file(kind, name, record.write(found), at=getattr(found, "at", ""))


def _updates(project: Project, bundle: Bundle) -> Iterator[EvidenceFile]:
    """Yield the last signed updates of the pointers of this name, oldest first."""
    entries = project.registry.recent(bundle.release.name, limit=MAX_UPDATES)
    for entry in sorted(entries, key=lambda one: one.move.at):
        name = f"update.{entry.move.pointer}.{entry.move.number}"
        signed = entry.signed
        yield source_file("pointer_update", name, signed.content, signature=signed.signature, at=entry.move.at)


def _erasures(proofs: Sequence[Signed]) -> Iterator[EvidenceFile]:
    for number, proof in enumerate(proofs, 1):
        at = json.loads(proof.content)["done_at"]
        yield source_file("erasure", f"erasure.{number}", proof.content, signature=proof.signature, at=at)


def _later(project: Project, bundle: Bundle) -> list[Evidence]:
    """Return stored evidence that the release does not hold on the same model, such as later audits; newest last.

    Each run of an audit stores evidence of its own. The newest is returned, and each that has a measure which no newer
    one has.
    """
    held = {canonical(one) for one in bundle.release.evidence}
    subject = bundle.release.variant.digest
    periods = {one.dataset for one in bundle.release.evidence}
    found = [
        one
        for one in project.records(Evidence)
        if one.subject == subject and one.dataset in periods and not one.reference and canonical(one) not in held
    ]
    chosen, names = list[Evidence](), set[str]()
    for one in reversed(found):
        measured = {measurement.name for measurement in one.measurements}
        if measured - names or not chosen:
            chosen.append(one)
            names |= measured
    return chosen[::-1]


def value_at(document: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (RFC 6901), or its default; raises StoreError if there is neither.

    >>> value_at({"a": [1, {"b/c": 2}]}, "/a/1/b~1c")
    2
    """
    value = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            if pointer in DEFAULTS:
                return DEFAULTS[pointer]
            raise StoreError("a source has nothing at this pointer", where=pointer) from error
    return value


def escape_pointer(name: str) -> str:
    """Return a key as it is written in a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


class Tracer:
    """Takes numbers and texts from sources, each with the pointer of where it is."""

    def __init__(self, sources: Sequence[EvidenceFile]) -> None:
        self.sources = sources
        self._measured = self._first_of_each()

    def of(self, kind: SourceKind) -> list[EvidenceFile]:
        """Return the sources of a kind, in their order."""
        return [source for source in self.sources if source.listed.kind == kind]

    def facts(self, source: EvidenceFile, labels: Mapping[str, str]) -> tuple[Fact, ...]:
        """Return the texts at pointers, by their labels; empty ones are left out."""
        found = (self.fact(source, label, pointer) for label, pointer in labels.items())
        return tuple(fact for fact in found if fact.text)

    def fact(self, source: EvidenceFile, label: str, pointer: str) -> Fact:
        """Return the text at a pointer."""
        text = value_at(source.document, pointer)
        return Fact(label=label, text=str(text or ""), source=source.listed.digest, pointer=pointer)

    def number(self, source: EvidenceFile, name: str, pointer: str, *, unit: str = "") -> Figure:
        """Return the number at a pointer."""
        value = float(value_at(source.document, pointer))
        return Figure(name=name, value=value, unit=unit, source=source.listed.digest, pointer=pointer)

    def length(self, source: EvidenceFile, name: str, pointer: str) -> Figure:
        """Return the number of elements of a list, or of a table, at a pointer."""
        value = float(len(value_at(source.document, pointer)))
        return Figure(name=name, value=value, source=source.listed.digest, pointer=pointer, kind="length")

    def measured(self, *families: str, sliced: bool | None = None) -> tuple[Figure, ...]:
        """Return the measurements whose name begins with one of these, a dot or the end following.

        `sliced` restricts them to those of slices, or to those of all rows.
        """
        return tuple(
            figure
            for (name, part), figure in self._measured.items()
            if any(name == family or name.startswith(f"{family}.") for family in families)
            and sliced in (None, bool(part))
        )

    def _first_of_each(self) -> dict[tuple[str, str], Figure]:
        """Return each measurement once: as judged for the release, else as measured later, else by the search."""
        found: dict[tuple[str, str], Figure] = {}
        for source, pointer, document in self._evidence():
            for index, measurement in enumerate(document["measurements"]):
                figure = measurement_figure(source.listed.digest, f"{pointer}/measurements/{index}", measurement)
                found.setdefault((figure.name, figure.slice), figure)
        return found

    def _evidence(self) -> Iterable[tuple[EvidenceFile, str, dict[str, Any]]]:
        (release,) = self.of("release")
        held = release.document["record"]["evidence"]
        indices = range(len(held))
        if held:
            yield release, f"/record/evidence/{indices[-1]}", held[-1]
        for source in reversed(self.of("evidence")):
            yield source, "/record", source.document["record"]
        for index in indices[:-1]:
            yield release, f"/record/evidence/{index}", held[index]

    def not_judged(self) -> Iterator[tuple[str, Gap]]:
        """Yield what metrics and audits could not judge: the plug-in's name, and the gap with its reason."""
        for source, pointer, document in self._evidence():
            for index, finding in enumerate(document["findings"]):
                at = f"{pointer}/findings/{index}"
                reason = self.fact(source, finding.get("plugin") or finding["code"], f"{at}/message")
                yield (
                    reason.label,
                    Gap(
                        what="a measure was not judged", subject=reason.label, hint=finding.get("hint", ""), fact=reason
                    ),
                )


def measurement_figure(source: str, pointer: str, measurement: Mapping[str, Any]) -> Figure:
    """Return the numbers of a measurement in plain data."""
    return Figure(
        name=measurement["name"],
        value=float(measurement["value"]),
        source=source,
        pointer=pointer,
        kind="measurement",
        low=float(measurement["low"]),
        high=float(measurement["high"]),
        n_rows=measurement["n_rows"],
        n_groups=measurement.get("n_groups") or None,
        slice=measurement.get("slice", ""),
        unit=measurement.get("unit", ""),
    )


def read_source_file(folder: Path, listed: RecordSource) -> EvidenceFile:
    """Read a source of a written record; its digests were verified with the folder."""
    content = (folder / listed.file).read_bytes()
    signature = (folder / listed.signature).read_bytes() if listed.signature else b""
    return EvidenceFile(listed=listed, content=content, signature=signature, document=json.loads(content))
