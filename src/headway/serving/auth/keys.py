"""API keys: a file of the project with the name, digest, scopes and rate limit of each key.

A key has 256 random bits, so a plain SHA-256 does not reveal it: guessing is hopeless, and a slow hash would only delay
each request. The key itself is shown once, when it is created, and is stored nowhere.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import tomllib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.serving.settings.serve import ServeSection
from headway.storage import atomic
from headway.storage.addresses import outside_store

Scope = Literal["predict", "label", "metrics", "operate", "push", "device"]
MAX_KEYS = 1023
_PREFIX = "hw_"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEAD = (
    "# API keys of the server, written by `headway api-keys`. It holds digests only; a key itself is stored nowhere.\n"
)


class ApiKey(Record, frozen=True, kw_only=True):
    """A key. `per_s` and `burst` limit its requests; 0 is the default of `[serve]`, inf means unlimited.

    `models` are the models that it is for; empty: all.
    A revoked key stays in the file, so that its name is not used again and the rate limiter's columns do not shift.
    `throttle_per_s` is a lower rate that holds until it is 0 again, and `throttled_at` is when it was last changed.
    """

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Meta(min_length=1)]
    made: str
    revoked: str = ""
    per_s: Annotated[float, Meta(ge=0)] = 0.0
    burst: Annotated[int, Meta(ge=0)] = 0
    models: tuple[Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")], ...] = ()
    throttle_per_s: Annotated[float, Meta(ge=0)] = 0.0
    throttled_at: str = ""


def keys_file(config: Config) -> Path:
    """Return the key file of a project; raises ConfigError if it is in the store, which others may be able to write."""
    what = "[serve] keys is in the store: anyone who can write there could add a key"
    return outside_store(config.path(config[ServeSection].keys), config, what)


def read_keys(file: Path) -> dict[str, ApiKey]:
    """Return the keys by name, in the order of the file; empty if the file is missing. Raises ConfigError."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        keys = msgspec.convert(tables, dict[str, ApiKey], strict=False)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"cannot read the API keys: {error}", where=str(file), hint="headway api-keys list"
        ) from error
    if len(keys) > MAX_KEYS:
        raise ConfigError(f"{len(keys)} API keys, the limit is {MAX_KEYS}", where=str(file), hint="delete revoked keys")
    if wrong := [name for name in keys if not _NAME.fullmatch(name)]:
        raise ConfigError(f"invalid API key name {wrong[0]!r}", where=str(file), hint="letters, digits, _ and -")
    return keys


def create_key(
    file: Path,
    name: str,
    scopes: Sequence[Scope],
    *,
    per_s: float = 0.0,
    burst: int = 0,
    models: Sequence[str] = (),
) -> str:
    """Create a key, add its digest to the file, and return the key, which cannot be shown again.

    Raises ConfigError if the name is not valid or is taken, even by a revoked key.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"invalid API key name {name!r}", hint="up to 64 letters, digits, _ and -")
    with atomic.locked(file.parent):
        keys = read_keys(file)
        if name in keys or len(keys) == MAX_KEYS:
            raise ConfigError(
                f"the API key '{name}' exists already" if name in keys else f"there are {MAX_KEYS} API keys",
                where=str(file),
            )
        key = _PREFIX + secrets.token_urlsafe(32)
        fields = {
            "sha256": digest(key.encode()).hex(),
            "scopes": scopes,
            "made": _now(),
            "per_s": per_s,
            "burst": burst,
            "models": models,
        }
        try:
            record = msgspec.convert(fields, ApiKey)
        except msgspec.ValidationError as error:
            raise ConfigError(f"cannot create the API key: {error}", hint="headway api-keys --help") from error
        _write(file, {**keys, name: record})
    return key


def revoke_key(file: Path, name: str) -> ApiKey:
    """Revoke a key; raises ConfigError, which lists the names, for an unknown name."""
    return _change_key(file, name, lambda key: msgspec.structs.replace(key, revoked=key.revoked or _now()))


def throttle_key(file: Path, name: str, *, per_s: float) -> ApiKey:
    """Lower the rate of a key to so many requests per second, or end that with 0.

    Raises ConfigError for an unknown name, or a rate below 0.
    """
    if not 0 <= per_s < math.inf:
        raise ConfigError(f"invalid rate {per_s:g} requests/s", hint="--per-s 0.1")
    return _change_key(file, name, lambda key: msgspec.structs.replace(key, throttle_per_s=per_s, throttled_at=_now()))


def _change_key(file: Path, name: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
    with atomic.locked(file.parent):
        keys = read_keys(file)
        if name not in keys:
            raise ConfigError(f"no API key '{name}'", where=f"known: {', '.join(keys) or 'none'}")
        keys[name] = change(keys[name])
        _write(file, keys)
    return keys[name]


def merge_keys(keys: Mapping[str, ApiKey], others: Mapping[str, ApiKey]) -> dict[str, ApiKey]:
    """Return all keys: those of `others` that are new come last, and a key that either has revoked is revoked.

    The later change of a throttle counts.
    """
    merged = dict(keys)
    for name, key in others.items():
        known = merged.setdefault(name, key)
        if known.sha256 != key.sha256:
            continue
        latest = max(known, key, key=lambda one: one.throttled_at)
        merged[name] = msgspec.structs.replace(
            known,
            revoked=known.revoked or key.revoked,
            throttle_per_s=latest.throttle_per_s,
            throttled_at=latest.throttled_at,
        )
    return merged


def add_keys(file: Path, others: Mapping[str, ApiKey]) -> None:
    """Merge keys of other machines into the file; it is written only if that changes it."""
    with atomic.locked(file.parent):
        keys = read_keys(file)
        merged = merge_keys(keys, others)
        if merged != keys:
            _write(file, merged)


def digest(key: bytes) -> bytes:
    """Return the SHA-256 of a key."""
    return hashlib.sha256(key).digest()


def _write(file: Path, keys: dict[str, ApiKey]) -> None:
    atomic.write(file, (_HEAD + "".join(map(_table, keys, keys.values()))).encode())


def _table(name: str, key: ApiKey) -> str:
    lines = [f"\n[{name}]", f'sha256 = "{key.sha256}"', f"scopes = {_list(key.scopes)}", f'made = "{key.made}"']
    lines += [f'revoked = "{key.revoked}"'] if key.revoked else []
    lines += [f"per_s = {'inf' if math.isinf(key.per_s) else key.per_s}"] if key.per_s else []
    lines += [f"burst = {key.burst}"] if key.burst else []
    lines += [f"models = {_list(key.models)}"] if key.models else []
    lines += [f"throttle_per_s = {key.throttle_per_s}"] if key.throttle_per_s else []
    lines += [f'throttled_at = "{key.throttled_at}"'] if key.throttled_at else []
    return "\n".join(lines) + "\n"


def _list(texts: Sequence[str]) -> str:
    """Return a TOML array; a JSON string is a TOML string too."""
    return msgspec.json.encode(texts).decode().replace(",", ", ")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
