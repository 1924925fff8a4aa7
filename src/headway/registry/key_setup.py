"""Set up the keys of a machine for its first release: create the publisher key and pin it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.core.errors import ConfigError
from headway.registry.sign import create_publisher, load_publisher, load_trusted
from headway.storage import atomic


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetup:
    """The publisher's public key, and what was done to set it up."""

    key: str
    created: bool
    pinned: bool


def init_keys(publisher_key: Path, trusted_keys: Path, *, comment: str) -> KeySetup:
    """Make sure that this machine can publish.

    A trusted list that already holds keys is never extended; ConfigError gives the line to add.
    """
    atomic.sweep(publisher_key.parent)
    created = not publisher_key.exists()
    publisher = create_publisher(publisher_key) if created else load_publisher(publisher_key)
    trusted = load_trusted(trusted_keys)
    line = f"{publisher.key} {comment}"
    if trusted.keys and publisher.key not in trusted.keys:
        raise ConfigError(
            f"the publisher key of this machine, {publisher.key}, is not trusted here",
            where=str(trusted_keys),
            hint=f"have whoever keeps that list add the line: {line}",
        )
    if not trusted.keys:
        _pin(trusted_keys, line)
    return KeySetup(key=publisher.key, created=created, pinned=not trusted.keys)


def _pin(file: Path, line: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as list_:
            list_.write(f"\n{line}\n" if list_.tell() else f"{line}\n")
    except OSError as error:
        raise ConfigError(f"cannot pin the publisher key: {error.strerror}", where=str(file)) from error
