"""Erase the rows of one key, or those older than a time, everywhere in the store, and prove it.

The journal records each file before it is replaced as a whole. A process that is killed leaves every other row intact,
and the same request given again completes the erasure and counts all of it. Servers may run meanwhile. Proofs are
signed, numbered, and each names the one before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from msgspec import MsgspecError, convert, json
from msgspec.structs import replace

from headway.core.contracts import Signed
from headway.core.erasure import Erased, Erasure, ErasureProof
from headway.core.errors import ConfigError, DataError, Refused, StoreError
from headway.core.record import canonical, digest_of, kind_of, read
from headway.core.renamed import current_form
from headway.data.personal.policy import HashKey, load_hash_key, parse_age
from headway.monitoring.erasure import files
from headway.monitoring.erasure.files import ErasureTarget, file_digest
from headway.monitoring.erasure.journal import ErasureJournal, JournalHeader, open_journal
from headway.monitoring.erasure.residuals import find_residuals
from headway.registry.project import Project
from headway.registry.sign import Publisher, load_publisher, load_trusted, verify
from headway.storage import atomic

_DOMAIN = "headway forget\0"
_SLACK_S = 1.0
BEYOND_REACH = ("not reached: backups, files written by headway predict, freed disk blocks",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRequest:
    """What to erase, and who asks for it: a `key` as callers sent it, or rows `older` than an age (90d, 12h)."""

    key: str = ""
    older: str = ""
    who: str
    why: str = ""


def erase(project: Project, request: ErasureRequest, *, wait: Callable[[float], object] = time.sleep) -> Erasure:
    """Erase the rows, scan the whole store for the key, and save a signed record of both.

    A key is searched as it is and as the hash that `[personal] hash` makes of it. The function waits until servers have
    flushed their log buffers. Raises ConfigError without a publisher key, and StoreError while another erasure is not done.
    """
    _require_one_criterion(request)
    publisher, secret = load_publisher(project.registry.publisher_key), load_hash_key(project.config)
    target, header = _target_of(request, secret)
    with open_journal(project.config.state, header) as journal:
        if any((erasure.begun_at, erasure.subject) == _mark(journal.header) for erasure in load_erasures(project)):
            journal.begin(header)
        _erase_files(project, target, journal)
        if target.keys:
            wait(2 * project.config.serve.log_flush_s + _SLACK_S)
            _erase_files(project, target, journal)
        resumed = replace(journal.header, older_than=header.older_than)
        erasure = _erasure_record(project, request, resumed, _erased_by_location(project, journal, secret))
        erasure = replace(erasure, residuals=find_residuals(project.config.state, target.keys) if target.keys else ())
        save_proof(project, erasure, publisher)
        journal.end()
    return erasure


def erasure_subject(key: str, secret: HashKey) -> str:
    """Return the keyed hash by which a proof names a key; it differs from the hash in hashed columns."""
    return secret.hash(_DOMAIN + key)


def _require_one_criterion(request: ErasureRequest) -> None:
    if bool(request.key) == bool(request.older):
        raise ConfigError("give either a key or an age", hint="headway erase KEY, or --older 90d")
    if request.key and not request.key.strip():
        raise DataError("a key of spaces is not a key", hint="headway erase KEY")


def _target_of(request: ErasureRequest, secret: HashKey) -> tuple[ErasureTarget, JournalHeader]:
    now = datetime.now(UTC)
    if request.key:
        header = JournalHeader(subject=erasure_subject(request.key, secret), older_than="", begun_at=now.isoformat())
        return ErasureTarget(keys=(request.key, secret.hash(request.key))), header
    until = _cutoff(now, parse_age(request.older, where="--older"))
    header = JournalHeader(subject="", older_than=until.isoformat(timespec="seconds"), begun_at=now.isoformat())
    return ErasureTarget(before_ns=int(until.timestamp()) * 1_000_000_000), header


def _cutoff(now: datetime, length: timedelta) -> datetime:
    try:
        return now - length
    except OverflowError as error:
        raise ConfigError("the age is out of range", where="--older", hint="90d") from error


def _mark(header: JournalHeader) -> tuple[str, str]:
    return header.begun_at, header.subject


def _erase_files(project: Project, target: ErasureTarget, journal: ErasureJournal) -> None:
    """Record and rewrite each file that holds rows to erase, and remove partial files of killed processes."""
    state = project.config.state
    for folder in (*(state / "log").glob("*"), state / "labels"):
        atomic.sweep(folder)
    for file in files.affected_files(state, target):
        journal.note(file)
        files.erase_rows(state, file, target)


def _erased_by_location(project: Project, journal: ErasureJournal, secret: HashKey) -> tuple[Erased, ...]:
    """Summarize what was erased by location; files are named by keyed hashes, since one of few rows could be guessed."""
    ordered = sorted(journal.touched.values(), key=lambda file: (file.place, file.path))
    found = []
    for place, group in groupby(ordered, key=lambda file: file.place):
        files = list(group)
        was = "".join(f"{file.path} {file.before}\n" for file in files)
        now = "".join(f"{file.path} {file_digest(project.config.state / file.path)}\n" for file in files)
        rows = sum(file.rows for file in files)
        found.append(
            Erased(location=place, rows=rows, files=len(files), before=secret.hash(was), after=secret.hash(now))
        )
    return tuple(found)


def _erasure_record(
    project: Project, request: ErasureRequest, header: JournalHeader, erased: tuple[Erased, ...]
) -> Erasure:
    number, before = next_in_chain(project)
    return Erasure(
        name=project.name,
        number=number,
        before=before,
        subject=header.subject,
        older_than=header.older_than,
        who=request.who,
        why=request.why,
        begun_at=header.begun_at,
        done_at=datetime.now(UTC).isoformat(),
        erased=erased,
        message=(*_model_notes(project), *BEYOND_REACH) if request.key else BEYOND_REACH,
    )


def _model_notes(project: Project) -> tuple[str, ...]:
    """Say where traces of a key may remain that no program can remove."""
    config, made = project.config, len(list((project.config.state / "releases").glob("*/*/")))
    learned = f"{made:,} signed releases were made before: what a model learned from these rows stays in it until it is"
    source = f"{config.data.source or 'the source'} is not changed: remove the rows there"
    return (f"{learned} retrained without them (headway retrain)", source) if made else (source,)


KIND = kind_of(ErasureProof)


def save_proof(project: Project, erasure: Erasure, publisher: Publisher) -> None:
    """Sign an erasure and save it in the state."""
    signed = publisher.sign(canonical(erasure))
    project.save(ErasureProof(content=signed.content.decode(), signature=signed.signature.decode()))


def load_erasures(project: Project) -> list[Erasure]:
    """Return every erasure of a project, oldest first; raises Refused for one that was changed, or if one is missing."""
    trusted, found, before = load_trusted(project.registry.trusted_keys), list[Erasure](), ""
    for number, content in enumerate(project.state.records(KIND, name=project.name), 1):
        proof, subject = read(ErasureProof, content), f"erasure {number} of {project.name}"
        signed = Signed(content=proof.content.encode(), signature=proof.signature.encode())
        verify(signed, trusted, subject=subject, where=str(project.config.state))
        erasure = _decode_erasure(signed.content, subject)
        if (erasure.name, erasure.number, erasure.before) != (project.name, number, before):
            hint = "restore the state from a backup"
            raise Refused(f"{subject} does not follow the one before it: a record was removed", hint=hint)
        found.append(erasure)
        before = digest_of(signed.content)
    return found


def next_in_chain(project: Project) -> tuple[int, str]:
    """Return the number of the next erasure, and the digest of the last one."""
    proofs = project.state.records(KIND, name=project.name)
    last = read(ErasureProof, proofs[-1]).content.encode() if proofs else None
    return len(proofs) + 1, digest_of(last) if last is not None else ""


def _decode_erasure(content: bytes, subject: str) -> Erasure:
    try:
        return convert(current_form(json.decode(content), Erasure), Erasure)
    except MsgspecError as error:
        raise StoreError(f"{subject} was written by another version of headway", where=str(error)) from error
