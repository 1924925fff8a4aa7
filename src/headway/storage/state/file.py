"""State as numbered files in a folder, for machines that share a file system."""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path

import msgspec

from headway.core.contracts import Lease, SavedRecord, SavedUpdate, Signed
from headway.core.errors import StoreError, StoreUnavailable
from headway.core.record import digest_of, read
from headway.core.release import PointerUpdate
from headway.storage import atomic
from headway.storage.addresses import folder_of
from headway.storage.state import _leases

ADDRESS = "file:///FOLDER"
FORMAT = 1
ABANDONED_S, MAX_LABEL_BYTES = 3600, 8192
_FORMAT_FILE, _UNFINISHED = "format", "unfinished"
_UPDATES, _RECORDS, _EVALUATIONS = "updates", "records", "evaluations"
_OWN = {_FORMAT_FILE, _UNFINISHED, _UPDATES, _RECORDS, _EVALUATIONS, _leases.FOLDER}
_AWAY = {errno.ENOENT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EHOSTDOWN, errno.EHOSTUNREACH}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WITHOUT_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}

Label = tuple[str, str, str]
_LABEL = msgspec.json.Decoder(Label)


class NumberedFiles:
    """`<folder>/updates/0000000001`, `records/...` and `evaluations/...`: files that are created once and never change.

    Creating the next number is the compare-and-swap. Of all processes that try, on one machine or several, the file
    system lets one succeed. A file is complete and on disk before it has its number.
    """

    def __init__(self, address: Path | str) -> None:
        self._folder = folder_of(str(address))
        self._updates, self._records, self._evaluations = (
            _Sequence(self._folder / name) for name in (_UPDATES, _RECORDS, _EVALUATIONS)
        )
        with self._errors():
            if not (self._folder / _FORMAT_FILE).exists():
                self._prepare()
            found = int((self._folder / _FORMAT_FILE).read_text())
        if found > FORMAT:
            raise StoreError(
                f"the state has format {found}, this headway reads up to {FORMAT}",
                where=str(self._folder),
                hint="pip install --upgrade headway",
            )

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def append(self, signed: Signed) -> bool:
        """Append an update if its pointer and the chain are where it expects them; see `State.append`."""
        move = read(PointerUpdate, signed.content)

        def is_due() -> bool:
            end, last = self.last(), self.last(move.name, move.pointer)
            move.expect_after(read(PointerUpdate, last.content) if last else None)
            return move.previous == (digest_of(end.content) if end else "")

        label = (move.name, move.pointer, str(len(signed.content)))
        return self._create(self._updates, label, signed.content + signed.signature, is_due=is_due) > 0

    def updates(self, name: str = "", pointer: str = "", *, since: int = 1) -> list[Signed]:
        """Return the pointer updates, oldest first; see `State.updates`."""
        with self._errors():
            return [self._signed(number) for number in self._updates.find(name, pointer) if number >= since]

    def last(self, name: str = "", pointer: str = "") -> Signed | None:
        """Return the last of `updates` without reading the others."""
        with self._errors():
            number = next(self._updates.newest_first(name, pointer), 0)
            return self._signed(number) if number else None

    def recent_updates(
        self, name: str = "", pointer: str = "", *, limit: int = 100, before: int = 0
    ) -> list[SavedUpdate]:
        """Return the last of `updates`, newest first; see `State.recent_updates`."""
        with self._errors():
            numbers = self._updates.newest_first(name, pointer, before=before)
            return [SavedUpdate(number, self._signed(number)) for number in islice(numbers, limit)]

    def save(self, kind: str, content: bytes, *, name: str) -> str:
        """Save the bytes of a record under a name and return their digest; saving them again changes nothing."""
        label = (kind, name, digest_of(content))
        self._create(self._records, label, content, is_due=lambda: not self._records.has(label))
        return label[2]

    def records(self, kind: str, *, name: str = "", digest: str = "") -> list[bytes]:
        """Return the records of a kind, oldest first: all, or those of a name, or the one of a digest."""
        with self._errors():
            return [self._records.content(number) for number in self._records.find(kind, name, digest)]

    def latest(self, kind: str, *, name: str) -> bytes | None:
        """Return the last record of a kind and name, or None."""
        with self._errors():
            number = self._records.last(kind, name)
            return self._records.content(number) if number else None

    def recent(self, kind: str, *, name: str = "", limit: int = 100, before: int = 0) -> list[SavedRecord]:
        """Return the last records of a kind, newest first; see `State.recent`."""
        with self._errors():
            numbers, labels = self._records.newest_first(kind, name, before=before), self._records.labels()
            return [
                SavedRecord(number, *labels[number - 1][:2], self._records.content(number))
                for number in islice(numbers, limit)
            ]

    def count(self, kind: str, *, name: str = "") -> int:
        """Return the number of records of a kind, or of a kind and name."""
        with self._errors():
            return sum(1 for _ in self._records.find(kind, name))

    def count_evaluation(self, name: str, dataset: str) -> int:
        """Count one more evaluation of the `test` period of a dataset; return how many there were."""
        number = self._create(self._evaluations, (name, dataset, ""), b"", is_due=lambda: True)
        with self._errors():
            return sum(found <= number for found in self._evaluations.find(name, dataset))

    def test_evaluations(self, name: str, dataset: str) -> int:
        """Return how often the `test` period of a dataset was evaluated for a name."""
        return self.all_evaluations().get((name, dataset), 0)

    def all_records(self, *, after: int = 0, limit: int = 100) -> list[SavedRecord]:
        """Return records of every kind and name, oldest first; see `State.all_records`."""
        with self._errors():
            labels = self._records.labels()[after : after + limit]
            return [
                SavedRecord(number, kind, name, self._records.content(number))
                for number, (kind, name, _) in enumerate(labels, after + 1)
            ]

    def all_evaluations(self) -> dict[tuple[str, str], int]:
        """Return the number of evaluations by name and dataset."""
        with self._errors():
            return dict(Counter((name, dataset) for name, dataset, _ in self._evaluations.labels()))

    def lease(self, name: str) -> AbstractContextManager[Lease]:
        """Hold the lease of a name by the lock of a file; see `State.lease`."""
        return _leases.file_lease(self._folder, name)

    def _signed(self, number: int) -> Signed:
        content, size = self._updates.content(number), int(self._updates.labels()[number - 1][2])
        return Signed(content=content[:size], signature=content[size:])

    def _create(self, sequence: _Sequence, label: Label, content: bytes, *, is_due: Callable[[], bool]) -> int:
        """Create the next file of a sequence, as long as it is due after all before it; return its number, or 0."""
        with self._errors():
            number = _due_number(sequence, is_due)
            if not number:
                return number
            with self._written(msgspec.json.encode(label) + b"\n" + content) as path:
                while number and not sequence.add(number, path):
                    number = _due_number(sequence, is_due)
            return number

    @contextmanager
    def _written(self, content: bytes) -> Iterator[Path]:
        """Write a file without a number, and remove it at the end, with those that killed processes left."""
        path = self._folder / _UNFINISHED / secrets.token_hex(8)
        try:
            atomic.create(path, content)
            _remove_abandoned(path.parent, now=path.stat().st_mtime)  # by the clock of the file system
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _prepare(self) -> None:
        """Create what lies in the folder, last of all the format; a folder that is not there may be unmounted."""
        if strangers := sorted({path.name for path in self._folder.iterdir()} - _OWN):
            raise StoreError(
                f"the folder of the state holds other files: {', '.join(strangers[:3])}",
                where=str(self._folder),
                hint="name an empty folder in [store] state",
            )
        for name in (_UNFINISHED, _UPDATES, _RECORDS, _EVALUATIONS):
            (self._folder / name).mkdir(exist_ok=True)
        with self._written(b"%d\n" % FORMAT) as path, suppress(FileExistsError):
            os.link(path, self._folder / _FORMAT_FILE)
        atomic.sync(self._folder)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            where, reason = str(error.filename or self._folder), error.strerror
            if error.errno in _AWAY:
                raise StoreUnavailable(
                    f"the folder of the state cannot be reached: {reason}",
                    where=where,
                    hint="create the folder, or mount its file system",
                ) from error
            hint = "give this user the right to read and write there"
            if error.errno in _FULL:
                hint = "free space there"
            elif error.errno in _WITHOUT_LINKS:
                hint = "name a folder of a file system with hard links"
            raise StoreError(f"the state cannot be read or written: {reason}", where=where, hint=hint) from error
        except ValueError as error:
            raise _damaged(self._folder) from error


def _due_number(sequence: _Sequence, is_due: Callable[[], bool]) -> int:
    """Return the next number of a sequence, or 0 if the file is not due.

    The number is taken before `is_due` looks. So if another file comes in between, it has this number.
    """
    number = len(sequence.labels()) + 1
    return number if is_due() else 0


def _remove_abandoned(folder: Path, *, now: float) -> None:
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < now - ABANDONED_S:
                path.unlink()


class _Sequence:
    """Files 1, 2, 3, ... of a folder: each has a line with its label, three words, and then its content."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._labels: list[Label] = []
        self._last: dict[tuple[str, str], int] = {}
        self._known: set[Label] = set()

    def labels(self) -> list[Label]:
        """Return the labels of all files, in their order; only files that are new are opened."""
        with self._lock:
            count = 0
            if self._labels:
                self._folder.stat()  # without the folder a file that is absent means nothing
            else:
                count = max((int(path.name) for path in self._folder.iterdir() if path.name.isdecimal()), default=0)
            while label := self._label(len(self._labels) + 1):
                self._labels.append(label)
                self._last[label[:2]] = len(self._labels)
                self._known.add(label)
            if len(self._labels) < count:
                raise _damaged(self._path(len(self._labels) + 1))
            return self._labels

    def find(self, *wanted: str) -> Iterator[int]:
        """Yield the numbers of the files about these words, oldest first; an empty word matches any."""
        return self._find(wanted, range(1, len(self.labels()) + 1))

    def newest_first(self, *wanted: str, before: int = 0) -> Iterator[int]:
        """Yield the numbers of the files about these words, newest first; with `before`, those below that number."""
        last = len(self.labels())
        return self._find(wanted, range(min(before - 1, last) if before else last, 0, -1))

    def _find(self, wanted: Sequence[str], numbers: range) -> Iterator[int]:
        for number in numbers:
            if all(word in ("", met) for word, met in zip(wanted, self._labels[number - 1], strict=False)):
                yield number

    def last(self, first: str, second: str) -> int:
        """Return the number of the last file about these words, or 0."""
        self.labels()
        return self._last.get((first, second), 0)

    def has(self, label: Label) -> bool:
        """Return whether there is a file with a label."""
        self.labels()
        return label in self._known

    def content(self, number: int) -> bytes:
        """Return the content of a file."""
        with open(self._path(number), "rb") as file:
            return file.read().partition(b"\n")[2]

    def add(self, number: int, path: Path) -> bool:
        """Give a file a number, on disk at return; False if another file has it."""
        target = Path(self._path(number))
        try:
            target.hardlink_to(path)
        except FileExistsError:
            if not target.samefile(path):  # NFS may ask twice, and report our own link as that of another
                return False
        atomic.sync(self._folder)
        return True

    def _label(self, number: int) -> Label | None:
        """Return the label of a file, None if it does not exist."""
        path = self._path(number)
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            label: Label = _LABEL.decode(os.read(descriptor, MAX_LABEL_BYTES).partition(b"\n")[0])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _damaged(path) from error
        finally:
            os.close(descriptor)
        return label

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:010d}"


def _damaged(path: Path | str) -> StoreError:
    return StoreError("a file of the state is missing or damaged", where=str(path), hint="restore it from a backup")


plugin = NumberedFiles
