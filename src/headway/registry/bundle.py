"""Releases as folders: `release.json`, `release.sig`, and the files that `release.json` lists by digest.

Each file is read once, and the bytes that were verified are the bytes that are used, so a file cannot change between
check and use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from msgspec.structs import replace

from headway.core import record
from headway.core.contracts import Signed
from headway.core.errors import Refused, StoreError
from headway.core.record import digest_of
from headway.core.release import Release
from headway.registry.sign import MEND_COPY, Publisher, Trusted, verify
from headway.storage import atomic

RELEASE = "release.json"
SEAL = "release.sig"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified release: its record, the bytes of its files, its digest, and the key that signed it."""

    release: Release
    files: Mapping[str, bytes]
    digest: str
    key: str

    @property
    def model(self) -> bytes:
        """The bytes of the variant's artifact; raises Refused if no file of the release has its digest."""
        wanted = self.release.variant.artifact.digest
        name = next((name for name, digest in self.release.files.items() if digest == wanted), None)
        if name is None:
            raise Refused(f"no file of release {self.digest} is its model {wanted}")
        return self.files[name]


@dataclass(frozen=True, slots=True)
class SignedRelease:
    """A signed release before it is written: every file of its folder, and its digest."""

    contents: Mapping[str, bytes]
    digest: str


def sign_release(release: Release, files: Mapping[str, bytes], publisher: Publisher) -> SignedRelease:
    """Sign a release with its files; `files` of the record becomes their digests."""
    for name in files:
        _expect_plain(name)
    listed = replace(release, files={name: digest_of(content) for name, content in files.items()})
    signed = publisher.sign(record.write(listed))
    contents = {**files, RELEASE: signed.content, SEAL: signed.signature}
    return SignedRelease(MappingProxyType(contents), digest_of(signed.content))


def write_bundle(folder: Path, release: Release, files: Mapping[str, bytes], publisher: Publisher) -> str:
    """Sign a release and write its folder; return its digest, that of `release.json`."""
    sealed = sign_release(release, files, publisher)
    save_bundle(folder, sealed)
    return sealed.digest


def save_bundle(folder: Path, sealed: SignedRelease) -> None:
    """Write the folder of a release atomically; saving the same release again repairs files that differ.

    Raises StoreError if the folder holds anything else: a release is never replaced.
    """
    try:
        atomic.make_folder(folder.parent)
        with atomic.aside(folder.parent) as aside:
            new = aside / folder.name
            new.mkdir()
            for name, content in sealed.contents.items():
                atomic.create(new / name, content)
            atomic.sync(new)
            _move(new, folder, sealed)
            atomic.sync(folder.parent)
    except OSError as error:
        raise StoreError(f"cannot write the release: {error.strerror}", where=str(folder)) from error


def _move(new: Path, folder: Path, sealed: SignedRelease) -> None:
    """Rename the new folder; the system refuses if the target exists and is not empty."""
    try:
        os.rename(new, folder)
    except OSError:
        if not folder.is_dir():
            raise
        _mend(new, folder, sealed)


def _mend(new: Path, folder: Path, sealed: SignedRelease) -> None:
    """Replace the files that differ in a folder of the same release."""
    if _content(folder / RELEASE) != sealed.contents[RELEASE]:
        raise StoreError("this folder holds something else", where=str(folder), hint="write to a new one") from None
    for name, content in sealed.contents.items():
        if _content(folder / name) != content:
            (new / name).replace(folder / name)
    atomic.sync(folder)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def open_bundle(folder: Path, trusted: Trusted) -> Bundle:
    """Open the release in a folder and verify every byte.

    Raises Refused, which names a file that was changed, is missing or is not listed, or an unknown key.
    """
    there = _entries(folder)
    for name in (RELEASE, SEAL):
        _expect_file(there, name, folder)
    signed = Signed(content=_bytes(folder / RELEASE), signature=_bytes(folder / SEAL))
    key = verify(signed, trusted, subject=RELEASE, where=str(folder))
    release = record.read(Release, signed.content)
    _expect_listed(there, release, folder)
    files = {name: _verified(folder / name, digest) for name, digest in release.files.items()}
    return Bundle(release, MappingProxyType(files), digest_of(signed.content), key)


def _entries(folder: Path) -> dict[str, bool]:
    """List the names in a folder, each with whether it is a regular file (not a folder, link or pipe)."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.is_file(follow_symlinks=False) for entry in entries}
    except OSError as error:
        raise Refused(f"the release folder cannot be read: {error.strerror}", where=str(folder)) from error


def _expect_listed(there: Mapping[str, bool], release: Release, folder: Path) -> None:
    for name in release.files:
        _expect_plain(name)
        _expect_file(there, name, folder)
    extra = sorted(there.keys() - release.files.keys() - {RELEASE, SEAL})
    if extra:
        raise Refused(f"{extra[0]!r} is not a file of this release", where=str(folder), hint=MEND_COPY)


def _expect_plain(name: str) -> None:
    if not _PLAIN.fullmatch(name) or name in {RELEASE, SEAL}:
        raise Refused(f"a release cannot hold a file named {name!r}", hint="letters, digits, _ . -, and no folders")


def _expect_file(there: Mapping[str, bool], name: str, folder: Path) -> None:
    if name not in there:
        raise Refused(f"{name} is missing", where=str(folder), hint=MEND_COPY)
    if not there[name]:
        raise Refused(f"{name} is a link or a folder, not a file", where=str(folder), hint=MEND_COPY)


def _verified(path: Path, digest: str) -> bytes:
    content = _bytes(path)
    met = digest_of(content)
    if met != digest:
        raise Refused(
            f"{path.name} was changed: signed was {digest}, met {met}", where=str(path.parent), hint=MEND_COPY
        )
    return content


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Refused(
            f"{path.name} cannot be read: {error.strerror}", where=str(path.parent), hint=MEND_COPY
        ) from error
