"""The terms of an answer: release, file and options, by which a run that goes on knows that it is the same one."""

from __future__ import annotations

import hashlib
from pathlib import Path

import headway
from headway.core.batch import Wanted
from headway.core.errors import DataError
from headway.core.record import Kept
from headway.registry.bundle import Bundle

_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


class Terms(Kept, frozen=True, kw_only=True):
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


def describe_terms(bundle: Bundle, path: Path, wanted: Wanted) -> Terms:
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
