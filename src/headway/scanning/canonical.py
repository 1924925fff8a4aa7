"""Rewrite a judged file by our own writer, so that a library opens what was judged and nothing else of its bytes."""

from __future__ import annotations

import io
import zipfile

from headway.core.errors import Refused
from headway.scanning import pickles
from headway.scanning.archives import UnpackBudget, compression, decompressed, unpack
from headway.scanning.verdicts import FileVerdict

_EPOCH = (1980, 1, 1, 0, 0, 0)
MEANING = frozenset(
    ("pickle-unknown-class", "pickle-argument", "pickle-unverified", "pickle-persistent-id", "skops-type", "code")
)
"""Problems of a file that was read to its end: it names what the scan does not know."""
_STRUCTURE = ("archive-", "two-formats", "compression", "pickle-", "reader-failed")


def expect_readable(verdict: FileVerdict, *, shown: str, digest: str) -> None:
    """Raise Refused if a file was not read to its end: what a library would find in it is not known."""
    for problem in verdict.problems:
        # A member of another format is data to its reader; a whole file of one is not understood.
        is_whole = problem.code == "unknown-format" and not problem.location
        if is_whole or (problem.code.startswith(_STRUCTURE) and problem.code not in MEANING):
            raise Refused(
                f"the file is not judged: {problem.message}",
                where="; ".join(filter(None, [shown, problem.location])),
                hint=f"save it again without compression; --digest {digest} opens exactly this file all the same",
            )


def canonical_form(content: bytes) -> bytes:
    """Return the bytes for the library of a judged file: unpacked, and an archive written again with one directory.

    Members, their names and their order stay; comments, extra fields and bytes between members do not.
    """
    budget = UnpackBudget.of(len(content))
    while kind := compression(content[:512]):
        content = bytes(unpack(decompressed(memoryview(content), kind), budget))
    if content[:4] != b"PK\3\4":
        return content
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(written, "w") as copy:
        for info in archive.infolist():
            with archive.open(info) as member:
                inner = bytes(unpack(iter(lambda file=member: file.read(1 << 20), b""), budget))  # type: ignore[misc]
            copy.writestr(zipfile.ZipInfo(info.filename, _EPOCH), inner)
    return written.getvalue()


def named_globals(content: bytes) -> set[tuple[str, str]]:
    """Return module and name of each global that the pickles of a file in its canonical form refer to."""
    if content[:4] != b"PK\3\4":
        return pickles.referenced_globals(content)
    names: set[tuple[str, str]] = set()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for name in archive.namelist():
            member = archive.read(name)
            if name.endswith(".pkl") or member[:4] == b"PK\3\4" or pickles.looks_pickled(member[:512]):
                names |= named_globals(member)
    return names
