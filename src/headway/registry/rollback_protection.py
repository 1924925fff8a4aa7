"""Remember the last update of each pointer, so that an old copy of a store cannot bring back an old release.

One JSON file next to the trusted keys, outside the store: `name@pointer` -> number and digest of the last update seen.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from headway.core.errors import Refused, StoreError
from headway.core.record import Record, canonical
from headway.registry.chain import ChainEntry
from headway.storage import atomic


class LastSeen(Record, frozen=True, kw_only=True):
    """Number and digest of the last update of a pointer that was seen."""

    number: int
    digest: str


def beside(trusted_keys: Path) -> Path:
    """Return the file that belongs to a trusted list: `trusted_keys.txt` -> `trusted_keys.seen.json`."""
    return trusted_keys.with_suffix(".seen.json")


def recall(file: Path) -> dict[str, LastSeen]:
    """Return the updates seen so far, none at first; raises StoreError if the file is damaged."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, LastSeen])
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, msgspec.MsgspecError) as error:
        raise StoreError(f"the memory of pointers cannot be read: {error}", where=str(file), hint=_MEND) from error


def expect(met: Mapping[str, LastSeen], links: Sequence[ChainEntry], *, file: Path) -> None:
    """Raise Refused if an update that was seen is not in the chain.

    Read `met` before the chain: a publisher saves an update first and remembers it afterwards.
    """
    digests = {(entry.address, entry.move.number): entry.digest for entry in links}
    for address, one in met.items():
        digest = digests.get((address, one.number))
        if digest != one.digest:
            ends = max((number for known, number in digests if known == address), default=0)
            stands = "another move stands there" if digest else f"this store ends at move {ends}"
            raise Refused(
                f"replayed pointer {address}: move {one.number} was seen here before, and {stands}",
                where=str(file),
                hint=_MEND,
            )


def remember(file: Path, address: str, met: LastSeen) -> None:
    """Remember a verified update if it is later than the one seen before; processes take turns."""
    with _turn(file.parent):
        known = recall(file)
        if address not in known or known[address].number < met.number:
            atomic.write(file, canonical({**known, address: met}))


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


_MEND = "restore the store from a newer backup; only if you began a new store yourself, delete this file"
