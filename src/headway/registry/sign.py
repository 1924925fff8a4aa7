"""Ed25519 signatures: a publisher's key signs bytes, and a loader trusts a list of public keys.

The private key is a PEM file that only its owner can read. The trusted list is a text file with one key per line:
`ed25519:<base64 of the raw public key> <comment>`. Both lie outside the store. Signed bytes name their kind
(`core.record.write`), so a signature of one kind of record is never valid for another.

An operator's key is another one, in a list of its own: it signs approvals, and pointer updates that only go back
(`registry.chain`). What is verified against the trusted keys alone is never valid with it.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from headway.core.contracts import Signed
from headway.core.errors import ConfigError, Refused
from headway.core.record import Record, canonical, digest_of
from headway.storage import atomic

COPY_HINT = "do not use this copy: take it again from where it was published"
_KEY = re.compile(r"ed25519:([A-Za-z0-9+/]{43}=)")
_OTHERS = 0o077 if os.name == "posix" else 0


class SignatureRecord(Record, frozen=True, kw_only=True):
    """A signature: the key, the digest of the signed bytes, and the signature in base64."""

    key: str
    digest: str
    signature: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An opened private key."""

    private: Ed25519PrivateKey

    @property
    def key(self) -> str:
        """The public key that others trust: `ed25519:<base64>`."""
        return key_of(self.private.public_key())

    def sign(self, content: bytes) -> Signed:
        """Sign bytes; the same bytes always get the same signature."""
        signature = base64.b64encode(self.private.sign(content)).decode()
        return Signed(
            content=content,
            signature=canonical(SignatureRecord(key=self.key, digest=digest_of(content), signature=signature)),
        )


class Publisher(SigningKey):
    """Private key of a publisher: it signs releases and everything else."""

    __slots__ = ()


class TimestampKey(SigningKey):
    """Private key of a fleet's timestamps, named with its expiry by a pointer that a publisher signed."""

    __slots__ = ()


class Operator(SigningKey):
    """Private key of an operator: it signs approvals, and pointer updates that only go back."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Trusted:
    """The trusted public keys, each with its comment, and the file that lists them."""

    file: Path
    keys: Mapping[str, str]


def key_of(public: Ed25519PublicKey) -> str:
    """Return the text of a public key: `ed25519:<base64 of its 32 bytes>`."""
    return f"ed25519:{base64.b64encode(public.public_bytes_raw()).decode()}"


def create_publisher(file: Path) -> Publisher:
    """Create a key in a PEM file of mode 0600; raises ConfigError if the file exists, because keys are not replaced."""
    return Publisher(_create(file, "publisher key"))


def create_operator(file: Path) -> Operator:
    """Create an operator's key as `create_publisher` does a publisher's."""
    return Operator(_create(file, "operator key"))


def create_timestamp_key(file: Path) -> TimestampKey:
    """Create a key of timestamps as `create_publisher` does a publisher's."""
    return TimestampKey(_create(file, "timestamp key"))


def _create(file: Path, what: str) -> Ed25519PrivateKey:
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        atomic.secret(file, pem)
    except OSError as error:
        raise ConfigError(f"cannot make the {what}: {error.strerror}", where=str(file)) from error
    return private


def load_publisher(file: Path) -> Publisher:
    """Load the key in a PEM file.

    Raises ConfigError if it is absent, not an Ed25519 key, or readable by other users.
    """
    return Publisher(
        _load(file, "publisher key", hint="headway release makes one; to use yours, set publisher_key in [trust]")
    )


def load_operator(file: Path) -> Operator:
    """Load an operator's key; raises as `load_publisher` does."""
    return Operator(_load(file, "operator key", hint="headway ui makes one; to use yours, set operator_key in [trust]"))


def load_timestamp_key(file: Path) -> TimestampKey:
    """Load a key of timestamps; raises as `load_publisher` does."""
    hint = "headway fleet publish makes one; to use yours, set timestamp_key in [trust]"
    return TimestampKey(_load(file, "timestamp key", hint=hint))


def _load(file: Path, what: str, *, hint: str) -> Ed25519PrivateKey:
    try:
        pem = file.read_bytes()
        shared = file.stat().st_mode & _OTHERS
    except OSError as error:
        raise ConfigError(f"no {what}: {error.strerror}", where=str(file), hint=hint) from error
    if shared:
        raise ConfigError(f"other users can read the {what}", where=str(file), hint=f"chmod 600 {file}")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"the {what} cannot be opened: {error}", where=str(file)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(f"the {what} is not an Ed25519 key", where=str(file))
    return key


def load_trusted(file: Path) -> Trusted:
    """Load the keys of a trusted list, none if the file is absent; raises ConfigError, which names an invalid line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the trusted keys cannot be read: {error}", where=str(file)) from error
    keys = {}
    for number, line in enumerate(lines, 1):
        key, _, comment = line.partition("#")[0].strip().partition(" ")
        if key:
            _public(key, where=f"{file}:{number}")
            keys[key] = comment.strip()
    return Trusted(file, keys)


def _public(key: str, *, where: str) -> Ed25519PublicKey:
    text = _KEY.fullmatch(key)
    raw = base64.b64decode(text[1]) if text else b""
    if text is None or base64.b64encode(raw).decode() != text[1]:
        raise ConfigError(f"{key!r} is not a key", where=where, hint="ed25519:<base64 of the raw public key> <comment>")
    return Ed25519PublicKey.from_public_bytes(raw)


def verify(signed: Signed, trusted: Trusted, *, subject: str, where: str = "") -> str:
    """Return the trusted key that signed these bytes.

    Raises Refused, which distinguishes a changed signature, changed bytes and an untrusted key.
    """
    seal = _read_seal(signed.signature, subject=subject, where=where)
    if seal.key not in trusted.keys:
        raise Refused(
            f"{subject} is signed by {seal.key}, which is not trusted",
            where=where,
            hint=f"if you know this publisher, add to {trusted.file} the line: {seal.key} <whose it is>",
        )
    same = digest_of(signed.content) == seal.digest
    good = _good(seal, signed.content)
    if not same and not good:
        raise Refused(f"{subject} was changed after {seal.key} signed it", where=where, hint=COPY_HINT)
    if not (same and good):
        raise _broken(subject, where)
    return seal.key


def signer_of(signature: bytes) -> str:
    """Return the key that a signature names, without verifying it; empty if the signature cannot be read."""
    with suppress(Refused):
        return _read_seal(signature, subject="", where="").key
    return ""


def _read_seal(content: bytes, *, subject: str, where: str) -> SignatureRecord:
    """Decode a signature record; it must be in canonical form, because another form could be changed unnoticed."""
    try:
        seal = msgspec.json.decode(content, type=SignatureRecord)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _broken(subject, where) from error
    if canonical(seal) != content:
        raise _broken(subject, where)
    return seal


def _good(seal: SignatureRecord, content: bytes) -> bool:
    """Return True if the signature is valid and in canonical base64."""
    public = _public(seal.key, where="the seal")
    try:
        signature = base64.b64decode(seal.signature, validate=True)
        public.verify(signature, content)
    except (InvalidSignature, ValueError):
        return False
    return base64.b64encode(signature).decode() == seal.signature


def _broken(subject: str, where: str) -> Refused:
    return Refused(f"the signature of {subject} was changed", where=where, hint=COPY_HINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetup:
    """A public key, whether it was created, and whether it was added to the list of keys."""

    key: str
    created: bool
    pinned: bool


def init_keys(publisher_key: Path, trusted_keys: Path, *, comment: str) -> KeySetup:
    """Set up the keys of a machine for its first release: create the publisher key, and pin it as trusted.

    A trusted list that already holds keys is never extended; ConfigError gives the line to add.
    """
    atomic.sweep(publisher_key.parent)
    created = not publisher_key.exists()
    publisher = create_publisher(publisher_key) if created else load_publisher(publisher_key)
    return _pin_first(publisher, trusted_keys, "publisher key", created=created, comment=comment)


def init_operator_keys(operator_key: Path, operator_keys: Path, *, trusted_keys: Path, comment: str) -> KeySetup:
    """Set up the operator's key of a machine: create it, and add it to the list of operators if that is empty.

    A list that already holds keys is never extended; ConfigError gives the line to add. It is an error as well if the
    key is one of the trusted keys, which may sign everything.
    """
    atomic.sweep(operator_key.parent)
    created = not operator_key.exists()
    operator = create_operator(operator_key) if created else load_operator(operator_key)
    if operator.key in load_trusted(trusted_keys).keys:
        raise ConfigError(
            f"the operator key of this machine, {operator.key}, is trusted to publish",
            where=str(trusted_keys),
            hint=f"remove its line there; operator keys belong into {operator_keys}",
        )
    return _pin_first(operator, operator_keys, "operator key", created=created, comment=comment)


def _pin_first(key: SigningKey, listed: Path, what: str, *, created: bool, comment: str) -> KeySetup:
    """Add a key to an empty list; raises ConfigError if the list holds other keys only."""
    trusted, line = load_trusted(listed), f"{key.key} {comment}"
    if trusted.keys and key.key not in trusted.keys:
        raise ConfigError(
            f"the {what} of this machine, {key.key}, is not trusted here",
            where=str(listed),
            hint=f"ask the owner of that list to add the line: {line}",
        )
    if not trusted.keys:
        try:
            listed.parent.mkdir(parents=True, exist_ok=True)
            with listed.open("a", encoding="utf-8") as keys:
                keys.write(f"\n{line}\n" if listed.stat().st_size else f"{line}\n")
        except OSError as error:
            raise ConfigError(f"cannot pin the {what}: {error.strerror}", where=str(listed)) from error
    return KeySetup(key=key.key, created=created, pinned=not trusted.keys)
