"""Archives and compressed files: names that leave the folder, bombs, and every member judged like a file.

Nothing is written to the folder of the archive. A member is unpacked in pieces into memory, or into a temporary file
if it is large, and only as far as the budget of the scan goes.
"""

from __future__ import annotations

import bz2
import lzma
import mmap
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Container, Generator, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import IO, Protocol

from headway.core.arrays import Buffer
from headway.scanning.arrays import unknown, unsafe
from headway.scanning.graphs import leaves_folder
from headway.scanning.verdicts import Problem, worst

MAX_MEMBERS = 5_000
MAX_NESTED = 4
MIN_UNPACKED = 24 << 20
MAX_RATIO = 20
_PIECE = 1 << 20
_KEPT = 8 << 20


@dataclass(slots=True)
class UnpackBudget:
    """What a scan of one file may still unpack: bytes, members, and levels of archives in archives."""

    left_bytes: int
    members: int = MAX_MEMBERS
    depth: int = 0

    @classmethod
    def of(cls, size: int) -> UnpackBudget:
        """Return the budget of a file of this size."""
        return cls(left_bytes=max(MIN_UNPACKED, MAX_RATIO * size))

    def inside(self) -> UnpackBudget:
        """Return the budget of what is in an archive."""
        return UnpackBudget(left_bytes=self.left_bytes, members=self.members, depth=self.depth + 1)


class _ExpandedError(Exception):
    """A file unpacks to more than the budget of its scan."""


TORCH_PICKLE, TORCH_STORAGE = "torch pickle", "torch storage"
_TORCH_NOTES = frozenset(("version", "byteorder", ".format_version", ".storage_alignment", "serialization_id"))


Storages = Mapping[str, int]
"""Bytes of each storage of a torch archive, by its key."""


class ScanMember(Protocol):
    """Judge a member by its bytes, its name, and its role in a torch archive; a name alone never gives it a role."""

    def __call__(
        self, content: Buffer, name: str, budget: UnpackBudget, /, *, role: str = "", storages: Storages | None = None
    ) -> list[Problem]:
        """Return the problems of a member; `storages` are those of the torch archive that it is in."""


def unpack(pieces: Iterator[bytes], budget: UnpackBudget) -> Buffer:
    """Return unpacked bytes, in a mapped temporary file if they are many; raise `_ExpandedError` past the budget."""
    size = 0
    with tempfile.SpooledTemporaryFile(max_size=_KEPT, prefix="headway-scan-") as file:
        for piece in pieces:
            size += len(piece)
            budget.left_bytes -= len(piece)
            if budget.left_bytes < 0:
                raise _ExpandedError(f"unpacks to more than {size:,} bytes")
            file.write(piece)
        if size <= _KEPT:
            file.seek(0)
            return file.read()
        file.flush()
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def members_in(location: str, problems: list[Problem]) -> list[Problem]:
    """Return problems with the name of the member that they are in."""
    return [
        Problem(
            code=problem.code,
            message=problem.message,
            location=f"{location[:200]}: {problem.location}" if problem.location else location[:200],
            is_unsafe=problem.is_unsafe,
        )
        for problem in problems
    ]


def scan_zip(content: Buffer, budget: UnpackBudget, scan: ScanMember) -> list[Problem]:
    """Judge a zip file and its members."""
    data = content if isinstance(content, bytes) else memoryview(content)
    if budget.depth >= MAX_NESTED:
        return [unknown("archive-depth", f"archives nested deeper than {MAX_NESTED}")]
    directory = judge_directory(memoryview(data))
    if worst(directory) == "unsafe":
        return directory
    try:
        with zipfile.ZipFile(_opened(content)) as archive:
            return [*directory, *_scan_zip_members(archive, data, budget, scan)]
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        ValueError,
        OSError,
        EOFError,
        NotImplementedError,
        OverflowError,
    ) as error:
        return [*directory, unknown("archive-damaged", f"the archive cannot be read: {error}")]
    except (RecursionError, UnicodeError, IndexError, zlib.error):
        return [*directory, unknown("archive-damaged", "the archive cannot be read")]


def _scan_zip_members(
    archive: zipfile.ZipFile, data: bytes | memoryview, budget: UnpackBudget, scan: ScanMember
) -> list[Problem]:
    infos = archive.infolist()
    problems = _judge_entries(data, infos[: budget.members])
    pickles = frozenset(info.filename.rpartition("/")[0] for info in infos if info.filename.endswith("data.pkl"))
    storages: dict[str, dict[str, int]] = {folder: {} for folder in pickles}
    for info in infos:
        if _torch_role(info.filename, pickles) == TORCH_STORAGE:
            folder, _, key = info.filename.rpartition("/")
            storages.get(folder.rpartition("/")[0], {})[key] = info.file_size
    inner = budget.inside()
    for info in infos[: inner.members]:
        if not info.is_dir():
            problems += members_in(info.filename, _scan_zip_member(archive, info, storages, inner, scan))
    if len(infos) > inner.members:
        problems.append(unknown("archive-members", f"{len(infos):,} members are more than are judged"))
    budget.left_bytes, budget.members = inner.left_bytes, inner.members - len(infos)
    return problems


def _opened(content: Buffer) -> IO[bytes]:
    if isinstance(content, mmap.mmap):
        content.seek(0)
        return content  # type: ignore[return-value]
    return BytesIO(content)


_END, _LOCATOR, _RECORD, _ENTRY, _LOCAL = b"PK\5\6", b"PK\6\7", b"PK\6\6", b"PK\1\2", b"PK\3\4"
_MAX_ENTRIES = 100_000
_UNICODE_PATH = 0x7075


class _TwoDirectoriesError(Exception):
    """Readers find different directories in one archive, or members that share bytes."""


def judge_directory(data: memoryview) -> list[Problem]:
    """Judge whether every reader of a zip finds the same members.

    zipfile, miniz and readers from the front search for the directory in different ways. They agree where the end is at
    the end, the directory lies right before it, no comment holds a signature, and the members fill the rest.
    """
    try:
        _read_directory(data)
    except _TwoDirectoriesError as error:
        return [unsafe("archive-directory", str(error))]
    except (ValueError, IndexError, struct.error) as error:
        return [unknown("archive-directory", f"not every reader finds the same members: {error}")]
    return []


def _read_directory(data: memoryview) -> None:
    tail = bytes(data[-66_000:])
    end = tail.rfind(_END)
    if end < 0 or len(tail) - end < 22:
        raise ValueError("no end of a directory")
    position = len(data) - len(tail) + end
    disk, first_disk, here, count, size, offset, comment = struct.unpack("<4H2LH", tail[end + 4 : end + 22])
    if comment != len(tail) - end - 22:
        if tail.count(_END) > 1:
            raise _TwoDirectoriesError("it has two ends, and readers take one or the other")
        raise ValueError("bytes follow its end")
    if b"PK" in tail[end + 22 :]:
        raise _TwoDirectoriesError("the comment of the archive holds a signature of another archive")
    last = position
    if bytes(data[max(position - 20, 0) : position])[:4] == _LOCATOR:
        last = int.from_bytes(data[position - 12 : position - 4], "little")
        if last != position - 76 or bytes(data[last : last + 4]) != _RECORD:
            raise _TwoDirectoriesError("it has two directories, and readers take one or the other")
        length, *_, disk, first_disk, here, count, size, offset = struct.unpack("<Q2H2L4Q", data[last + 4 : last + 56])
        if length != 44:
            raise ValueError("a record of an unusual length before its end")
    if disk or first_disk or here != count or count > _MAX_ENTRIES:
        raise ValueError(f"{count:,} members, on several disks or too many")
    if offset + size != last:
        if tail.count(_END) > 1:
            raise _TwoDirectoriesError("it has two ends, and readers take one or the other")
        raise ValueError("the directory is not where its end says")
    _expect_adjacent(sorted(_read_entries(data, offset, last, count)), offset)


def _expect_adjacent(entries: list[tuple[int, int, bool]], directory: int) -> None:
    """Raise ValueError unless each member ends where the next one, or the directory, begins."""
    for (start, member_end, has_descriptor), follows in zip(
        entries, [*(entry[0] for entry in entries[1:]), directory], strict=True
    ):
        gap = follows - member_end
        if gap < 0:
            raise _TwoDirectoriesError(f"two members share the bytes from {follows:,} to {member_end:,}")
        if gap and not (has_descriptor and gap in (12, 16, 20, 24)):
            raise ValueError(f"{gap:,} bytes lie after the member at byte {start:,}")


def _read_entries(data: memoryview, position: int, last: int, count: int) -> Iterator[tuple[int, int, bool]]:
    """Yield the first byte of each member, the byte after its data, and whether a descriptor may follow."""
    for _ in range(count):
        if bytes(data[position : position + 4]) != _ENTRY:
            raise ValueError("the directory has fewer members than its end says")
        _, _, flags, method, _, _, _, packed, unpacked, names, extras, comments, disk, _, _, start = struct.unpack(
            "<6H3L5H2L", data[position + 4 : position + 46]
        )
        name = bytes(data[position + 46 : position + 46 + names])
        position += 46 + names
        extra = _read_extra(bytes(data[position : position + extras]))
        position += extras + comments
        if position > last:
            raise ValueError("the directory leaves its place")
        if b"PK" in bytes(data[position - comments : position]):
            raise _TwoDirectoriesError("the comment of a member holds a signature of another archive")
        if _UNICODE_PATH in extra or disk:
            raise ValueError("a member has a second name, or lies on another disk")
        large = extra.get(1, b"")
        wide = [value == 0xFFFFFFFF for value in (unpacked, packed, start)]
        values = iter(struct.unpack(f"<{sum(wide)}Q", large[: 8 * sum(wide)]))
        unpacked, packed, start = (
            next(values) if is_wide else value for is_wide, value in zip(wide, (unpacked, packed, start), strict=True)
        )
        yield start, _local_end(data, start, name, (flags, method, packed, unpacked)), bool(flags & 8)
    if position != last:
        raise ValueError("bytes lie between the directory and its end")


def _local_end(data: memoryview, start: int, name: bytes, expected: tuple[int, int, int, int]) -> int:
    """Return the byte after the data of a member; raise ValueError if its own header differs from the directory."""
    header = data[start : start + 30]
    if bytes(header[:4]) != _LOCAL:
        raise ValueError(f"no member begins at byte {start:,}")
    _, flags, method, _, _, _, packed, unpacked, names, extras = struct.unpack("<5H3L2H", header[4:])
    extra = _read_extra(bytes(data[start + 30 + names : start + 30 + names + extras]))
    large = extra.get(1, b"")
    if packed == unpacked == 0xFFFFFFFF and len(large) >= 16:
        unpacked, packed = struct.unpack("<2Q", large[:16])
    sizes_differ = (packed, unpacked) != expected[2:] and not (flags & 8 and (packed, unpacked) == (0, 0))
    if (flags, method) != expected[:2] or sizes_differ or bytes(data[start + 30 : start + 30 + names]) != name:
        raise ValueError(f"the header at byte {start:,} differs from the directory")
    return start + 30 + int(names) + int(extras) + expected[2]


def _read_extra(content: bytes) -> dict[int, bytes]:
    """Return the extra fields of a header by number; what is too short for one is padding."""
    fields: dict[int, bytes] = {}
    position = 0
    while position + 4 <= len(content):
        number, length = struct.unpack("<2H", content[position : position + 4])
        if number in fields and number in (1, _UNICODE_PATH):
            raise ValueError("a header repeats its sizes")
        fields[number] = content[position + 4 : position + 4 + length]
        position += 4 + length
    return fields


def _judge_entries(data: bytes | memoryview, infos: list[zipfile.ZipInfo]) -> list[Problem]:
    """Judge names, links, repeated names, and bytes before the first member."""
    problems: list[Problem] = []
    seen: set[str] = set()
    for info in infos:
        name = info.filename
        original = info.orig_filename
        if leaves_folder(name) or "\0" in original:
            problems.append(unsafe("archive-path", "its name leads out of the folder it is unpacked to", name[:200]))
        if stat.S_ISLNK(info.external_attr >> 16):
            problems.append(unsafe("archive-link", "a link, which can lead out of the folder", name[:200]))
        if name in seen:
            problems.append(unsafe("archive-repeated", "a second member of this name hides another", name[:200]))
        seen.add(name)
        start = info.header_offset
        local = bytes(data[start : start + 30])
        length = int.from_bytes(local[26:28], "little")
        inner = bytes(data[start + 30 : start + 30 + length])
        if local[:4] == b"PK\3\4" and inner not in (
            original.encode("utf-8", "replace"),
            original.encode("cp437", "replace"),
        ):
            problems.append(unsafe("archive-names", "the two headers of the member name different files", name[:200]))
        if len(problems) > 50:
            break
    first = min((info.header_offset for info in infos), default=0)
    if first:
        problems.append(unknown("archive-prefix", f"{first:,} bytes lie before the first member", "byte 0"))
    return problems


def _scan_zip_member(
    archive: zipfile.ZipFile,
    info: zipfile.ZipInfo,
    storages: Mapping[str, Storages],
    budget: UnpackBudget,
    scan: ScanMember,
) -> list[Problem]:
    if info.flag_bits & 0x1:  # some readers ignore the flag, and open the bytes as they are
        stored = _stored_bytes(archive, info)
        found = scan(stored, info.filename, budget) if stored else []
        return [*(problem for problem in found if problem.is_unsafe), unknown("archive-encrypted", "is encrypted")]
    try:
        with archive.open(info) as file:
            inner = unpack(iter(lambda: file.read(_PIECE), b""), budget)
    except _ExpandedError as error:
        return [unsafe("archive-bomb", str(error))]
    except (
        RuntimeError,
        zipfile.BadZipFile,
        NotImplementedError,
        EOFError,
        OSError,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        stored = _stored_bytes(archive, info)
        found = scan(stored, info.filename, budget) if stored else []
        return [*found, unknown("archive-damaged", f"cannot be unpacked: {error}")]
    folder = info.filename.rpartition("/")[0]
    role = _torch_role(info.filename, storages)
    return scan(inner, info.filename, budget, role=role, storages=storages.get(folder))


def _torch_role(name: str, pickles: Container[str]) -> str:
    """Return what a member of a torch archive is to its reader: the pickle, a storage of numbers, or neither."""
    folder, _, base = name.rpartition("/")
    if base == "data.pkl":
        return TORCH_PICKLE
    above, _, last = folder.rpartition("/")
    is_storage = last == "data" and above in pickles and base.isdigit()
    return TORCH_STORAGE if is_storage or (folder in pickles and base in _TORCH_NOTES) else ""


def _stored_bytes(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member that is stored without compression, whatever its checksum."""
    if info.compress_type != zipfile.ZIP_STORED or archive.fp is None or info.compress_size > _KEPT:
        return b""
    try:
        archive.fp.seek(info.header_offset + 26)
        sizes = archive.fp.read(4)
        skip = int.from_bytes(sizes[:2], "little") + int.from_bytes(sizes[2:], "little")
        archive.fp.seek(info.header_offset + 30 + skip)
        return archive.fp.read(info.compress_size)
    except (OSError, ValueError):
        return b""


def scan_tar(content: Buffer, budget: UnpackBudget, scan: ScanMember) -> list[Problem]:
    """Judge a tar file and its members."""
    if budget.depth >= MAX_NESTED:
        return [unknown("archive-depth", f"archives nested deeper than {MAX_NESTED}")]
    problems: list[Problem] = []
    inner = budget.inside()
    try:
        with tarfile.open(fileobj=_opened(content), mode="r:") as archive:
            problems = _scan_tar_members(archive, inner, scan)
    except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError, IndexError, RecursionError) as error:
        problems.append(unknown("archive-damaged", f"the archive cannot be read: {error}"))
    budget.left_bytes, budget.members = inner.left_bytes, inner.members
    return problems


def _scan_tar_members(archive: tarfile.TarFile, budget: UnpackBudget, scan: ScanMember) -> list[Problem]:
    problems: list[Problem] = []
    seen: set[str] = set()
    for member in archive:
        budget.members -= 1
        if budget.members < 0 or len(problems) > 200:
            return [*problems, unknown("archive-members", "too many members, or too many problems")]
        problems += members_in(member.name, _scan_tar_member(archive, member, seen, budget, scan))
        archive.members = []  # type: ignore[attr-defined] # else it keeps every member
    return problems


def _scan_tar_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, seen: set[str], budget: UnpackBudget, scan: ScanMember
) -> list[Problem]:
    if leaves_folder(member.name):
        return [unsafe("archive-path", "its name leads out of the folder it is unpacked to")]
    if member.issym() or member.islnk():
        return [unsafe("archive-link", f"a link to {member.linkname[:200]!r}, which can lead out of the folder")]
    if member.ischr() or member.isblk() or member.isfifo():
        return [unsafe("archive-device", "a device or a pipe")]
    if member.name in seen and not member.isdir():
        return [unsafe("archive-repeated", "a second member of this name hides another")]
    seen.add(member.name)
    if not member.isreg():
        return []
    if member.sparse:
        return (
            [unsafe("archive-bomb", f"a sparse member of {member.size:,} bytes")]
            if member.size > budget.left_bytes
            else []
        )
    file = archive.extractfile(member)
    if file is None:
        return [unknown("archive-damaged", "cannot be unpacked")]
    try:
        inner = unpack(iter(lambda: file.read(_PIECE), b""), budget)
    except _ExpandedError as error:
        return [unsafe("archive-bomb", str(error))]
    # The members of the oldest torch files: their numbers lie among pickles, which are read one after another.
    is_torch = member.name.rpartition("/")[2] in ("pickle", "tensors", "storages")
    return scan(inner, member.name, budget, role=TORCH_PICKLE if is_torch else "")


def compression(head: bytes) -> str:
    """Return the compression that bytes begin with; empty for none."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if head[:3] == b"BZh":
        return "bzip2"
    if head[:6] == b"\xfd7zXZ\0" or head[:2] == b"\x5d\0":
        return "xz"
    if head[:4] in (b"\x04\x22\x4d\x18", b"\x28\xb5\x2f\xfd"):
        return "lz4" if head[:1] == b"\x04" else "zstd"
    if _inflates(head):
        return "zlib"
    if head[:2] == b"ZF" and re.fullmatch(rb"\s*(0x)?[0-9a-f_]+\s*", head[2:21], re.IGNORECASE):
        return "joblib before 0.10"
    return ""


def _inflates(head: bytes) -> bool:
    """Return whether a reader of zlib gets a byte out of this: joblib tries with all that begins with an x."""
    if len(head) < 3 or head[0] != 0x78 or int.from_bytes(head[:2]) % 31:
        return False
    stream = zlib.decompressobj()
    try:
        return any(stream.decompress(head[index : index + 1]) for index in range(len(head))) or stream.eof
    except zlib.error:
        return False


def scan_compressed(content: Buffer, kind: str, name: str, budget: UnpackBudget, *, scan: ScanMember) -> list[Problem]:
    """Judge what a compressed file holds."""
    if kind not in ("gzip", "zlib", "bzip2", "xz"):
        return [unknown("compression", f"{kind} is not unpacked: save the file with another compression")]
    if budget.depth >= MAX_NESTED:
        return [unknown("archive-depth", f"archives nested deeper than {MAX_NESTED}")]
    budget.depth += 1
    try:
        inner = unpack(decompressed(memoryview(content), kind), budget)
    except _ExpandedError as error:
        return [unsafe("archive-bomb", str(error))]
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:
        return [unknown("archive-damaged", f"cannot be unpacked: {error}")]
    finally:
        budget.depth -= 1
    inside = budget.inside()
    return scan(inner, name, inside)


def decompressed(data: memoryview, kind: str) -> Iterator[bytes]:
    """Yield unpacked pieces of bounded size; raise ValueError if bytes follow the first stream.

    Some readers stop there, others go on, and joblib never ends.
    """
    if kind in ("gzip", "zlib"):
        position = yield from _inflated(data, 31 if kind == "gzip" else 15)
    else:
        position = yield from _expanded(data, kind)
    if position < len(data):
        raise ValueError(f"{len(data) - position:,} bytes follow the compressed data")


def _inflated(data: memoryview, window: int) -> Generator[bytes, None, int]:
    """Yield the pieces of one stream of zlib, and return where it ends."""
    stream, pending, position = zlib.decompressobj(window), b"", 0
    while not stream.eof:
        source = pending or bytes(data[position : position + _PIECE])
        position += 0 if pending else len(source)
        if not source:
            raise EOFError("it ends early")
        yield stream.decompress(source, _PIECE)
        pending = stream.unconsumed_tail
    return position - len(stream.unused_data)


def _expanded(data: memoryview, kind: str) -> Generator[bytes, None, int]:
    """Yield the pieces of one stream of bzip2 or xz, and return where it ends."""
    position = 0
    stream = bz2.BZ2Decompressor() if kind == "bzip2" else lzma.LZMADecompressor(memlimit=64 << 20)
    while not stream.eof:
        source = bytes(data[position : position + _PIECE]) if stream.needs_input else b""
        position += len(source)
        if stream.needs_input and not source:
            raise EOFError("it ends early")
        yield stream.decompress(source, _PIECE)
    return position - len(stream.unused_data)
