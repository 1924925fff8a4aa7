"""API keys: a file of the project that says of each key its name, its digest, what it may do, and how fast.

A key is 256 random bits, so its plain SHA-256 tells nobody the key: there is nothing to guess, and a slow hash would
only cost each request. The key itself is shown once, when it is made, and is kept nowhere.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import re
import secrets
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.storage import atomic

Scope = Literal["predict", "label", "metrics", "operate"]
MAX_KEYS = 1023
_PREFIX = "hw_"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEAD = (
    "# API keys of the server, written by `headway api-keys`. Only digests stand here; a key itself is kept nowhere.\n"
)


class ApiKey(Record, frozen=True, kw_only=True):
    """What is known of a key. `per_s` and `burst` limit its requests; 0 takes what `[serve]` says, inf sets no limit.

    One that was revoked stays, so that its name is not taken by another and the places of the others stay.
    """

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    made: str
    revoked: str = ""
    per_s: Annotated[float, Meta(ge=0)] = 0.0
    burst: Annotated[int, Meta(ge=0)] = 0


def keys_file(config: Config) -> Path:
    """Where the keys of a project are; raises ConfigError if that is in the store, which others may write."""
    file = config.path(config.serve.keys)
    if file.resolve().is_relative_to(config.state.resolve()):
        raise ConfigError(
            "[serve] keys lies in the store: who can write there could let anybody in",
            where=str(file),
            hint="keep it elsewhere",
        )
    return file


def read_keys(file: Path) -> dict[str, ApiKey]:
    """The keys by name, in the order of the file, none where there is no file; raises ConfigError."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        keys = msgspec.convert(tables, dict[str, ApiKey], strict=False)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"the keys cannot be read: {error}", where=str(file), hint="headway api-keys list") from error
    if len(keys) > MAX_KEYS:
        raise ConfigError(
            f"{len(keys)} keys, at most {MAX_KEYS}", where=str(file), hint="delete some that were revoked"
        )
    if wrong := [name for name in keys if not _NAME.fullmatch(name)]:
        raise ConfigError(f"{wrong[0]!r} is no name of a key", where=str(file), hint="letters, digits, _ and -")
    return keys


def create_key(file: Path, name: str, scopes: Sequence[Scope], *, per_s: float = 0.0, burst: int = 0) -> str:
    """Make a key, keep what is known of it, and give the key: it is never to be seen again.

    Raises ConfigError where the name is none or is taken, also by a key that was revoked.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name of a key", hint="up to 64 letters, digits, _ and -")
    with _held(file):
        keys = read_keys(file)
        if name in keys or len(keys) == MAX_KEYS:
            raise ConfigError(
                f"there is a key '{name}'" if name in keys else f"there are {MAX_KEYS} keys", where=str(file)
            )
        key = _PREFIX + secrets.token_urlsafe(32)
        given = {"sha256": digest(key.encode()).hex(), "scopes": scopes, "made": _now(), "per_s": per_s, "burst": burst}
        try:
            known = msgspec.convert(given, ApiKey)
        except msgspec.ValidationError as error:
            raise ConfigError(f"no such key can be made: {error}", hint="headway api-keys --help") from error
        _write(file, {**keys, name: known})
    return key


def revoke_key(file: Path, name: str) -> ApiKey:
    """Let a key do nothing from now on; raises ConfigError, which lists the names, where there is none such."""
    with _held(file):
        keys = read_keys(file)
        if name not in keys:
            raise ConfigError(f"there is no key '{name}'", where=f"known: {', '.join(keys) or 'none'}")
        keys[name] = msgspec.structs.replace(keys[name], revoked=keys[name].revoked or _now())
        _write(file, keys)
    return keys[name]


def digest(key: bytes) -> bytes:
    """The SHA-256 of a key, by which it is found."""
    return hashlib.sha256(key).digest()


@contextmanager
def _held(file: Path) -> Iterator[None]:
    """One at a time changes the keys of a folder."""
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _write(file: Path, keys: dict[str, ApiKey]) -> None:
    atomic.write(file, (_HEAD + "".join(map(_table, keys, keys.values()))).encode())


def _table(name: str, key: ApiKey) -> str:
    scopes = ", ".join(f'"{scope}"' for scope in key.scopes)
    lines = [f"\n[{name}]", f'sha256 = "{key.sha256}"', f"scopes = [{scopes}]", f'made = "{key.made}"']
    lines += [f'revoked = "{key.revoked}"'] if key.revoked else []
    lines += [f"per_s = {'inf' if math.isinf(key.per_s) else key.per_s}"] if key.per_s else []
    lines += [f"burst = {key.burst}"] if key.burst else []
    return "\n".join(lines) + "\n"


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
