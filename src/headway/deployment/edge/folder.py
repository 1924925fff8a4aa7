"""Sign the files of an edge package, write them into a folder, and verify such a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import headway
from headway.core import record
from headway.core.contracts import Signed
from headway.core.edge import EdgePackage
from headway.core.errors import Refused, StoreError
from headway.core.record import digest_of
from headway.registry.bundle import Bundle
from headway.registry.sign import COPY_HINT, Publisher, Trusted, verify
from headway.storage import atomic

PACKAGE, SIGNATURE = "edge.json", "edge.sig"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedPackage:
    """An edge package whose every file was verified, its digest, and the key that signed it."""

    package: EdgePackage
    digest: str
    key: str


def write_package(bundle: Bundle, files: Mapping[str, bytes], *, folder: Path, publisher: Publisher) -> str:
    """Sign the files of a release and write them; return the digest of the package.

    The files of an earlier package in the folder are replaced or removed; files that were built there stay. Raises
    StoreError if the folder holds anything and no package.
    """
    earlier = _listed(folder)
    package = EdgePackage(
        name=bundle.release.name,
        release=bundle.digest,
        headway=headway.__version__,
        files={name: digest_of(content) for name, content in sorted(files.items())},
    )
    signed = publisher.sign(record.write(package))
    for name in earlier - files.keys():
        (folder / name).unlink(missing_ok=True)
    for name, content in {**files, PACKAGE: signed.content, SIGNATURE: signed.signature}.items():
        atomic.write(folder / name, content)
    return digest_of(signed.content)


def _listed(folder: Path) -> set[str]:
    """Return the names of the files of the package in a folder."""
    if is_package(folder):
        listed = record.read(EdgePackage, _bytes(folder, PACKAGE)).files
        return {name for name in listed if _is_inside(name)}
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise StoreError("something else than an edge package is there", where=str(folder), hint="name a new folder")
    return set()


def is_package(path: Path) -> bool:
    """Return whether a path is the folder of an edge package."""
    return (path / PACKAGE).is_file()


def verify_package(folder: Path, trusted: Trusted) -> VerifiedPackage:
    """Verify the signature of a package and each of its files; files that were built there are not of the package.

    Raises
    ------
    Refused
        If a byte differs from what was signed, a file is missing, or the key is not trusted.
    """
    signed = Signed(content=_bytes(folder, PACKAGE), signature=_bytes(folder, SIGNATURE))
    key = verify(signed, trusted, subject=PACKAGE, where=str(folder))
    package = record.read(EdgePackage, signed.content)
    for name, digest in package.files.items():
        if not _is_inside(name) or digest_of(_bytes(folder, name)) != digest:
            raise Refused(f"{name} was changed after the package was signed", where=str(folder), hint=COPY_HINT)
    return VerifiedPackage(package=package, digest=digest_of(signed.content), key=key)


def _is_inside(name: str) -> bool:
    """Return whether a name is that of a file of the folder or of a folder in it."""
    return len(name.split("/")) <= 2 and not {"", ".", ".."} & set(name.split("/"))


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if path.is_symlink() or (path.parent != folder and path.parent.is_symlink()) or not path.is_file():
        raise Refused(f"{name} is missing", where=str(folder), hint=COPY_HINT)
    return path.read_bytes()
