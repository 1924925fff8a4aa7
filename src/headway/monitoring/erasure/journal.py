"""Journal of an erasure: each file is recorded before it is changed, so that a killed erasure is resumed and counted."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from headway.core.errors import StoreError
from headway.core.record import Record
from headway.monitoring.erasure.files import AffectedFile
from headway.storage import atomic

FILE = "forgetting.jsonl"


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
        self.touched = {
            affected.path: affected for affected in (msgspec.json.decode(line, type=AffectedFile) for line in lines[1:])
        }
        if not lines:
            self.begin(header)

    def begin(self, head: JournalHeader) -> None:
        """Start over, with no file changed."""
        self._file.truncate(0)
        self.header, self.touched = head, {}
        self._add(head)

    def note(self, file: AffectedFile) -> None:
        """Record that a file is about to be changed, synced to disk at return; the first note of a file is kept."""
        if file.path not in self.touched:
            self.touched[file.path] = file
            self._add(file)

    def end(self) -> None:
        """Empty the journal once its content is saved elsewhere; the file stays, because it is the lock."""
        self._file.truncate(0)
        os.fsync(self._file.fileno())

    def _add(self, record: Record) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def open_journal(state: Path, header: JournalHeader) -> Iterator[ErasureJournal]:
    """Open the journal of this erasure, new or resumed; raises StoreError while another one is in progress."""
    path = state / FILE
    with path.open("a+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError("another process is erasing rows", where=str(path), hint="wait for it") from error
        file.seek(0)
        atomic.sync(state)
        yield ErasureJournal(file, path, header)


def _complete_lines(content: bytes) -> list[bytes]:
    """Return the lines that were written completely."""
    return content[: content.rfind(b"\n") + 1].splitlines()
