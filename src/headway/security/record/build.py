"""Build the compliance record of a release, write it as a signed folder, and verify such a folder."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from msgspec.structs import replace

import headway
from headway.core import record
from headway.core.compliance import ComplianceRecord, Fact, Figure, RecordSource
from headway.core.config import Config
from headway.core.contracts import Signed
from headway.core.errors import Refused, StoreError
from headway.core.record import digest_of
from headway.core.release import Release
from headway.registry.settings.record import RecordSection
from headway.registry.sign import COPY_HINT, Publisher, Trusted, verify
from headway.security.record.points import build_documents
from headway.security.record.sources import EvidenceFile, measurement_figure, read_source_file, value_at
from headway.storage import atomic

RECORD, SIGNATURE = "record.json", "record.sig"
SIGNED = ("release", "pointer_update", "erasure")
"""Kinds of sources that carry a signature of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecord:
    """A record whose every file, number and text was verified, and the key that signed it."""

    record: ComplianceRecord
    digest: str
    key: str
    n_signed_sources: int


def build_record(config: Config, sources: Sequence[EvidenceFile]) -> ComplianceRecord:
    """Return the record of the release among the sources; the same sources give the same record.

    Raises
    ------
    StoreError
        If the release was written by an earlier headway, whose fields have other names.
    """
    (release,) = (source for source in sources if source.listed.kind == "release")
    if release.document["version"] != Release.version:
        raise StoreError(
            "the release was written by an earlier headway, so its record cannot be traced",
            where=release.listed.digest,
            hint="headway release, which writes it in the form of today",
        )
    at = max(source.listed.at for source in sources)
    retention = config[RecordSection].retention
    keep_until = date.fromisoformat(at[:10]) + timedelta(days=int(retention[:-1])) if retention and at else ""
    return ComplianceRecord(
        name=release.document["record"]["name"],
        release=release.listed.digest,
        at=at,
        headway=headway.__version__,
        sources=tuple(source.listed for source in sources),
        documents=build_documents(sources),
        keep_until=str(keep_until),
        legal_hold=config[RecordSection].legal_hold,
    )


def write_record(
    found: ComplianceRecord,
    sources: Sequence[EvidenceFile],
    documents: Mapping[str, bytes],
    *,
    folder: Path,
    publisher: Publisher,
) -> str:
    """Sign a record with its documents and sources, and write all of it into a folder; return its digest.

    A folder that holds an earlier record is brought to this one. Raises StoreError if it holds any file that is not of
    a record, since it would have to be deleted.
    """
    files = {**documents}
    for source in sources:
        files[source.listed.file] = source.content
        if source.listed.signature:
            files[source.listed.signature] = source.signature
    listed = replace(found, files={name: digest_of(content) for name, content in sorted(files.items())})
    signed = publisher.sign(record.write(listed))
    files |= {RECORD: signed.content, SIGNATURE: signed.signature}
    there = _names(folder) if folder.is_dir() else set()
    others = sorted(there - _earlier_files(folder) - files.keys()) if RECORD in there else sorted(there)
    if others or folder.is_file():
        where = str(folder / others[0]) if others else str(folder)
        raise StoreError("something else than a record is there", where=where, hint="name a new folder")
    for name, content in files.items():
        atomic.write(folder / name, content)
    for name in there - files.keys():
        (folder / name).unlink()
    return digest_of(signed.content)


def _earlier_files(folder: Path) -> set[str]:
    """Return the names of the files of the record that a folder holds."""
    return set(record.read(ComplianceRecord, _bytes(folder, RECORD)).files)


def is_record(path: Path) -> bool:
    """Return whether a path is the folder of a record."""
    return (path / RECORD).is_file()


def verify_record(folder: Path, trusted: Trusted, operators: Trusted) -> VerifiedRecord:
    """Verify a record: its signature, every file, and that each number and text is what its source has.

    Raises
    ------
    Refused
        If a byte differs from what was signed, a file is missing or not listed, a source carries another signature than
        that of a trusted key, or a number is not that of its source.
    """
    signed = Signed(content=_bytes(folder, RECORD), signature=_bytes(folder, SIGNATURE))
    key = verify(signed, trusted, subject=RECORD, where=str(folder))
    found = record.read(ComplianceRecord, signed.content)
    _expect_files(folder, found)
    for listed in found.sources:
        _expect_listed(listed, found, folder)
    by_digest = {listed.digest: read_source_file(folder, listed) for listed in found.sources}
    for source in by_digest.values():
        _expect_signed(source, trusted, operators, folder)
    for figure in found.figures:
        _expect_figure(figure, by_digest, folder)
    for fact in found.facts:
        _expect_fact(fact, by_digest, folder)
    return VerifiedRecord(
        record=found,
        digest=digest_of(signed.content),
        key=key,
        n_signed_sources=sum(bool(source.signature) for source in by_digest.values()),
    )


def _names(folder: Path) -> set[str]:
    return {entry.name for entry in os.scandir(folder)}


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise Refused(f"{name} is missing", where=str(folder), hint=COPY_HINT)
    return path.read_bytes()


def _expect_files(folder: Path, found: ComplianceRecord) -> None:
    for name, digest in found.files.items():
        if "/" in name or digest_of(_bytes(folder, name)) != digest:
            raise Refused(f"{name} was changed after the record was signed", where=str(folder), hint=COPY_HINT)
    extra = sorted(_names(folder) - found.files.keys() - {RECORD, SIGNATURE})
    if extra:
        raise Refused(f"{extra[0]!r} is not a file of this record", where=str(folder), hint=COPY_HINT)


def _expect_listed(listed: RecordSource, found: ComplianceRecord, folder: Path) -> None:
    """Raise Refused unless a source is one of the signed files, by its digest, and carries a signature if it must."""
    files = [listed.file, *([listed.signature] if listed.signature else [])]
    if any(name not in found.files for name in files) or found.files[listed.file] != listed.digest:
        raise Refused(f"{listed.file} is not the source that the record lists", where=str(folder), hint=COPY_HINT)
    if listed.kind == "release" and listed.digest != found.release:
        raise Refused("the record is of another release than its source", where=str(folder), hint=COPY_HINT)
    if listed.kind in SIGNED and not listed.signature:
        raise Refused(f"{listed.file} carries no signature", where=str(folder), hint=COPY_HINT)


def _expect_signed(source: EvidenceFile, trusted: Trusted, operators: Trusted, folder: Path) -> None:
    """Raise Refused unless the own signature of a source is that of a trusted key."""
    listed = source.listed
    if source.signature:
        keys = {**trusted.keys, **(operators.keys if listed.kind == "pointer_update" else {})}
        signed = Signed(content=source.content, signature=source.signature)
        verify(signed, Trusted(trusted.file, keys), subject=listed.file, where=str(folder))


def _expect_figure(figure: Figure, sources: Mapping[str, EvidenceFile], folder: Path) -> None:
    try:
        there = value_at(sources[figure.source].document, figure.pointer)
        if figure.kind == "measurement":
            same = measurement_figure(figure.source, figure.pointer, there) == figure
        else:
            value = len(there) if figure.kind == "length" else there
            same = math.isclose(float(value), figure.value, rel_tol=0.0)
    except (KeyError, TypeError, ValueError, StoreError) as error:
        raise _other(figure.name, folder) from error
    if not same:
        raise _other(figure.name, folder)


def _expect_fact(fact: Fact, sources: Mapping[str, EvidenceFile], folder: Path) -> None:
    try:
        there = value_at(sources[fact.source].document, fact.pointer)
    except (KeyError, StoreError) as error:
        raise _other(fact.label, folder) from error
    if str(there) != fact.text:
        raise _other(fact.label, folder)


def _other(name: str, folder: Path) -> Refused:
    return Refused(f"{name!r} is not what its source has", where=str(folder), hint=COPY_HINT)
