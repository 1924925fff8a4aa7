"""The key of the hashes: a file of its own that only its owner can read, and never part of the store."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.storage import atomic

_BYTES = 32
_SHOWN = 32
_OTHERS = 0o077 if os.name == "posix" else 0


@dataclass(frozen=True, slots=True)
class HashKey:
    """A secret key, opened."""

    secret: bytes

    def hash(self, text: str) -> str:
        """32 hex digits that are the same for the same text, and tell nothing of it without the key (HMAC-SHA256)."""
        return hmac.new(self.secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:_SHOWN]


def load_hash_key(config: Config) -> HashKey:
    """The key that `[personal] key` names, made where there is none yet.

    Raises ConfigError where it would lie in the store, is open to other users, or is no key.
    """
    file = config.path(config.personal.key)
    if file.resolve().is_relative_to(config.state.resolve()):
        where = "[personal] key"
        raise ConfigError(
            "the key of the hashes would lie in the store that it protects", where=where, hint="another folder"
        )
    try:
        if not file.exists():
            atomic.secret(file, secrets.token_hex(_BYTES).encode())
        text, shared = file.read_bytes(), file.stat().st_mode & _OTHERS
    except OSError as error:
        raise ConfigError(f"no key for hashes: {error.strerror}", where=str(file)) from error
    if shared:
        raise ConfigError("other users can read the key of the hashes", where=str(file), hint=f"chmod 600 {file}")
    try:
        secret = bytes.fromhex(text.decode())
    except ValueError as error:
        raise ConfigError("the key of the hashes is no hex digits", where=str(file)) from error
    if len(secret) < _BYTES:
        raise ConfigError("the key of the hashes is shorter than 32 bytes", where=str(file))
    return HashKey(secret)
