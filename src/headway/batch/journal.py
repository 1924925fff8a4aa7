"""The journal of a scoring run: finished parts on disk, so that a killed run resumes after the last one."""

from __future__ import annotations

import csv
import fcntl
import hashlib
import io
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from shlex import quote

import msgspec

import headway
from headway.core import record
from headway.core.batch import Refusal, ScoringOptions
from headway.core.errors import DataError, StoreError
from headway.core.record import Record, StoredRecord, canonical, digest_of
from headway.registry.bundle import Bundle
from headway.storage import atomic

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16
_LOCK_POLL_S = 0.05


class Terms(StoredRecord, frozen=True, kw_only=True):
    """Release, file and options of a scoring run; a run resumes only if they are the same.

    `release` is a digest. `samples` is a digest of 64 evenly spaced samples of 64 KiB: reading the whole file again
    would take as long as scoring it. `changed_ns` is the modification time in ns since 1970.
    """

    name: str
    release: str
    file: str
    size_bytes: int
    changed_ns: int
    samples: str
    keep: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    spreadsheet_safe: bool = False
    headway: str = ""
    withdrawn: tuple[str, ...] = ()

    def differences(self, other: Terms) -> list[str]:
        """List the fields that differ from other terms."""
        fields = [field for field in self.__struct_fields__ if getattr(self, field) != getattr(other, field)]
        return [f"{field} is {getattr(self, field)!r}, was {getattr(other, field)!r}" for field in fields]


def describe_terms(bundle: Bundle, path: Path, options: ScoringOptions, *, file: str = "") -> Terms:
    """Return the terms of scoring a file as it is now; raise DataError if the file is missing.

    `file` is the name that they show, by default that of the file.
    """
    try:
        if not path.is_file():
            raise DataError(f"no file '{path.name}'", where=str(path), hint="a parquet, csv or Arrow file on disk")
        found = path.stat()
        samples = _samples(path, found.st_size)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    return terms_of(
        bundle, options, file=file or path.name, size_bytes=found.st_size, changed_ns=found.st_mtime_ns, samples=samples
    )


def terms_of(
    bundle: Bundle, options: ScoringOptions, *, file: str, size_bytes: int, changed_ns: int, samples: str
) -> Terms:
    """Return the terms of scoring a source that is described by its name, size, time and samples."""
    return Terms(
        name=bundle.release.name,
        release=bundle.digest,
        file=file,
        size_bytes=size_bytes,
        changed_ns=changed_ns,
        samples=samples,
        keep=options.keep,
        missing=options.missing,
        spreadsheet_safe=options.spreadsheet_safe,
        headway=headway.__version__,
        withdrawn=options.withdrawn,
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
    """Finished part: the row after its last one, and the position in the source where the next begins.

    `refused` counts rows without an answer, `columns` the refusals by column; `reasons` is the digest of the refusals.
    """

    end: int
    position: int
    digest: str
    refused: int = 0
    columns: dict[str, int] = {}
    reasons: str = ""


class FileResult(Record, frozen=True, kw_only=True):
    """Output of one file of a folder; `samples` identifies what was read as in Terms, `digest` what was written."""

    file: str
    size_bytes: int
    samples: str
    rows: int
    refused: int
    digest: str


class Receipt(StoredRecord, frozen=True, kw_only=True):
    """Result of a finished run; `digest` is that of the output, `columns` counts refusals by column.

    `files` are the results of a folder, in order of name; the digest is then that of their names and digests.
    """

    terms: Terms
    rows: int
    refused: int
    columns: dict[str, int]
    digest: str
    files: tuple[FileResult, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputFiles:
    """Output file, and the path whose name begins those of its journal, receipt and list of refused rows."""

    out: Path
    base: Path

    @classmethod
    def of(cls, out: Path) -> OutputFiles:
        """Return an output file with its journal next to it."""
        return cls(out, out)

    def sibling(self, suffix: str) -> Path:
        """Return the file or folder with that suffix."""
        return _sibling(self.base, suffix)


def load_receipt(files: OutputFiles, terms: Terms) -> Receipt | None:
    """Return the receipt of a finished output; None if there is none.

    Raises
    ------
    StoreError
        If the output is that of another run, or was changed after it was written.
    """
    out, file = files.out, files.sibling(".receipt.json")
    if not (file.is_file() and out.exists()):
        return None
    receipt = record.read(Receipt, file.read_bytes())
    hint = f"rm {'-r ' if out.is_dir() else ''}{quote(str(out))} {quote(str(file))}, or choose another output file"
    if receipt.terms != terms:
        raise StoreError(
            f"'{out.name}' is the output of another run: {_format_differences(terms, receipt.terms)}", hint=hint
        )
    if receipt.digest != (_folder_digest(out, receipt) if out.is_dir() else _digest(out)):
        raise StoreError(f"'{out.name}' was changed after it was written", where=str(out), hint=hint)
    shutil.rmtree(files.sibling(".parts"), ignore_errors=True)
    return receipt


@contextmanager
def open_scoring_journal(files: OutputFiles, terms: Terms, *, wait_s: float = 0.0) -> Iterator[Journal]:
    """Open the journal of an output, new or resumed, and lock it; another process that has it is waited for.

    Raises
    ------
    StoreError
        If it was started with other terms, another process has it, or `out` exists already.
    """
    with _locked_folder(files, terms, wait_s) as folder:
        yield Journal(files, folder, terms)


@contextmanager
def open_folder_journal(out: Path, terms: Terms, names: Sequence[str]) -> Iterator[FolderJournal]:
    """Open the journal of an output folder with files of these names, new or resumed, and lock it.

    Raises
    ------
    StoreError
        As `open_scoring_journal`.
    """
    with _locked_folder(OutputFiles.of(out), terms, 0.0) as folder:
        yield FolderJournal(out, folder, terms, names)


@contextmanager
def _locked_folder(files: OutputFiles, terms: Terms, wait_s: float) -> Iterator[Path]:
    folder, name = files.sibling(".parts"), files.out.name
    with lock_folder(folder, output=name, wait_s=wait_s):
        _check_terms(folder, files, terms)
        yield folder


@contextmanager
def lock_folder(folder: Path, *, output: str, wait_s: float = 0.0) -> Iterator[None]:
    """Create and lock the folder in which an output is made; `wait_s` is the time to wait for another process.

    Raises StoreError if another process still has it, or the folder cannot be created.
    """
    try:
        atomic.make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"cannot write '{output}': {error.strerror}", where=str(folder)) from error
    try:
        _lock(descriptor, output, folder, wait_s)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, output: str, folder: Path, wait_s: float) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"another process is writing '{output}'",
                    where=str(folder),
                    hint="wait until it ends, or name another output",
                ) from error
        time.sleep(_LOCK_POLL_S)


class Journal:
    """Finished parts of one output; only one thread adds to them."""

    def __init__(self, files: OutputFiles, folder: Path, terms: Terms) -> None:
        self.parts: list[Part] = []
        self._files, self._out, self._folder, self._terms = files, files.out, folder, terms
        for part in _lines(folder / _LINES):
            if not self._is_whole(len(self.parts), part):
                break
            self.parts.append(part)
        atomic.write(folder / _LINES, b"".join(map(_line, self.parts)))

    @property
    def end(self) -> int:
        """First row that is in no part."""
        return self.parts[-1].end if self.parts else 0

    @property
    def position(self) -> int:
        """Position of that row in the source."""
        return self.parts[-1].position if self.parts else 0

    @property
    def refused(self) -> int:
        """Rows without an answer so far."""
        return sum(part.refused for part in self.parts)

    def add(self, content: bytes, refusals: Sequence[Refusal], *, end: int, position: int) -> None:
        """Write the next part and its refusals; both are on disk when it returns.

        The line in the journal is last. A part that a crash left incomplete is found by its digest.
        """
        number, reasons = len(self.parts), _csv(refusals)
        part = Part(
            end=end,
            position=position,
            digest=digest_of(content),
            refused=len({refusal.row for refusal in refusals}),
            columns=dict(Counter(refusal.column or "(row)" for refusal in refusals)),
            reasons=digest_of(reasons) if reasons else "",
        )
        _create(self._part(number), content)
        if reasons:
            _create(self._reasons(number), reasons)
        with (self._folder / _LINES).open("ab") as lines:
            lines.write(_line(part))
            lines.flush()
            os.fsync(lines.fileno())
        self.parts.append(part)

    def finish(self, join: Join) -> Receipt:
        """Join the parts to the output and remove them; raise StoreError if another file took its place."""
        numbers = range(len(self.parts))
        joined = self._folder / f"whole{self._out.suffix}"
        try:
            join([self._part(number) for number in numbers], joined)
            with ThreadPoolExecutor(1) as flushing:  # which takes as long as the digest
                flushed = flushing.submit(_flush, joined)
                receipt = self._receipt(_digest(joined))
                flushed.result()
            if self._out.exists() and _digest(self._out) != receipt.digest:
                raise _created_during_run(self._out)
            if receipt.refused:
                _move(self._refusals(), self._files.sibling(".refused.csv"))
            atomic.make_folder(self._out.parent)
            _move(joined, self._out)
        except OSError as error:
            raise StoreError(f"cannot write '{self._out.name}': {error.strerror}", where=str(self._out)) from error
        atomic.write(self._files.sibling(".receipt.json"), record.write(receipt))
        shutil.rmtree(self._folder, ignore_errors=True)
        return receipt

    def _refusals(self) -> Path:
        """Write one file with the refusals of all parts."""
        joined = self._folder / "refused.csv"
        with joined.open("wb") as file:
            file.write(",".join(_REFUSED).encode() + b"\n")
            for number, part in enumerate(self.parts):
                if part.reasons:
                    file.write(self._reasons(number).read_bytes())
        return joined

    def _receipt(self, digest: str) -> Receipt:
        columns = sum((Counter(part.columns) for part in self.parts), Counter[str]())
        return Receipt(terms=self._terms, rows=self.end, refused=self.refused, columns=dict(columns), digest=digest)

    def _part(self, number: int) -> Path:
        return self._folder / f"{number:06}{self._out.suffix}"

    def _reasons(self, number: int) -> Path:
        return self._folder / f"{number:06}.refused.csv"

    def _is_whole(self, number: int, part: Part) -> bool:
        """Return whether a part is on disk as its line in the journal describes it."""
        with suppress(FileNotFoundError):
            reasons = not part.reasons or _digest(self._reasons(number)) == part.reasons
            return reasons and _digest(self._part(number)) == part.digest
        return False


class FolderJournal:
    """Finished files of one output folder; each has a journal of its own while it is scored."""

    def __init__(self, out: Path, folder: Path, terms: Terms, names: Sequence[str]) -> None:
        self._out, self._folder, self._terms, self._names = out, folder, terms, names
        self._outputs = folder / "files"
        if not out.exists():
            return
        done = all(self.files(name).sibling(".receipt.json").is_file() for name in names)
        if self._outputs.exists() or not done:
            raise _created_during_run(out)
        self._outputs = out  # the run ended between the rename and its receipt

    def files(self, name: str) -> OutputFiles:
        """Return the output of a file, and where its journal lies."""
        return OutputFiles(self._outputs / name, self._folder / "journals" / name)

    def finish(self, receipts: Sequence[Receipt]) -> Receipt:
        """Let the output folder appear, and write its receipt from those of its files, in their order."""
        receipt = _folder_receipt(self._terms, self._names, receipts)
        try:
            if receipt.refused:
                _move(self._refusals(), _sibling(self._out, ".refused.csv"))
            if self._outputs != self._out:
                if self._out.exists():
                    raise _created_during_run(self._out)
                self._outputs.rename(self._out)
                atomic.sync(self._out.parent)
        except OSError as error:
            raise StoreError(f"cannot write '{self._out.name}': {error.strerror}", where=str(self._out)) from error
        atomic.write(_sibling(self._out, ".receipt.json"), record.write(receipt))
        shutil.rmtree(self._folder, ignore_errors=True)
        return receipt

    def _refusals(self) -> Path:
        """Write one list of the refused rows of all files."""
        joined = self._folder / "refused.csv"
        with joined.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file, lineterminator="\n")
            lines.writerow(("file", *_REFUSED))
            for name in self._names:
                lines.writerows((name, *row) for row in self._refused_rows(name))
        return joined

    def _refused_rows(self, name: str) -> Iterator[list[str]]:
        refused = self.files(name).sibling(".refused.csv")
        if refused.is_file():
            with refused.open(newline="", encoding="utf-8") as file:
                yield from islice(csv.reader(file), 1, None)


def _folder_receipt(terms: Terms, names: Sequence[str], receipts: Sequence[Receipt]) -> Receipt:
    results = tuple(
        FileResult(
            file=name,
            size_bytes=one.terms.size_bytes,
            samples=one.terms.samples,
            rows=one.rows,
            refused=one.refused,
            digest=one.digest,
        )
        for name, one in zip(names, receipts, strict=True)
    )
    return Receipt(
        terms=terms,
        rows=sum(one.rows for one in receipts),
        refused=sum(one.refused for one in receipts),
        columns=dict(sum((Counter(one.columns) for one in receipts), Counter[str]())),
        digest=_joint_digest({result.file: result.digest for result in results}),
        files=results,
    )


def _folder_digest(out: Path, receipt: Receipt) -> str:
    """Return the joint digest of the files in an output folder; empty if one is missing."""
    with suppress(OSError):
        return _joint_digest({result.file: _digest(out / result.file) for result in receipt.files})
    return ""


def _joint_digest(digests: Mapping[str, str]) -> str:
    return digest_of(canonical(digests))


def _created_during_run(out: Path) -> StoreError:
    return StoreError(f"'{out.name}' was created during the run", where=str(out), hint="move it away")


def _check_terms(folder: Path, files: OutputFiles, terms: Terms) -> None:
    """Write the terms of a new run, or raise StoreError if the run was started with others or cannot start here."""
    file, out = folder / _TERMS, files.out
    if file.is_file():
        before = record.read(Terms, file.read_bytes())
        if before != terms:
            raise StoreError(
                f"'{out.name}' was started with another release, file or options: {_format_differences(terms, before)}",
                where=str(folder),
                hint=f"the command it was started with, as {before.name}@{before.release.removeprefix('sha256:')[:12]},"
                f" or rm -r {quote(str(folder))} to start again",
            )
        return
    for path in (out, files.sibling(".refused.csv")):
        if path.exists():
            raise StoreError(f"a file '{path.name}' exists already", where=str(path), hint="give another name")
    if any(not path.name.startswith(".") for path in folder.iterdir()):
        raise StoreError(f"the folder '{folder.name}' holds other files", where=str(folder), hint="move it away")
    atomic.write(file, record.write(terms))


def _lines(file: Path) -> Iterator[Part]:
    """Yield the lines of a journal, up to one that was not written completely."""
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
    rows = [
        (refusal.row, refusal.column, refusal.value, refusal.reason)
        for refusal in sorted(refusals, key=lambda item: item.row)
    ]
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _create(path: Path, content: bytes) -> None:
    """Write a file, in place of one that a killed run left; raise StoreError if that fails."""
    try:
        path.unlink(missing_ok=True)
        atomic.create(path, content)
    except OSError as error:
        raise StoreError(f"cannot write '{path.name}': {error.strerror}", where=str(path)) from error


def _move(file: Path, to: Path) -> None:
    """Flush a file to disk, and rename it."""
    _flush(file)
    file.replace(to)
    atomic.sync(to.parent)


def _flush(file: Path) -> None:
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _sibling(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _format_differences(terms: Terms, before: Terms) -> str:
    return "; ".join(terms.differences(before))
