"""The journal of a scoring run: finished parts on disk, so that a killed run resumes after the last one."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote

import msgspec

import headway
from headway.core import record
from headway.core.batch import Refusal, ScoringOptions
from headway.core.errors import DataError, StoreError
from headway.core.record import Record, StoredRecord, digest_of
from headway.registry.bundle import Bundle
from headway.storage import atomic

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


class Terms(StoredRecord, frozen=True, kw_only=True):
    """All that decides what an answer says: another release, file or option would make it another one.

    `release` is its digest. Of the file there are its name, its size, when it was changed last (ns since 1970), and a
    digest of 64 samples of 64 KiB that lie evenly in it: to read all of it again would take as long as to score it.
    """

    name: str
    release: str
    file: str
    size_bytes: int
    changed_ns: int
    samples: str
    keep: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    headway: str = ""

    def differences(self, other: Terms) -> list[str]:
        """What is not as in other terms, in words."""
        fields = [field for field in self.__struct_fields__ if getattr(self, field) != getattr(other, field)]
        return [f"{field} is {getattr(self, field)!r}, was {getattr(other, field)!r}" for field in fields]


def describe_terms(bundle: Bundle, path: Path, wanted: ScoringOptions) -> Terms:
    """The terms on which a release answers a file as it is now; raises DataError where there is no such file."""
    try:
        if not path.is_file():
            raise DataError(f"no file '{path.name}'", where=str(path), hint="a parquet, csv or Arrow file on disk")
        found = path.stat()
        samples = _samples(path, found.st_size)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    return Terms(
        name=bundle.release.name,
        release=bundle.digest,
        file=path.name,
        size_bytes=found.st_size,
        changed_ns=found.st_mtime_ns,
        samples=samples,
        keep=wanted.keep,
        missing=wanted.missing,
        headway=headway.__version__,
    )


def _samples(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for number in range(_SAMPLES):
            file.seek(max(size - _SAMPLE_BYTES, 0) * number // (_SAMPLES - 1))
            digest.update(file.read(_SAMPLE_BYTES))
    return f"sha256:{digest.hexdigest()}"


_TERMS, _LINES = "terms.json", "journal.jsonl"
_REFUSED = ("row", "column", "value", "reason")

Join = Callable[[Sequence[Path], Path], None]


class Part(Record, frozen=True, kw_only=True):
    """A part that is whole: the row after its last one, and where the file goes on.

    `refused` counts its rows without an answer, `columns` what they were refused for; `reasons` is the digest of that.
    """

    end: int
    position: int
    digest: str
    refused: int = 0
    columns: dict[str, int] = {}
    reasons: str = ""


class Receipt(StoredRecord, frozen=True, kw_only=True):
    """What was answered, and on which terms; `digest` is that of `OUT`, `columns` counts refusals by column."""

    terms: Terms
    rows: int
    refused: int
    columns: dict[str, int]
    digest: str


def load_receipt(out: Path, terms: Terms) -> Receipt | None:
    """The receipt of an answer that is there, whole; None where there is none yet.

    Raises StoreError where it is the answer to something else, or is no longer what was written.
    """
    file = _sibling(out, ".receipt.json")
    if not (file.is_file() and out.is_file()):
        return None
    receipt = record.read(Receipt, file.read_bytes())
    hint = f"rm {quote(str(out))} {quote(str(file))}, or another name for the answer"
    if receipt.terms != terms:
        raise StoreError(f"'{out.name}' answers something else: {_format_differences(terms, receipt.terms)}", hint=hint)
    if receipt.digest != _digest(out):
        raise StoreError(f"'{out.name}' was changed after it was written", where=str(out), hint=hint)
    shutil.rmtree(_sibling(out, ".parts"), ignore_errors=True)
    return receipt


@contextmanager
def open_journal(out: Path, terms: Terms) -> Iterator[Journal]:
    """The journal of an answer, begun or taken up; no other process has it meanwhile.

    Raises StoreError where it was begun on other terms, where another process is at it, or where `out` is there.
    """
    folder = _sibling(out, ".parts")
    try:
        atomic.make_folder(folder)
        lock = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"cannot write beside '{out.name}': {error.strerror}", where=str(folder)) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _check_terms(folder, out, terms)
        yield Journal(out, folder, terms)
    except BlockingIOError as error:
        raise StoreError(f"another process is writing '{out.name}'", where=str(folder)) from error
    finally:
        os.close(lock)


class Journal:
    """The parts of one answer, of which `parts` are whole; one thread at a time adds to them."""

    def __init__(self, out: Path, folder: Path, terms: Terms) -> None:
        self.parts: list[Part] = []
        self._out, self._folder, self._terms = out, folder, terms
        for part in _lines(folder / _LINES):
            if not self._is_whole(len(self.parts), part):
                break
            self.parts.append(part)
        atomic.write(folder / _LINES, b"".join(map(_line, self.parts)))

    @property
    def end(self) -> int:
        """The first row that is in no part."""
        return self.parts[-1].end if self.parts else 0

    @property
    def position(self) -> int:
        """Where that row lies in the file."""
        return self.parts[-1].position if self.parts else 0

    @property
    def refused(self) -> int:
        """Rows without an answer, so far."""
        return sum(part.refused for part in self.parts)

    def add(self, content: bytes, refusals: Sequence[Refusal], *, end: int, position: int) -> None:
        """Keep the next part and why some of its rows are refused; at return it is on disk, whatever comes."""
        number, reasons = len(self.parts), _csv(refusals)
        part = Part(
            end=end,
            position=position,
            digest=digest_of(content),
            refused=len({each.row for each in refusals}),
            columns=dict(Counter(each.column or "(row)" for each in refusals)),
            reasons=digest_of(reasons) if reasons else "",
        )
        atomic.write(self._part(number), content)
        if reasons:
            atomic.write(self._reasons(number), reasons)
        with (self._folder / _LINES).open("ab") as lines:
            lines.write(_line(part))
            lines.flush()
            os.fsync(lines.fileno())
        self.parts.append(part)

    def finish(self, join: Join) -> Receipt:
        """Make the answer of its parts, and take them away; raises StoreError where another file took its place."""
        numbers = range(len(self.parts))
        whole = self._folder / f"whole{self._out.suffix}"
        try:
            join([self._part(number) for number in numbers], whole)
            receipt = self._receipt(_digest(whole))
            if self._out.exists() and _digest(self._out) != receipt.digest:
                raise StoreError(f"'{self._out.name}' came there meanwhile", where=str(self._out), hint="move it away")
            if receipt.refused:
                _move(self._refusals(), _sibling(self._out, ".refused.csv"))
            _move(whole, self._out)
        except OSError as error:
            raise StoreError(f"cannot write '{self._out.name}': {error.strerror}", where=str(self._out)) from error
        atomic.write(_sibling(self._out, ".receipt.json"), record.write(receipt))
        shutil.rmtree(self._folder, ignore_errors=True)
        return receipt

    def _refusals(self) -> Path:
        """The file of all that was refused."""
        whole = self._folder / "refused.csv"
        with whole.open("wb") as file:
            file.write(",".join(_REFUSED).encode() + b"\n")
            for number, part in enumerate(self.parts):
                if part.reasons:
                    file.write(self._reasons(number).read_bytes())
        return whole

    def _receipt(self, digest: str) -> Receipt:
        columns = sum((Counter(part.columns) for part in self.parts), Counter[str]())
        return Receipt(terms=self._terms, rows=self.end, refused=self.refused, columns=dict(columns), digest=digest)

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06}{self._out.suffix}"

    def _reasons(self, number: int) -> Path:
        return self._folder / f"{number:06}.refused.csv"

    def _is_whole(self, number: int, part: Part) -> bool:
        """Whether what a line speaks of is there as it was written."""
        with suppress(FileNotFoundError):
            reasons = not part.reasons or _digest(self._reasons(number)) == part.reasons
            return reasons and _digest(self._part(number)) == part.digest
        return False


def _check_terms(folder: Path, out: Path, terms: Terms) -> None:
    """Write the terms of an answer that begins; raise StoreError where it was begun on others, or cannot begin here."""
    file = folder / _TERMS
    if file.is_file():
        before = record.read(Terms, file.read_bytes())
        if before != terms:
            raise StoreError(
                f"'{out.name}' was begun on other terms: {_format_differences(terms, before)}",
                where=str(folder),
                hint=f"the command it was begun with, as {before.name}@{before.release.removeprefix('sha256:')[:12]},"
                f" or rm -r {quote(str(folder))} to begin anew",
            )
        return
    for path in (out, _sibling(out, ".refused.csv")):
        if path.exists():
            raise StoreError(f"there is a file '{path.name}' already", where=str(path), hint="give another name")
    if any(not each.name.startswith(".") for each in folder.iterdir()):
        raise StoreError(f"the folder '{folder.name}' holds something else", where=str(folder), hint="move it away")
    atomic.write(file, record.write(terms))


def _lines(file: Path) -> Iterator[Part]:
    """The lines of a journal, up to one that was not written to its end."""
    content = file.read_bytes() if file.is_file() else b""
    for line in content.split(b"\n"):
        try:
            yield msgspec.json.decode(line, type=Part)
        except msgspec.MsgspecError:
            return


def _line(part: Part) -> bytes:
    return msgspec.json.encode(part) + b"\n"


def _csv(refusals: Sequence[Refusal]) -> bytes:
    text = io.StringIO(newline="")
    rows = [(each.row, each.column, each.value, each.reason) for each in sorted(refusals, key=lambda each: each.row)]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _move(file: Path, to: Path) -> None:
    """Rename a file that is on disk by then."""
    with file.open("rb") as written:
        os.fsync(written.fileno())
    file.replace(to)
    atomic.sync(to.parent)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _sibling(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _format_differences(terms: Terms, before: Terms) -> str:
    return "; ".join(terms.differences(before))
