"""Erase the rows of one key, or those older than a time, everywhere in the store, and prove it.

The journal records each file before it is replaced as a whole. A process that is killed leaves every other row intact,
and the same request given again completes the erasure and counts all of it. Servers may keep running. Proofs are
signed, numbered, and each names the one before it.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO

import msgspec
from msgspec.structs import replace

from headway.core.config import parse_age
from headway.core.erasure import Erased, Erasure
from headway.core.errors import ConfigError, DataError, Refused, StoreError, StoreUnavailable
from headway.core.record import Record
from headway.core.renamed import current_form
from headway.core.settings.store import StoreSection
from headway.core.training import ShadowModel
from headway.data.personal.policy import HashKey, load_hash_key
from headway.data.settings.data import DataSection
from headway.monitoring.erasure.files import AffectedFile, ErasureTarget, file_digest
from headway.monitoring.erasure.proofs import load_erasures, next_in_chain, save_proof
from headway.monitoring.erasure.row_stores import Reach, open_row_stores, search_stores
from headway.registry.project import Project
from headway.registry.settings.record import RecordSection
from headway.registry.sign import load_publisher
from headway.serving.settings.serve import ServeSection
from headway.storage import atomic, traffic

_DOMAIN = "headway forget\0"  # part of the hash in stored proofs
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
    flushed their log buffers. One process at a time erases, on all machines that share the records, because each proof
    names the one before it. The proof names a store that does not answer as not reached: run it again later. Raises
    ConfigError without a publisher key, Refused during a legal hold, and StoreError while another erasure is not done.
    """
    _require_one_criterion(request)
    _expect_no_hold(project)
    publisher, secret = load_publisher(project.registry.publisher_key), load_hash_key(project.config)
    target, header = _target_of(request, secret)
    state, stores, reach = project.config.state, open_row_stores(project), Reach()
    with (
        project.lease("erase") as lease,
        open_erasure_journal(state, header) as journal,
        traffic.rewriting(state, wait=True),
        ExitStack() as locks,
    ):
        if any((erasure.begun_at, erasure.subject) == _mark(journal.header) for erasure in load_erasures(project)):
            journal.begin(header)
        for store in stores:
            reach.attempt(store, partial(store.lock, locks))
        for passes in range(2 if target.keys else 1):
            if passes:
                wait(2 * project.config[ServeSection].log_flush_s + _SLACK_S)
            for store in stores:
                reach.attempt(store, partial(store.erase, target, journal))
        resumed = replace(journal.header, older_than=header.older_than)
        erasure = _erasure_record(project, request, resumed, _erased_by_location(project, journal, secret))
        searched, residuals = search_stores(stores, target.keys, reach) if target.keys else ((), ())
        if not target.keys:
            searched = tuple(reach.searched(store, 0) for store in stores if store.name in reach.failures)
        lease.expect_held()
        erasure = replace(erasure, searched=searched, residuals=residuals)
        save_proof(project, erasure, publisher)
        journal.end()
    return erasure


def _expect_no_hold(project: Project) -> None:
    """Raise Refused while a legal hold forbids to delete anything."""
    if hold := project.config[RecordSection].legal_hold:
        raise Refused(
            f"nothing is erased: a legal hold is declared: {hold}",
            where="headway.toml [record] legal_hold",
            hint="remove the setting when the hold has ended",
        )


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


def _erased_by_location(project: Project, journal: ErasureJournal, secret: HashKey) -> tuple[Erased, ...]:
    """Summarize what was erased by location.

    Files are named by keyed hashes, since one of few rows could be guessed.
    """
    ordered = sorted(journal.touched.values(), key=lambda file: (file.location, file.path))
    found = []
    for location, group in groupby(ordered, key=lambda file: file.location):
        files = list(group)
        was = "".join(f"{file.path} {file.before}\n" for file in files)
        now = "".join(f"{file.path} {file_digest(_path_of(file, project.config.state))}\n" for file in files)
        rows = sum(file.rows for file in files)
        found.append(
            Erased(location=location, rows=rows, files=len(files), before=secret.hash(was), after=secret.hash(now))
        )
    return tuple(found)


def _path_of(file: AffectedFile, state: Path) -> Path:
    """Return the path of a file in the state folder, or of its copy there if machines share it."""
    path = state / file.path
    return path if path.exists() else state / traffic.CACHE / file.path


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
        message=(*(_model_notes(project) if request.key else ()), *BEYOND_REACH, *_notes_of_shared_logs(project)),
    )


def _notes_of_shared_logs(project: Project) -> tuple[str, ...]:
    return (
        ("not reached: segments that another machine has not shipped yet",) if project.config[StoreSection].logs else ()
    )


def _model_notes(project: Project) -> tuple[str, ...]:
    """Return where traces of a key may remain that no program can remove."""
    config, made = project.config, len(list((project.config.state / "releases").glob("*/*/")))
    models = (
        f"signed releases made before: {made:,}; their models keep what they learned from these rows until they are"
    )
    source = f"{config[DataSection].source or 'the source'} is not changed: remove the rows there"
    shadows = project.count(ShadowModel)
    notes = [f"shadow models of privacy attacks that stay in the store: {shadows:,}"] if shadows else []
    return (*((f"{models} retrained without them (headway retrain)",) if made else ()), *notes, source)


JOURNAL = "forgetting.jsonl"  # the name of 0.1, whose unfinished erasures are resumed


class JournalHeader(Record, frozen=True, kw_only=True):
    """Purpose of an erasure: `subject` (a keyed hash) or `older_than` (a time), and when it was begun."""

    subject: str
    older_than: str
    begun_at: str


class ErasureJournal:
    """An erasure in progress: its purpose, and every file that it changed or was about to change."""

    def __init__(self, file: IO[bytes], path: Path, header: JournalHeader) -> None:
        self._file = file
        lines = _complete_lines(file.read())
        self.header = msgspec.json.decode(lines[0], type=JournalHeader) if lines else header
        if (self.header.subject, bool(self.header.older_than)) != (header.subject, bool(header.older_than)):
            what = f"those older than {self.header.older_than}" if self.header.older_than else "those of another key"
            raise StoreError(
                f"an erasure of rows, {what}, was started at {self.header.begun_at} and is not done",
                where=str(path),
                hint="run its command again to resume it",
            )
        self.touched = {affected.path: affected for affected in (_decode_file(line) for line in lines[1:])}
        if not lines:
            self.begin(header)

    def begin(self, head: JournalHeader) -> None:
        """Start over, with no file changed."""
        self._file.truncate(0)
        self.header, self.touched = head, {}
        self._add(head)

    @contextmanager
    def note(self, file: AffectedFile) -> Iterator[None]:
        """Record that the block changes a file, synced to disk before it does; the first note of a file is kept.

        A file does not count as changed if its store stops answering in the block.
        """
        is_first = file.path not in self.touched
        if is_first:
            self.touched[file.path] = file
            self._add(file)
        try:
            yield
        except StoreUnavailable:
            if is_first:
                del self.touched[file.path]
            raise

    def end(self) -> None:
        """Empty the journal once its content is saved elsewhere; the file stays, because it is the lock."""
        self._file.truncate(0)
        os.fsync(self._file.fileno())

    def _add(self, record: Record) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_erasure_journal(state: Path, header: JournalHeader) -> Iterator[ErasureJournal]:
    """Open the journal of this erasure, new or resumed; raises StoreError while another one is in progress."""
    path = state / JOURNAL
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError("another process is erasing rows", where=str(path), hint="wait for it") from error
        file.seek(0)
        atomic.sync(state)
        yield ErasureJournal(file, path, header)


def _decode_file(line: bytes) -> AffectedFile:
    return msgspec.convert(current_form(msgspec.json.decode(line), AffectedFile), AffectedFile)


def _complete_lines(content: bytes) -> list[bytes]:
    """Return the lines that were written completely."""
    return content[: content.rfind(b"\n") + 1].splitlines()
