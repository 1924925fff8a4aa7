"""Batches that the log writer put aside because it could not write them: list them, and import them into the log."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace

from headway.core.errors import StoreError
from headway.core.record import Record
from headway.serving.telemetry.prediction_log import decode_entries, read_source, source_of, time_of
from headway.serving.workers.log_writer import in_order_of_time, segment_columns
from headway.storage import atomic, segments, traffic

_NAME = re.compile(r"(\d{20})-(\d+)-(\d+)-[0-9a-f]+")
_LENGTH_BYTES = 8
_DAMAGE = (IndexError, ValueError, struct.error, msgspec.MsgspecError)


class AsideBatch(Record, frozen=True, kw_only=True):
    """A batch that was put aside.

    Attributes
    ----------
    file : str
        Its path in the store.
    status : str
        `known` if the log had its rows, of an import that was interrupted; `failed` if it cannot be read or written.
    name, release : str
        The model, and the digest of the release that answered.
    rows : int
    since_us, until_us : int
        Time of its first and its last request, in microseconds since 1970.
    problem : str
        Why it failed.
    """

    file: str
    status: Literal["waiting", "imported", "known", "failed"] = "waiting"
    name: str = ""
    release: str = ""
    rows: int = 0
    since_us: int = 0
    until_us: int = 0
    problem: str = ""


def list_batches(state: Path) -> list[AsideBatch]:
    """Return all batches that were put aside, in the order of their paths."""
    return [_read(state, path)[0] for path in traffic.aside_files(state)]


def import_batches(state: Path) -> list[AsideBatch]:
    """Write all batches that were put aside into the log, each once, and delete their files.

    Their rows count as lost no longer. A batch that cannot be written stays where it is. If this is interrupted, the
    next call continues.
    """
    if not traffic.aside_files(state):
        return []
    with traffic.rewriting(state, wait=True):
        return [_import(state, path) for path in traffic.aside_files(state)]


def _import(state: Path, path: Path) -> AsideBatch:
    """Import a batch, and return it with what became of it."""
    batch, records = _read(state, path)
    if batch.status == "failed":
        return batch
    folder, written_ns, name = traffic.log_folder(state, batch.name, batch.release), *_segment_of(path)
    is_known = (folder / name).exists() or _was_merged(folder, written_ns)
    try:
        if not is_known:
            segments.save(folder, in_order_of_time(segment_columns(decode_entries(records))), name=name)
    except StoreError as error:
        return replace(batch, status="failed", problem=error.what)
    except Exception:  # noqa: BLE001 - it may be whatever kept the log writer from writing it
        return replace(batch, status="failed", problem=_what_is_wrong(records))
    span = traffic.span_of_aside(path)
    for file in (span, path):
        file.unlink(missing_ok=True)
        atomic.sync(file.parent)
    return replace(batch, status="known" if is_known else "imported")


def _read(state: Path, path: Path) -> tuple[AsideBatch, Sequence[bytes]]:
    """Read a batch that was put aside, and its records."""
    batch = AsideBatch(file=path.relative_to(state).as_posix())
    if not _NAME.fullmatch(path.name):
        return replace(batch, status="failed", problem="the log writer has put no file of this name aside"), []
    try:
        records = list(_records(path.read_bytes()))
        sources, times = list(map(source_of, records)), list(map(time_of, records))
        source = read_source(sources[0][0])
        if traffic.log_folder(state, source.name, source.digest) != path.parents[1] / path.name.rpartition("-")[2]:
            raise ValueError("records of another release")
    except OSError as error:
        return replace(batch, status="failed", problem=f"the file cannot be read: {error.strerror}"), []
    except _DAMAGE:
        return replace(batch, status="failed", problem="the file is damaged: it does not hold records of this log"), []
    rows = sum(n_rows for _, n_rows in sources)
    found = replace(batch, name=source.name, release=source.digest, rows=rows)
    return replace(found, since_us=min(times), until_us=max(times)), records


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of a file, each behind its length; raises ValueError if the last one is incomplete."""
    start = 0
    while start < len(content):
        begin = start + _LENGTH_BYTES
        start = begin + int.from_bytes(content[start:begin], "little")
        if start > len(content):
            raise ValueError("incomplete record")
        yield content[begin:start]


def _segment_of(path: Path) -> tuple[int, str]:
    """Return the time in the name of the segment for a batch, in ns since 1970, and this name, always the same ones.

    The time is not that of another segment: the log writer may have written other records of this pass one by one,
    with one time for all, and readers identify the parts of merged segments by their times.
    """
    time_ns, owner, index, _ = path.name.split("-")
    written_ns = int(time_ns) + 1 + int(index)
    return written_ns, f"{written_ns:020}-{owner}-{index}{segments.SUFFIX}"


def _was_merged(folder: Path, written_ns: int) -> bool:
    """Return whether a segment of this time was merged with others."""
    later = segments.segments(folder, after=f"{written_ns:020}")
    return any(written_ns in segments.load(path).get(traffic.MERGED, ()) for path in later)


def _what_is_wrong(records: Sequence[bytes]) -> str:
    """Name the first record that cannot be decoded."""
    for number, record in enumerate(records, start=1):
        try:
            segment_columns(decode_entries([record]))
        except Exception:  # noqa: BLE001 - as above
            return f"record {number:,} of {len(records):,} cannot be decoded"
    return f"its {len(records):,} records can be decoded, and do not fit into one segment"
