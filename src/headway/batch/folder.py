"""Score a folder of parquet files with Hive partitions: each file on its own, here or on Ray, with one result.

A file is one task, which any process does in the same way: the rows of a batch depend on the file alone, so that the
output is the same to the bit wherever it was scored.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom
from types import MappingProxyType
from typing import Any

import headway
from headway.batch import journal
from headway.batch.journal import FolderJournal, OutputFiles, Receipt, Terms, describe_terms, terms_of
from headway.batch.scorer import Callback, Progress, Scorer, batch_bounds, expect_unchanged, score_chunk, score_file
from headway.core import record
from headway.core.batch import ScoringOptions, is_data_file, parse_partitions
from headway.core.errors import ConfigError, DataError, Refused
from headway.core.plugins import load_format, load_sibling, names
from headway.core.record import canonical, digest_of
from headway.core.release import Release
from headway.core.workers import Compute
from headway.registry.bundle import Bundle, open_release
from headway.storage import addresses

_SUFFIX = "parquet"
_MAX_SAMPLES = 32
_LOCK_WAIT_S = 60.0  # a worker that was lost may write for a while yet


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of a folder: its path in the folder, size and time, and the values of its Hive partitions.

    An object on S3 has an address in place of a path, and the tag of its content in place of a time.
    """

    name: str
    path: Path | str
    size_bytes: int
    partitions: Mapping[str, str | None]
    changed_ns: int = 0
    tag: str = ""


def list_files(source: Path | str) -> list[SourceFile]:
    """List the parquet files of a folder, or of `s3://BUCKET/PREFIX`, by name.

    Files and folders whose name begins with `.` or `_` are left out, as other tools do. Raises DataError if there are
    no files, or their partitions differ.
    """
    found = _objects(source) if isinstance(source, str) else _paths(source)
    files = sorted((file for file in found if is_data_file(file.name, f".{_SUFFIX}")), key=lambda file: file.name)
    if not files:
        raise DataError(f"no .{_SUFFIX} file in '{_name(source)}'", where=str(source), hint="a folder of parquet files")
    first = files[0]
    for file in files:
        if list(file.partitions) != list(first.partitions):
            raise DataError(
                f"'{file.name}' has the partitions {_listed(file)}, '{first.name}' has {_listed(first)}",
                where=str(source),
                hint="one layout for all files, such as year=2024/month=1/part.parquet",
            )
    return files


def _name(source: Path | str) -> str:
    return source if isinstance(source, str) else source.name


def _bucket(address: str) -> Any:
    return load_sibling(addresses.__name__, "s3", reads=f"'{address}'").Bucket(address)


def _objects(address: str) -> Iterator[SourceFile]:
    for found in _bucket(address).objects():
        yield SourceFile(
            name=found.key,
            path=f"{address.rstrip('/')}/{found.key}",
            size_bytes=found.size_bytes,
            tag=found.etag,
            partitions=parse_partitions(found.key.split("/")[:-1]),
        )


def _paths(source: Path) -> Iterator[SourceFile]:
    return (_source_file(source, path) for path in source.rglob(f"*.{_SUFFIX}") if path.is_file())


def _listed(file: SourceFile) -> str:
    return ", ".join(file.partitions) or "none"


def _source_file(source: Path, path: Path) -> SourceFile:
    name = path.relative_to(source)
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    return SourceFile(
        name=name.as_posix(),
        path=path,
        size_bytes=found.st_size,
        changed_ns=found.st_mtime_ns,
        partitions=parse_partitions(name.parts[:-1]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseBytes:
    """A verified release as it is sent to a worker: no key of it, and digests of all that it is."""

    record: bytes
    files: Mapping[str, bytes]
    digest: str
    record_digest: str
    version: str

    @classmethod
    def of(cls, bundle: Bundle) -> ReleaseBytes:
        """Return the bytes of a verified release."""
        content = record.write(bundle.release)
        return cls(
            record=content,
            files=dict(bundle.files),
            digest=bundle.digest,
            record_digest=digest_of(content),
            version=headway.__version__,
        )

    def open(self) -> tuple[Bundle, Scorer]:
        """Open the release after its bytes were checked; raise Refused if they or headway are not the driver's."""
        if self.version != headway.__version__:
            raise Refused(
                f"this worker runs headway {headway.__version__}, the driver {self.version}",
                hint=f"pip install headway=={self.version} on every node",
            )
        if digest_of(self.record) != self.record_digest:
            raise Refused("the record of the release was changed on its way to a worker")
        release = record.read(Release, self.record)
        for name, digest in release.files.items():
            if digest_of(self.files.get(name, b"")) != digest:
                raise Refused(f"{name} of the release was changed on its way to a worker")
        bundle = Bundle(release, MappingProxyType(dict(self.files)), self.digest, "")
        return bundle, Scorer(release=release, engine=open_release(bundle))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTask:
    """One file to score, with the options of its run."""

    file: SourceFile
    files: OutputFiles
    options: ScoringOptions
    threads: int

    def describe(self, bundle: Bundle) -> Terms:
        """Return the terms of the file as it is now; raise DataError if it is gone."""
        if isinstance(self.file.path, Path):
            return describe_terms(bundle, self.file.path, self.options, file=self.file.name)
        root = self.file.path.removesuffix(f"/{self.file.name}")
        found = _bucket(root).head(self.file.name)
        if found is None:
            raise DataError(f"no object '{self.file.name}'", where=self.file.path)
        return terms_of(
            bundle,
            self.options,
            file=self.file.name,
            size_bytes=found.size_bytes,
            changed_ns=0,
            samples=f"etag:{found.etag}",
        )


def score_task(release: ReleaseBytes, task: FileTask) -> Receipt:
    """Score one file in a worker process."""
    if release.digest not in _opened:
        _opened.clear()
        _opened[release.digest] = release.open()
    bundle, scorer = _opened[release.digest]
    return _score(bundle, replace(scorer, withdrawn=task.options.withdrawn), task, callback=lambda _: None)


_opened: dict[str, tuple[Bundle, Scorer]] = {}
"""The release that this worker opened last, by its digest: it scores many files with one."""


def _score(bundle: Bundle, scorer: Scorer, task: FileTask, *, callback: Callback) -> Receipt:
    terms = task.describe(bundle)
    done = journal.load_receipt(task.files, terms)
    if done is not None:
        return done
    format: Any = load_format(_SUFFIX)
    return score_file(
        scorer,
        format.scan(task.file.path, task.options),
        format,
        task.files,
        describe=lambda: task.describe(bundle),
        terms=terms,
        options=task.options,
        threads=task.threads,
        digest=bundle.digest,
        wait_s=_LOCK_WAIT_S,
        callback=callback,
    )


def score_folder(
    bundle: Bundle,
    source: Path | str,
    out: Path,
    *,
    options: ScoringOptions,
    threads: int,
    compute: Callable[[], Compute] | None,
    callback: Callback,
) -> Receipt:
    """Score every file of a folder; the output folder has the same files, and appears when all are done.

    Parameters
    ----------
    bundle
        Verified release.
    source, out
        Folder or `s3://BUCKET/PREFIX` to read, and folder to write.
    options
        Columns to read and to keep; a Hive partition is kept by the path of its file.
    threads
        Threads that run the engine on this machine; on Ray each file has one.
    compute
        Opens Ray, on which the files are shared; None scores them here.
    callback
        Receives the progress.

    Raises
    ------
    DataError
        If a file cannot be read, lacks a column, or changed during the run.
    StoreError
        If `out` was started with another release, folder or options.
    Refused
        If rows that are scored again here differ from what a worker wrote.
    """
    if out.suffix.removeprefix(".").lower() in names("format"):
        raise ConfigError(
            f"'{out.name}' is the name of a file, the source is a folder", where=str(out), hint=f"{out.stem}/"
        )
    files = list_files(source)
    terms = folder_terms(bundle, source, files, options)
    done = journal.load_receipt(OutputFiles.of(out), terms)
    if done is not None:
        return done
    scorer = Scorer(release=bundle.release, engine=open_release(bundle), withdrawn=options.withdrawn)
    with journal.open_folder_journal(out, terms, [file.name for file in files]) as folder:
        tasks = [_task(file, folder, options, threads if compute is None else 1) for file in files]
        if compute is None:
            receipts = _score_here(bundle, scorer, tasks, callback)
        else:
            receipts = _score_by(compute, bundle, tasks, callback)
            _recompute_samples(bundle, scorer, tasks, receipts)
        expect_unchanged(terms, folder_terms(bundle, source, list_files(source), options))
        return folder.finish(receipts)


def _task(file: SourceFile, folder: FolderJournal, options: ScoringOptions, threads: int) -> FileTask:
    keep = tuple(name for name in options.keep if name not in file.partitions)
    return FileTask(
        file=file,
        files=folder.files(file.name),
        options=replace(options, keep=keep, partitions=dict(file.partitions)),
        threads=threads,
    )


def folder_terms(bundle: Bundle, source: Path | str, files: Sequence[SourceFile], options: ScoringOptions) -> Terms:
    """Return the terms of scoring a folder with these files."""
    listed = [(file.name, file.size_bytes, file.changed_ns, file.tag) for file in files]
    return terms_of(
        bundle,
        options,
        file=_name(source),
        size_bytes=sum(file.size_bytes for file in files),
        changed_ns=max(file.changed_ns for file in files),
        samples=digest_of(canonical(listed)),
    )


class _FolderProgress:
    """Progress over all files: the share by their bytes."""

    def __init__(self, tasks: Sequence[FileTask], callback: Callback) -> None:
        self._callback, self._began = callback, time.monotonic()
        self._total = max(sum(task.file.size_bytes for task in tasks), 1)
        self._done_bytes = self._rows = self._refused = self._run_rows = 0

    def within(self, task: FileTask, done: Progress) -> None:
        """Report the progress within one file, where files are scored one after the other."""
        share = (self._done_bytes + done.share * task.file.size_bytes) / self._total
        self._report(self._rows + done.rows, self._refused + done.refused, share, self._run_rows + done.run_rows)

    def finished(self, task: FileTask, receipt: Receipt, *, before: bool = False) -> None:
        """Count a finished file; `before` is one that an earlier run finished."""
        self._done_bytes += task.file.size_bytes
        self._rows += receipt.rows
        self._refused += receipt.refused
        self._run_rows += 0 if before else receipt.rows
        self._report(self._rows, self._refused, self._done_bytes / self._total, self._run_rows)

    def _report(self, rows: int, refused: int, share: float, run_rows: int) -> None:
        seconds = time.monotonic() - self._began
        self._callback(Progress(rows=rows, refused=refused, share=share, run_rows=run_rows, seconds=seconds))


def _score_here(bundle: Bundle, scorer: Scorer, tasks: Sequence[FileTask], callback: Callback) -> list[Receipt]:
    progress, receipts = _FolderProgress(tasks, callback), []
    for task in tasks:
        receipts.append(_score(bundle, scorer, task, callback=functools.partial(progress.within, task)))
        progress.finished(task, receipts[-1])
    return receipts


def _score_by(
    compute: Callable[[], Compute], bundle: Bundle, tasks: Sequence[FileTask], callback: Callback
) -> list[Receipt]:
    """Share the files that have no result yet; raise DataError if a worker read another file than the driver listed."""
    progress, receipts = _FolderProgress(tasks, callback), dict[int, Receipt]()
    for index, task in enumerate(tasks):
        done = journal.load_receipt(task.files, task.describe(bundle))
        if done is not None:
            receipts[index] = done
            progress.finished(task, done, before=True)
    waiting = [index for index in range(len(tasks)) if index not in receipts]
    if waiting:
        first = tasks[waiting[0]]  # a column that is missing is reported before Ray is started
        format: Any = load_format(_SUFFIX)
        format.scan(first.file.path, first.options)
        with compute() as workers:
            results = workers.map(score_task, ReleaseBytes.of(bundle), [tasks[index] for index in waiting])
            for number, receipt in results:
                index = waiting[number]
                receipts[index] = receipt
                progress.finished(tasks[index], receipt)
    return [receipts[index] for index in range(len(tasks))]


def _recompute_samples(bundle: Bundle, scorer: Scorer, tasks: Sequence[FileTask], receipts: Sequence[Receipt]) -> None:
    """Check each result against its digest, and score a batch of up to 32 of the files again, chosen at random."""
    for task, receipt in zip(tasks, receipts, strict=True):
        if journal.load_receipt(task.files, task.describe(bundle)) != receipt:
            raise Refused(f"the result of '{task.file.name}' is not the one that its worker reported")
    draw = SystemRandom()
    filled = [task for task, receipt in zip(tasks, receipts, strict=True) if receipt.rows]
    for task in draw.sample(filled, min(_MAX_SAMPLES, len(filled))):
        _recompute(scorer, task, draw)


def _recompute(scorer: Scorer, task: FileTask, draw: SystemRandom) -> None:
    """Score one batch of a file again, and compare it with the output to the bit."""
    format: Any = load_format(_SUFFIX)
    scan = format.scan(task.file.path, task.options)
    start, end = draw.choice(list(batch_bounds(scan.length, len(task.options.signature.inputs))))
    chunk = scan.read(start, end - start)
    if not format.holds(task.files.out, start, score_chunk(scorer, chunk, task.options)):
        raise Refused(
            f"'{task.file.name}' was scored otherwise by a worker than here, in rows {start:,} to {chunk.end:,}",
            where=str(task.files.out),
            hint="do its machines have the same processor and libraries as this one?",
        )
