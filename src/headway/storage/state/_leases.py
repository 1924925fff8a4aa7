"""Leases by the lock of a file, which the system releases when its process ends."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from headway.core.contracts import Lease
from headway.core.errors import LeaseHeld, StoreError

FOLDER = "leases"


@contextmanager
def file_lease(state: Path, name: str) -> Iterator[Lease]:
    """Hold the lock of a file in `<state>/leases`; see `State.lease`."""
    path = state / FOLDER / quote(name, safe="")
    try:
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StoreError(
            f"the lease of {name} cannot be taken: {error.strerror}",
            where=str(path),
            hint="give this user the right to write there",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 300).decode(errors="replace")
            raise LeaseHeld(
                f"{name} is already being done by {holder or 'a process that has just begun'}",
                where=str(path),
                hint="wait until that process ends",
            ) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} of {socket.gethostname()}".encode())
        yield _FileLease()
    finally:
        os.close(descriptor)


class _FileLease:
    """A lease that lasts until it is closed."""

    def expect_held(self) -> None:
        """Do nothing: the lock of a file is never lost."""
