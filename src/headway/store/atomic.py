"""Files that are there whole or not at all, also where the process is killed or the power fails."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from headway.core.errors import StoreError


def write(path: Path, content: bytes) -> None:
    """Make or replace a file in one step, with the folders above it; raises StoreError where that fails."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        make_folder(path.parent)
        create(temporary, content)
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path.name!r}: {error.strerror}", where=str(path)) from error
    finally:
        if temporary.is_file():
            temporary.unlink()


def create(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Make a new file whose bytes are on disk at return; `mode` is narrowed by the umask. Raises OSError."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each of them on disk at return. Raises OSError."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync(folder.parent)


def sync(folder: Path) -> None:
    """Bring the names in a folder to disk: without it a file that was renamed may come back under its old name."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
