"""Messages of customers on disk: one file each, named by its key, so that `headway erase` finds and deletes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from headway.core.errors import StoreError
from headway.core.record import read, write
from headway.core.support import CustomerMessage
from headway.storage import atomic

MESSAGES = "messages"
_SUFFIX = ".json"


def messages_folder(state: Path, name: str) -> Path:
    """Return the folder of the messages of a model."""
    return state / MESSAGES / name


def add_message(state: Path, name: str, message: CustomerMessage) -> bool:
    """Save a new message, on disk on return; False if one with its key is there, which is not changed.

    Raises StoreError.
    """
    folder = messages_folder(state, name)
    try:
        atomic.make_folder(folder)
        with atomic.locked(folder):
            path = _path(folder, message.key)
            if path.exists():
                return False
            atomic.write(path, write(message), mode=0o600)
            return True
    except OSError as error:
        raise StoreError(f"the message cannot be saved: {error.strerror}", where=str(folder)) from error


def update_message(state: Path, name: str, message: CustomerMessage) -> bool:
    """Replace a message; False if it was erased, and then nothing is written. Raises StoreError."""
    folder = messages_folder(state, name)
    try:
        with atomic.locked(folder):
            path = _path(folder, message.key)
            if not path.exists():
                return False
            atomic.write(path, write(message), mode=0o600)
            return True
    except OSError as error:
        raise StoreError(f"the message cannot be saved: {error.strerror}", where=str(folder)) from error


def find_message(state: Path, name: str, key: str) -> CustomerMessage | None:
    """Return the message of a key, None without one; raises StoreError if its file is damaged."""
    try:
        return read(CustomerMessage, _path(messages_folder(state, name), key).read_bytes())
    except FileNotFoundError:
        return None


def read_messages(state: Path, name: str) -> list[CustomerMessage]:
    """Return all messages of a model, oldest first; raises StoreError if a file is damaged."""
    found = []
    for path in messages_folder(state, name).glob(f"*{_SUFFIX}"):
        with suppress(FileNotFoundError):  # erased since it was listed
            found.append(read(CustomerMessage, path.read_bytes()))
    return sorted(found, key=lambda message: (message.received_at, message.key))


def message_files(state: Path, *, key: str = "", before_ns: int = 0) -> Iterator[Path]:
    """Yield the files of messages of all models with a key, or received before a time, nanoseconds since 1970."""
    folders = sorted(path for path in (state / MESSAGES).glob("*") if path.is_dir())
    if key:
        yield from (path for folder in folders if (path := _path(folder, key)).exists())
        return
    old = datetime.fromtimestamp(before_ns / 1e9, UTC)
    for folder in folders:
        messages = read_messages(state, folder.name)
        yield from (_path(folder, one.key) for one in messages if datetime.fromisoformat(one.received_at) < old)


def _path(folder: Path, key: str) -> Path:
    """Return the file of a message; the key of another request may have any characters, and then names no file."""
    return folder / f"{key if key.replace('-', '').isalnum() and len(key) <= 100 else '-'}{_SUFFIX}"
