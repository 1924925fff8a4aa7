"""Write files atomically, also when the process is killed or the power fails.

An unfinished file lies in a temporary folder that is locked while its process lives. A folder whose lock is free was
left by a killed process, and is removed by the next writer.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from headway.core.errors import StoreError

_ASIDE = ".headway-{}.new"


def write(path: Path, content: bytes, *, temporary: Path | None = None, mode: int = 0o666) -> None:
    """Create or replace a file in one step, with its parent folders; raises StoreError if that fails.

    The file is prepared in the folder `temporary`, by default its own. Each write lists that folder, so keep it small.
    `mode` is narrowed by the umask.
    """
    fill(path, lambda file: file.write(content), temporary=temporary, mode=mode)


def fill(path: Path, by: Callable[[BinaryIO], object], *, temporary: Path | None = None, mode: int = 0o666) -> None:
    """Create or replace a file as `write` does, with what a function writes into it."""
    try:
        make_folder(path.parent)
        with aside(temporary or path.parent) as new:
            _create(new / path.name, by, mode=mode)
            (new / path.name).replace(path)
            sync(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path.name!r}: {error.strerror}", where=str(path)) from error


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Create a temporary folder inside another, and remove it at the end, along with those of killed processes.

    Raises OSError.
    """
    sweep(folder)
    new, lock = _locked(folder)
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)
        os.close(lock)


def sweep(folder: Path) -> None:
    """Remove unfinished files of killed processes from a folder; what cannot be locked or removed stays."""
    for leftover in folder.glob(_ASIDE.format("*")):
        with suppress(OSError):
            lock = os.open(leftover, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(leftover)
            finally:
                os.close(lock)


def create(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Create a file whose bytes are on disk on return; `mode` is narrowed by the umask. Raises OSError."""
    _create(path, lambda file: file.write(content), mode=mode)


def secret(path: Path, content: bytes) -> None:
    """Create a file that only its owner can read; an existing file is never replaced. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with aside(path.parent) as new:
        create(new / path.name, content, mode=0o600)
        os.link(new / path.name, path)
        sync(path.parent)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other changes of the files that are changed under this lock."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _create(path: Path, by: Callable[[BinaryIO], object], *, mode: int = 0o666) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        by(file)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, each on disk on return. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Flush the names in a folder to disk; otherwise a renamed file may come back under its old name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(folder: Path) -> tuple[Path, int]:
    """Create and lock a folder; try another if it was swept before it was locked."""
    while True:
        new = folder / _ASIDE.format(secrets.token_hex(8))
        new.mkdir()
        with suppress(FileNotFoundError):
            lock = os.open(new, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_SH)
            if new.is_dir():
                return new, lock
            os.close(lock)
